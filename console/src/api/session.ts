/** Who is signed in, and what that role may do. */
import { call, get } from './call';
import { moment, nothing, oneOf, shape, text, type Read } from './door';

export const ROLES = ['viewer', 'operator', 'administrator'] as const;
export type Role = (typeof ROLES)[number];

export const session = shape({
  operator: shape({ name: text, role: oneOf(ROLES) }),
  expires: moment,
  version: text,
});
export type Session = Read<typeof session>;

export const current = (): Promise<Session> => get('/v1/session', session);

export const signIn = (name: string, password: string): Promise<Session> =>
  call('POST', '/v1/session', { name, password }, session);

export const redeemLink = (token: string, password: string): Promise<Session> =>
  call('POST', '/v1/session/link', { token, password }, session);

export const signOut = (): Promise<void> => call('DELETE', '/v1/session', undefined, nothing);

/** Why this role may not do what needs `needed`; null where it may. */
export function refusalFor(role: Role, needed: Role): string | null {
  if (ROLES.indexOf(role) >= ROLES.indexOf(needed)) return null;
  return `You are signed in as ${article(role)}; this needs ${article(needed)}.`;
}

function article(role: Role): string {
  return role === 'viewer' ? 'a viewer' : `an ${role}`;
}
