/** The policy in force: its Cedar source and the namespaces that give topics their meaning. */
import { call, get } from './call';
import { count, flag, list, maybe, moment, nothing, shape, text, type Read, type Reader } from './door';

const namespace = shape({ name: text, template: text });
export type Namespace = Read<typeof namespace>;

const policy = shape({
  version: count,
  source: text,
  namespaces: list(namespace),
  changed: maybe(moment),
  by: maybe(text),
});
export type Policy = Read<typeof policy>;

/** A problem of no line, such as two namespaces that overlap, has line 0 or none. */
const line: Reader<number | null> = (value, place) => maybe(count)(value, place) || null;
const problem = shape({ line, column: line, text });
export type PolicyProblem = Read<typeof problem>;

const checked = shape({ ok: flag, problems: list(problem), warnings: maybe(list(problem)) });
export type Checked = Read<typeof checked>;

export const current = (signal?: AbortSignal): Promise<Policy> => get('/v1/policy', policy, signal);

export const check = (source: string, namespaces: Namespace[], signal?: AbortSignal): Promise<Checked> =>
  call('POST', '/v1/policy/check', { source, namespaces }, checked, signal);

export const save = (source: string, namespaces: Namespace[], expectedVersion: number): Promise<void> =>
  call('PUT', '/v1/policy', { source, namespaces, expected_version: expectedVersion }, nothing);
