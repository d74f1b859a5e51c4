/** The fleet in figures, and the places and kinds that devices belong to. */
import { call, get } from './call';
import { count, list, maybe, moment, nothing, shape, text, type Read } from './door';

const kind = shape({ id: text, title: maybe(text), count: maybe(count) });
const site = shape({ id: text, title: maybe(text), count: maybe(count) });
const zone = shape({ id: text, site: text, title: maybe(text), count: maybe(count) });
export type Kind = Read<typeof kind>;
export type Site = Read<typeof site>;
export type Zone = Read<typeof zone>;

export const fleet = shape({
  total: count,
  connected: count,
  stages: shape({ manufactured: count, claimed: count, active: count, retired: count }),
  attention: shape({ red: count, amber: count }),
  quarantined: count,
  kinds: list(kind),
  zones: list(zone),
  sites: list(site),
  policy_version: count,
  checked: moment,
});
export type Fleet = Read<typeof fleet>;

export const current = (signal?: AbortSignal): Promise<Fleet> => get('/v1/fleet', fleet, signal);

export const addSite = (id: string, title: string): Promise<void> =>
  call('POST', '/v1/sites', { id, title }, nothing);

export const addZone = (id: string, site: string, title: string): Promise<void> =>
  call('POST', '/v1/zones', { id, site, title }, nothing);
