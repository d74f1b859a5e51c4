/** Moments and spans in words. */
import { describe, expect, it } from 'vitest';
import { age, clockTime, dayHeading, passed, short, span } from './moment';

const now = new Date(2026, 10, 21, 12, 0, 0);
const before = (seconds: number): Date => new Date(now.getTime() - seconds * 1000);

describe('moments', () => {
  it.each([
    [0, '0 s'],
    [59, '59 s'],
    [60, '1 min'],
    [3_599, '59 min'],
    [3_600, '1 h'],
    [47 * 3_600, '47 h'],
    [48 * 3_600, '2 d'],
    [119 * 86_400, '119 d'],
    [200 * 86_400, '6 months'],
    [3 * 366 * 86_400, '3 years'],
  ])('%d seconds are %s', (seconds, words) => {
    expect(span(seconds * 1000)).toBe(words);
    expect(span(-seconds * 1000)).toBe(words);
  });

  it('an age looks both ways', () => {
    expect(age(before(240), now)).toBe('4 min ago');
    expect(age(before(-6 * 86_400), now)).toBe('in 6 d');
    expect(age(before(0.4), now)).toBe('now');
  });

  it('a time of day is told on 24 hours', () => {
    expect(clockTime(new Date(2026, 0, 2, 3, 4, 5))).toBe('03:04:05');
  });

  it('the short form says no more than is needed', () => {
    expect(short(new Date(2026, 10, 21, 3, 12), now)).toBe('03:12');
    expect(short(new Date(2026, 10, 20, 3, 12), now)).toBe('Nov 20 03:12');
    expect(short(new Date(2025, 10, 20, 3, 12), now)).toBe('2025-11-20 03:12');
  });

  it('days are called by their names', () => {
    expect(dayHeading(new Date(2026, 10, 21, 0, 0), now)).toBe('Today');
    expect(dayHeading(new Date(2026, 10, 20, 23, 59), now)).toBe('Yesterday');
    expect(dayHeading(new Date(2026, 10, 19, 23, 59), now)).toBe('2026-11-19');
  });

  it('a validity passes from 0 to 1 and no further', () => {
    expect(passed(before(100), before(-100), now)).toBe(0.5);
    expect(passed(before(-10), before(-30), now)).toBe(0);
    expect(passed(before(30), before(10), now)).toBe(1);
  });
});
