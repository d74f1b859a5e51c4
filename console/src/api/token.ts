/** Keys for programs: scoped to a role, expiring, shown once. */
import { call, get, part } from './call';
import { list, maybe, moment, nothing, oneOf, shape, text, type Read } from './door';
import { ROLES, type Role } from './session';

const token = shape({ id: text, name: text, role: oneOf(ROLES), expires: moment, created: maybe(moment) });
export type Token = Read<typeof token>;

const tokens = shape({ items: list(token) });
const made = shape({ token, text });
export type Made = Read<typeof made>;

export const all = (signal?: AbortSignal): Promise<Token[]> =>
  get('/v1/tokens', (value, place) => tokens(value, place).items, signal);

export const make = (name: string, role: Role, days: number): Promise<Made> =>
  call('POST', '/v1/tokens', { name, role, expires_in_days: days }, made);

export const remove = (id: string): Promise<void> => call('DELETE', `/v1/tokens/${part(id)}`, undefined, nothing);
