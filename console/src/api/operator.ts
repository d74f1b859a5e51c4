/** The people who may sign in. */
import { call, get, part } from './call';
import { flag, list, maybe, moment, nothing, oneOf, shape, text, type Read } from './door';
import { ROLES, type Role } from './session';

const operator = shape({
  name: text,
  role: oneOf(ROLES),
  /** Whether a password was set yet. */
  active: maybe(flag),
  locked_until: maybe(moment),
});
export type Operator = Read<typeof operator>;

const operators = shape({ items: list(operator) });
const invited = shape({ operator, link: text });
export type Invited = Read<typeof invited>;

export const all = (signal?: AbortSignal): Promise<Operator[]> =>
  get('/v1/operators', (value, place) => operators(value, place).items, signal);

export const invite = (name: string, role: Role): Promise<Invited> =>
  call('POST', '/v1/operators', { name, role }, invited);

export const remove = (name: string): Promise<void> =>
  call('DELETE', `/v1/operators/${part(name)}`, undefined, nothing);
