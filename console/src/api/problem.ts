/** What went wrong with a call, in words for a person: the server's problem document (RFC 9457), or that no server answered. */
import { maybe, number, shape, text, type Reader } from './door';

/** The server answered, and refused. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly code: string | null,
    readonly title: string,
    readonly detail: string | null,
  ) {
    super(detail ?? title);
    this.name = 'Refused';
  }

  /** The session has ended; only signing in again helps. */
  get signedOut(): boolean {
    return this.status === 401;
  }
}

/** No server answered. */
export class Unreachable extends Error {
  constructor() {
    super('the server does not answer; it may be restarting, or the network between is down');
    this.name = 'Unreachable';
  }
}

/** Reads a refusal; an answer that is no problem document still becomes one that can be read. */
export function parseRefusal(status: number, body: string): Refused {
  try {
    const problem = problemDocument(JSON.parse(body), 'problem');
    return new Refused(status, problem.code, problem.title ?? `status ${status}`, problem.detail);
  } catch {
    return new Refused(status, null, `the server answered with status ${status} and gave no reason`, null);
  }
}

/** Puts any error into a sentence. */
export function inWords(error: unknown): string {
  if (error instanceof Error) {
    const sentence = error.message;
    return sentence.charAt(0).toUpperCase() + sentence.slice(1) + (/[.?…]$/.test(sentence) ? '' : '.');
  }
  return 'Something failed without saying what.';
}

/** True where a call was given up by ourselves, because its answer is no longer wanted. */
export function wasGivenUp(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'AbortError';
}

type ProblemDocument = { title: string | null; status: number | null; detail: string | null; code: string | null };

const problemDocument: Reader<ProblemDocument> = shape({
  title: maybe(text),
  status: maybe(number),
  detail: maybe(text),
  code: maybe(text),
});
