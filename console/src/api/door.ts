/**
 * The door: every answer of the server becomes a typed value here or an error with words.
 * A `Reader<T>` takes an unknown value and the place it stood at.
 */

export type Reader<T> = (value: unknown, place: string) => T;

/** An answer that is not what the contract says: our bug or the server's, never the operator's. */
export class Malformed extends Error {
  constructor(place: string, expected: string, found: unknown) {
    super(`the server's answer has ${shown(found)} at \`${place}\`, where ${expected} was expected`);
    this.name = 'Malformed';
  }
}

export const text: Reader<string> = (value, place) => {
  if (typeof value !== 'string') throw new Malformed(place, 'a text', value);
  return value;
};

export const number: Reader<number> = (value, place) => {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new Malformed(place, 'a number', value);
  return value;
};

/** A whole number from 0 that JavaScript holds exactly. */
export const count: Reader<number> = (value, place) => {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw new Malformed(place, 'a whole number', value);
  }
  return value;
};

export const flag: Reader<boolean> = (value, place) => {
  if (typeof value !== 'boolean') throw new Malformed(place, 'true or false', value);
  return value;
};

/** A moment in time, written as RFC 3339. */
export const moment: Reader<Date> = (value, place) => {
  if (typeof value !== 'string' || !RFC_3339.test(value)) throw new Malformed(place, 'a time (RFC 3339)', value);
  const date = new Date(value);
  if (Number.isNaN(date.getTime())) throw new Malformed(place, 'a time (RFC 3339)', value);
  return date;
};

/** One of a closed set of words; a word that is not in it is an error, never a default. */
export function oneOf<const W extends string>(words: readonly W[]): Reader<W> {
  return (value, place) => {
    const word = words.find((candidate) => candidate === value);
    if (word === undefined) throw new Malformed(place, `one of ${words.join(', ')}`, value);
    return word;
  };
}

export function list<T>(item: Reader<T>): Reader<T[]> {
  return (value, place) => {
    if (!Array.isArray(value)) throw new Malformed(place, 'a list', value);
    return value.map((element: unknown, idx) => item(element, `${place}[${idx}]`));
  };
}

/** Null and absent both mean "not known". */
export function maybe<T>(inner: Reader<T>): Reader<T | null> {
  return (value, place) => (value === null || value === undefined ? null : inner(value, place));
}

/** An object whose keys are data, such as labels. */
export function mapOf<T>(item: Reader<T>): Reader<Map<string, T>> {
  return (value, place) =>
    new Map(Object.entries(asObject(value, place)).map(([key, element]) => [key, item(element, `${place}.${key}`)]));
}

/** An object with the given fields; further fields are left aside, so that an older page can read a newer server. */
export function shape<T extends Record<string, unknown>>(fields: { [K in keyof T]: Reader<T[K]> }): Reader<T> {
  return (value, place) => {
    const object = asObject(value, place);
    const pairs = Object.entries(fields).map(([key, reader]) => [
      key,
      (reader as Reader<unknown>)(Object.hasOwn(object, key) ? object[key] : undefined, `${place}.${key}`),
    ]);
    return Object.fromEntries(pairs) as T;
  };
}

/** Anything that JSON can hold, for details that are shown as they came. */
export const anything: Reader<unknown> = (value) => value;

/** Whatever was there, it says nothing that we need. */
export const nothing: Reader<void> = () => undefined;

/** The type that a reader gives. */
export type Read<R> = R extends Reader<infer T> ? T : never;

function asObject(value: unknown, place: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Malformed(place, 'an object', value);
  }
  return value as Record<string, unknown>;
}

function shown(value: unknown): string {
  if (value === undefined) return 'nothing';
  const json = JSON.stringify(value);
  return json.length > 60 ? `${json.slice(0, 57)}…` : json;
}

const RFC_3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$/;
