/** What this browser remembers of the record, from one visit to the next. */
import { maybe, moment, shape, text, type Read } from '../api/door';

const remembered = shape({ key: text, note: text, at: moment });

/** The evidence of a fork stays until a person puts it away. */
const fork = shape({
  why: text,
  at: moment,
  remembered,
  offered: shape({ key: text, note: text }),
  proof: maybe(text),
});
export type Fork = Read<typeof fork>;
export type Memory = Read<typeof remembered>;

export function recall(): Memory | null {
  return read(LAST, remembered);
}

export function recallFork(): Fork | null {
  return read(FORK, fork);
}

/** False where the browser lets nothing be stored. */
export function remember(memory: Memory): boolean {
  return write(LAST, memory);
}

export function rememberFork(evidence: Fork): boolean {
  return write(FORK, evidence);
}

/** Forgets both, so that the next checkpoint is taken as the first. */
export function forget(): void {
  try {
    localStorage.removeItem(LAST);
    localStorage.removeItem(FORK);
  } catch {
    // Nothing can be stored here, so there is nothing to forget.
  }
}

function read<T>(key: string, reader: (value: unknown, place: string) => T): T | null {
  try {
    const stored = localStorage.getItem(key);
    return stored === null ? null : reader(JSON.parse(stored), key);
  } catch {
    return null;
  }
}

function write(key: string, value: unknown): boolean {
  try {
    localStorage.setItem(key, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

const LAST = 'palisade.record.last';
const FORK = 'palisade.record.fork';
