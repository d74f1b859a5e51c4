/** Devices as comma-separated values (RFC 4180), safe to open in a spreadsheet. */
import type { Device } from '../../api/device';

export const HEAD = row([
  'id',
  'title',
  'kind',
  'zone',
  'site',
  'owner',
  'stage',
  'connection',
  'since',
  'attention',
  'certificate',
  'not_after',
  'created',
]);

export function csvRow(device: Device): string {
  return row([
    device.id,
    device.title ?? '',
    device.kind,
    device.zone,
    device.site,
    device.owner ?? '',
    device.stage,
    device.connection.state,
    device.connection.since?.toISOString() ?? '',
    device.attention.map(({ text }) => text).join(' '),
    device.certificate?.fingerprint ?? '',
    device.certificate?.not_after.toISOString() ?? '',
    device.created.toISOString(),
  ]);
}

function row(cells: string[]): string {
  return cells.map(cell).join(',') + '\r\n';
}

/** A cell that begins like a formula is made a text, so that a device's name cannot run in a spreadsheet. */
function cell(value: string): string {
  const plain = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}
