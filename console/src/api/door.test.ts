/** The door lets in what the contract says and refuses the rest with words. */
import { describe, expect, it } from 'vitest';
import { count, list, mapOf, maybe, moment, oneOf, shape, text } from './door';

describe('the door', () => {
  it('reads what has the right shape', () => {
    const pump = shape({ id: text, seen: maybe(moment), tags: list(text), labels: mapOf(text), n: count });
    const read = pump({ id: 'pump-7', seen: '2026-11-21T03:12:09.5Z', tags: ['a'], labels: { k: 'v' }, n: 3, more: 1 }, 'pump');
    expect(read.seen?.getTime()).toBe(Date.UTC(2026, 10, 21, 3, 12, 9, 500));
    expect(read.labels.get('k')).toBe('v');
    expect(read).not.toHaveProperty('more');
  });

  it.each<[string, () => unknown, string]>([
    ['a wrong type', () => text(5, 'a.b'), 'has 5 at `a.b`, where a text was expected'],
    ['an absent field', () => shape({ id: text })({}, 'device'), 'has nothing at `device.id`'],
    ['an inherited field', () => shape({ toString: text })({}, 'device'), 'has nothing at `device.toString`'],
    ['null for an object', () => shape({ id: text })(null, 'device'), 'has null at `device`'],
    ['a list for an object', () => shape({ id: text })([], 'device'), 'has [] at `device`'],
    ['an object for a list', () => list(text)({}, 'items'), 'has {} at `items`'],
    ['a bad element', () => list(text)(['a', 1], 'items'), '`items[1]`'],
    ['an unknown word', () => oneOf(['red', 'amber'])('green', 'severity'), 'one of red, amber'],
    ['a negative count', () => count(-1, 'n'), 'a whole number'],
    ['a fraction for a count', () => count(1.5, 'n'), 'a whole number'],
    ['a count beyond what is exact', () => count(2 ** 53, 'n'), 'a whole number'],
    ['a time without zone', () => moment('2026-11-21T03:12:09', 't'), 'RFC 3339'],
    ['a time that is none', () => moment('2026-13-41T03:12:09Z', 't'), 'RFC 3339'],
    ['a time as a number', () => moment(1_700_000_000, 't'), 'RFC 3339'],
  ])('refuses %s', (_, read, why) => {
    expect(read).toThrow(why);
  });

  it('shows no more than the beginning of what it found', () => {
    expect(() => count('x'.repeat(5_000), 'n')).toThrow(/^.{0,160}$/);
  });
});
