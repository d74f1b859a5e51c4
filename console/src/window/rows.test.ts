/** The window over a long list. */
import { describe, expect, it } from 'vitest';
import { pagesOf, pagesToForget, rowsInView, scrollToRow } from './rows';

describe('rowsInView', () => {
  it('draws what is seen and some to spare', () => {
    expect(rowsInView(3_600, 720, 36, 100_000, 8)).toEqual({ first: 92, end: 128 });
  });

  it('begins at the first row while the head is in view', () => {
    expect(rowsInView(-300, 900, 36, 100_000, 8)).toEqual({ first: 0, end: 25 });
  });

  it('ends at the last row', () => {
    expect(rowsInView(99_990 * 36, 900, 36, 100_000, 8)).toEqual({ first: 99_982, end: 100_000 });
  });

  it('is empty where there is nothing, or all of it is out of view', () => {
    expect(rowsInView(0, 900, 36, 0, 8)).toEqual({ first: 0, end: 0 });
    expect(rowsInView(50_000, 900, 36, 10, 8)).toEqual({ first: 10, end: 10 });
  });
});

describe('pages', () => {
  it('are those that hold the rows', () => {
    expect(pagesOf({ first: 92, end: 128 }, 100)).toEqual([0, 1]);
    expect(pagesOf({ first: 100, end: 200 }, 100)).toEqual([1]);
    expect(pagesOf({ first: 5, end: 5 }, 100)).toEqual([]);
  });

  it('far from the view are forgotten first, those in view never', () => {
    expect(pagesToForget([0, 1, 2, 9, 10], [1, 2], 3)).toEqual([10, 9]);
    expect(pagesToForget([0, 1], [5], 3)).toEqual([]);
    expect(pagesToForget([4, 5, 6], [4, 5, 6], 1)).toEqual([]);
  });
});

describe('scrollToRow', () => {
  const stuck = { above: 100, below: 10 };

  it('does not move when the row is in view', () => {
    expect(scrollToRow(10, 36, 200, 600, stuck)).toBe(0);
  });

  it('brings a row out from under what sticks to the top', () => {
    expect(scrollToRow(5, 36, 200, 600, stuck)).toBe(-120);
  });

  it('brings a row up from below', () => {
    expect(scrollToRow(30, 36, 200, 600, stuck)).toBe(326);
  });
});
