/** Why a device may or may not do something, before it tries or after it did. */
import { address, get, part } from './call';
import { anything, count, list, mapOf, maybe, moment, oneOf, shape, text, type Read } from './door';

export const ACTIONS = ['connect', 'publish', 'subscribe', 'receive'] as const;
export type Action = (typeof ACTIONS)[number];

export const explanation = shape({
  effect: oneOf(['allow', 'deny']),
  cause: text,
  text,
  policies: list(shape({ id: text, effect: oneOf(['permit', 'forbid']), source: text, line: maybe(count) })),
  namespace: maybe(text),
  binding: maybe(mapOf(anything)),
  device: text,
  action: oneOf(ACTIONS),
  topic: maybe(text),
  /** What would have to change, in words. */
  advice: maybe(list(text)),
  epoch: shape({ policy: count, posture: count }),
  decision: maybe(text),
  at: maybe(moment),
  count: maybe(count),
});
export type Explanation = Read<typeof explanation>;

export const whyAddress = (device: string, action: Action, topic: string): string =>
  address('/v1/why', { device, action, topic: action === 'connect' ? null : topic });

export const ask = (device: string, action: Action, topic: string, signal?: AbortSignal): Promise<Explanation> =>
  get(whyAddress(device, action, topic), explanation, signal);

export const ofDecision = (id: string, signal?: AbortSignal): Promise<Explanation> =>
  get(`/v1/decisions/${part(id)}`, explanation, signal);
