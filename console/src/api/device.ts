/** A device as the registry knows it, and what can be done to it. */
import { address, call, get, part } from './call';
import { count, list, mapOf, maybe, moment, oneOf, shape, text, type Read } from './door';

export const STAGES = ['manufactured', 'claimed', 'active', 'retired'] as const;
export const CONNECTIONS = ['connected', 'away', 'never'] as const;
export const SEVERITIES = ['red', 'amber'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** A posture fact's value may be a text, a number or a truth; it is shown as text. */
const factValue = (value: unknown, place: string): string =>
  typeof value === 'boolean' || typeof value === 'number' ? String(value) : text(value, place);

const fact = shape({ name: text, value: factValue, source: text, since: moment });
export type Fact = Read<typeof fact>;

const attention = shape({ code: text, severity: oneOf(SEVERITIES), text, since: moment });
export type Attention = Read<typeof attention>;

export const certificate = shape({
  fingerprint: text,
  serial: text,
  subject: text,
  issuer: text,
  not_before: moment,
  not_after: moment,
  revoked: maybe(shape({ at: moment, reason: text })),
});
export type Certificate = Read<typeof certificate>;

export const device = shape({
  id: text,
  title: maybe(text),
  kind: text,
  zone: text,
  site: text,
  owner: maybe(text),
  labels: mapOf(text),
  stage: oneOf(STAGES),
  posture: shape({ epoch: count, facts: list(fact) }),
  connection: shape({
    state: oneOf(CONNECTIONS),
    since: maybe(moment),
    peer: maybe(text),
    protocol: maybe(text),
  }),
  certificate: maybe(certificate),
  claim: maybe(shape({ expires: moment, used: maybe(moment) })),
  attention: list(attention),
  quarantined: maybe(shape({ since: moment, reason: text, by: text })),
  created: moment,
  changed: moment,
});
export type Device = Read<typeof device>;

const devices = shape({ items: list(device), next: maybe(text), total: count });
export type Devices = Read<typeof devices>;

const claim = shape({ text, expires: moment });
export type Claim = Read<typeof claim>;

const added = shape({ device, claim });
export type Added = Read<typeof added>;

const revoked = shape({ certificates: count, sessions: count });
export type Revoked = Read<typeof revoked>;

/** What narrows and orders a list of devices; the same words as in the address bar. */
export const FILTERS = ['q', 'stage', 'kind', 'zone', 'site', 'connection', 'attention', 'sort', 'order'] as const;
export type Filter = Partial<Record<(typeof FILTERS)[number], string>>;

export type Span = { skip?: number; after?: string; limit: number };

export const devicesAddress = (filter: Filter, span: Partial<Span> = {}): string =>
  address('/v1/devices', { ...filter, ...span });

export const find = (filter: Filter, span: Span, signal?: AbortSignal): Promise<Devices> =>
  get(devicesAddress(filter, span), devices, signal);

export const deviceAddress = (id: string): string => `/v1/devices/${part(id)}`;

export const one = (id: string, signal?: AbortSignal): Promise<Device> => get(deviceAddress(id), device, signal);

export const certificatesOf = (id: string, signal?: AbortSignal): Promise<Certificate[]> =>
  get(`${deviceAddress(id)}/certificates`, (value, place) => certificates(value, place).items, signal);

export type Draft = { id: string; kind: string; zone: string; title?: string; owner?: string };

export const add = (draft: Draft): Promise<Added> => call('POST', '/v1/devices', draft, added);

/** An empty title or owner takes it away. */
export type Change = {
  title?: string;
  owner?: string;
  labels?: Record<string, string>;
  zone?: string;
  kind?: string;
};

export const change = (id: string, to: Change): Promise<Device> => call('PATCH', deviceAddress(id), to, device);

export const makeClaim = (id: string): Promise<Claim> =>
  call('POST', `${deviceAddress(id)}/claim`, {}, (value, place) => claimAnswer(value, place).claim);

export const revoke = (id: string, reason: string): Promise<Revoked> =>
  call('POST', `${deviceAddress(id)}/revoke`, { reason }, revoked);

export const decide = (id: string, verb: 'quarantine' | 'recover' | 'retire', reason: string): Promise<Device> =>
  call('POST', `${deviceAddress(id)}/${verb}`, { reason }, device);

/** The gravest thing that this device needs a person for. */
export function worst(of: Device): Attention | null {
  return of.attention.find((one) => one.severity === 'red') ?? of.attention[0] ?? null;
}

const certificates = shape({ items: list(certificate) });
const claimAnswer = shape({ claim });
