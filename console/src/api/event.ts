/** What happened: one entry of the record, as a sentence with its decision. */
import { address, get, part } from './call';
import { anything, count, list, mapOf, maybe, moment, oneOf, shape, text, type Read, type Reader } from './door';

/** A place in the list; the server may say it as a text or as a number. */
const cursor: Reader<string> = (value, place) => (typeof value === 'number' ? String(value) : text(value, place));

export const event = shape({
  index: count,
  at: moment,
  kind: text,
  actor: shape({ type: oneOf(['operator', 'device', 'system', 'token']), name: text }),
  subject: maybe(shape({ type: text, name: text })),
  decision: maybe(text),
  count,
  text,
  details: mapOf(anything),
});
export type Event = Read<typeof event>;

const events = shape({ items: list(event), next: maybe(cursor) });
export type Events = Read<typeof events>;

/** The kinds that the record holds today; the server may know more, which then show in the list but not in the filter. */
export const KINDS: readonly string[] = [
  'access.denied',
  'certificate.issued',
  'claim.made',
  'claim.refused',
  'consumer.slow',
  'device.added',
  'device.changed',
  'device.connected',
  'device.disconnected',
  'device.enrolled',
  'device.quarantined',
  'device.recovered',
  'device.retired',
  'device.revoked',
  'handshake.refused',
  'kind.added',
  'operator.added',
  'operator.locked',
  'operator.refused',
  'operator.removed',
  'operator.signed-in',
  'policy.changed',
  'session.ended',
  'site.added',
  'system.started',
  'system.stopped',
  'token.made',
  'token.revoked',
  'witness.added',
  'witness.removed',
  'zone.added',
];

/** A filter by kind takes all kinds that begin so: `device.` takes whatever happened to devices. */
export function isOfKind(happened: Event, kind: string): boolean {
  return happened.kind.startsWith(kind);
}

export type EventFilter = { device?: string; kind?: string };

export const eventsAddress = (filter: EventFilter, before: string | null, limit: number): string =>
  address('/v1/events', { ...filter, before, limit });

export const find = (
  filter: EventFilter,
  before: string | null,
  limit: number,
  signal?: AbortSignal,
): Promise<Events> => get(eventsAddress(filter, before, limit), events, signal);

/** The events of one device. */
export const ofDevice = (
  id: string,
  kind: string,
  before: string | null,
  limit: number,
  signal?: AbortSignal,
): Promise<Events> => get(address(`/v1/devices/${part(id)}/events`, { kind, before, limit }), events, signal);
