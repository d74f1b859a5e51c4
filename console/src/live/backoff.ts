/** How long to wait before the next try: doubling from one second to thirty, spread so that a thousand pages do not return at once. */

/** `chance` is from 0 to 1; the wait lies between half and all of the full wait. */
export function waitBefore(n_tries: number, chance: number): number {
  const full = Math.min(LONGEST, FIRST * 2 ** Math.min(n_tries, 10));
  return Math.round(full / 2 + (full / 2) * chance);
}

const FIRST = 1_000;
const LONGEST = 30_000;
