/** Puts moments and spans into short words: "12 s", "4 min", "3 h", "6 d"; 24-hour clock, the browser's own zone. */

/** How long ago, or how long until, without saying which. */
export function span(milliseconds: number): string {
  const seconds = Math.floor(Math.abs(milliseconds) / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h`;
  const days = Math.floor(seconds / 86_400);
  if (days < 120) return `${days} d`;
  if (days < 730) return `${Math.floor(days / 30.4375)} months`;
  return `${Math.floor(days / 365.25)} years`;
}

/** "4 min ago", "in 6 d", "now". */
export function age(at: Date, now: Date): string {
  const gone = now.getTime() - at.getTime();
  if (Math.abs(gone) < 1000) return 'now';
  return gone >= 0 ? `${span(gone)} ago` : `in ${span(gone)}`;
}

/** "03:12:09" */
export function clockTime(at: Date): string {
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** "2026-11-21" */
export function day(at: Date): string {
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

/** "03:12" today, "Nov 20 03:12" within the year, else the full date. */
export function short(at: Date, now: Date): string {
  const time = `${two(at.getHours())}:${two(at.getMinutes())}`;
  if (day(at) === day(now)) return time;
  if (at.getFullYear() === now.getFullYear()) return `${MONTHS[at.getMonth()] ?? ''} ${at.getDate()} ${time}`;
  return `${day(at)} ${time}`;
}

/** "today", "yesterday" or the date: what heads a day in a list. */
export function dayHeading(at: Date, now: Date): string {
  if (day(at) === day(now)) return 'Today';
  const yesterday = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1);
  return day(at) === day(yesterday) ? 'Yesterday' : day(at);
}

/** To the millisecond and with its zone, for a title that leaves no doubt. */
export function exact(at: Date): string {
  return at.toISOString();
}

/** How much of a validity has passed, from 0 to 1. */
export function passed(from: Date, to: Date, now: Date): number {
  const whole = to.getTime() - from.getTime();
  if (whole <= 0) return 1;
  return Math.min(1, Math.max(0, (now.getTime() - from.getTime()) / whole));
}

function two(n: number): string {
  return String(n).padStart(2, '0');
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
