/** One call to the server: same origin, cookie session, answer parsed at the door. */
import type { Reader } from './door';
import { parseRefusal, Unreachable, wasGivenUp } from './problem';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** Query values; null and empty are left out. */
export type Query = Record<string, string | number | null | undefined>;

export async function get<T>(path: string, reader: Reader<T>, signal?: AbortSignal): Promise<T> {
  return call('GET', path, undefined, reader, signal);
}

export async function call<T>(
  method: Method,
  path: string,
  body: unknown,
  reader: Reader<T>,
  signal?: AbortSignal,
): Promise<T> {
  const answer = await answerTo(method, path, body, signal);
  const content = await answer.text();
  if (!answer.ok) throw refusal(answer.status, content, path);
  return reader(content === '' ? undefined : parseJson(content), 'answer');
}

/** A call whose answer is plain text, such as a checkpoint. */
export async function getText(path: string, signal?: AbortSignal): Promise<string> {
  const answer = await answerTo('GET', path, undefined, signal);
  const content = await answer.text();
  if (!answer.ok) throw refusal(answer.status, content, path);
  return content;
}

/** A path under the API with its query, in a stable order. */
export function address(path: string, query: Query = {}): string {
  const pairs = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== '') pairs.set(key, String(value));
  }
  const text = pairs.toString();
  return text === '' ? path : `${path}?${text}`;
}

/** One part of a path: whatever it holds, it stays one part. */
export function part(text: string): string {
  return encodeURIComponent(text);
}

/** Who is told that the server answers, does not answer, or has ended our session. */
export const listeners: { reached: () => void; lost: () => void; signedOut: () => void } = {
  reached: () => undefined,
  lost: () => undefined,
  signedOut: () => undefined,
};

async function answerTo(method: Method, path: string, body: unknown, signal?: AbortSignal): Promise<Response> {
  const request: RequestInit = { method, credentials: 'same-origin', cache: 'no-store', redirect: 'error' };
  if (signal) request.signal = signal;
  if (body !== undefined) {
    request.headers = { 'content-type': 'application/json' };
    request.body = JSON.stringify(body);
  }
  try {
    const answer = await fetch(path, request);
    listeners.reached();
    return answer;
  } catch (error) {
    if (wasGivenUp(error)) throw error;
    listeners.lost();
    throw new Unreachable();
  }
}

function refusal(status: number, content: string, path: string): Error {
  if (status === 401 && !path.startsWith('/v1/session')) listeners.signedOut();
  return parseRefusal(status, content);
}

function parseJson(content: string): unknown {
  try {
    return JSON.parse(content) as unknown;
  } catch {
    throw new Error('the server answered with something that is not JSON; is this address really Palisade?');
  }
}
