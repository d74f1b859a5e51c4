/** What a device needs a person for, as two halves of the server's sentence: why, and what to do. */
import type { Attention } from '../../api/device';

export type Need = { why: string; todo: string };

/** The server says "its certificate ends soon; enrol it again": before the semicolon stands why, after it what to do. */
export function needOf({ text }: Attention): Need {
  const split = text.lastIndexOf('; ');
  if (split < 0) return { why: text, todo: 'Open the device and read its time line.' };
  const todo = capital(text.slice(split + 2));
  return { why: text.slice(0, split), todo: /[.?]$/.test(todo) ? todo : `${todo}.` };
}

export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
