/** The commands that bring a device in, with the names as they are here. */
import type { Device } from '../../api/device';
import type { Namespace } from '../../api/policy';

export function enrolCommand(server: string, claim: string, id: string): string {
  return `palisade enroll --server ${server} --claim ${claim} --out ${id}`;
}

export function publishCommand(broker: string, device: Device, namespaces: Namespace[]): string {
  const colon = broker.lastIndexOf(':');
  const [host, port] = colon < 0 ? [broker, '8883'] : [broker.slice(0, colon), broker.slice(colon + 1)];
  const files = `--cafile ${device.id}/ca.crt --cert ${device.id}/chain.pem --key ${device.id}/device.key`;
  const bare = host.replace(/^\[(.*)\]$/, '$1');
  return `mosquitto_pub -h ${bare} -p ${port} --tls-version tlsv1.3 ${files} -i ${device.id} -q 1 -t ${topicFor(device, namespaces)} -m 21.5`;
}

/** A topic that the first namespace gives this device. */
export function topicFor(device: Device, namespaces: Namespace[]): string {
  const own = namespaces.find(({ template }) => template.includes('{device}'));
  const template = own?.template ?? '{site}/{kind}/{device}/telemetry/#';
  return template
    .replace('{site}', device.site)
    .replace('{zone}', device.zone)
    .replace('{kind}', device.kind)
    .replace('{device}', device.id)
    .replace(/(^|\/)[#+]$/, '$1temperature')
    .replaceAll('+', 'x')
    .replaceAll(/\{[^}]*\}/g, 'x');
}
