/** A checkpoint (C2SP tlog-checkpoint): the origin, the size and the root of the record at one moment. */
import { bytesOf, textOf } from './base64';
import { NoteError } from './note';

export type Checkpoint = { origin: string; size: number; root: Uint8Array };

export function parseCheckpoint(text: string): Checkpoint {
  const [origin, size, root] = text.split('\n');
  if (!origin || size === undefined || root === undefined) {
    throw new NoteError('the checkpoint lacks its origin, size or root');
  }
  const number = /^(0|[1-9]\d{0,15})$/.test(size) ? Number(size) : NaN;
  if (!Number.isSafeInteger(number)) throw new NoteError(`the checkpoint's size \`${size.slice(0, 24)}\` is not a count`);
  const bytes = bytesOf(root);
  if (!bytes || bytes.length !== 32) throw new NoteError("the checkpoint's root is not a SHA-256 digest");
  return { origin, size: number, root: bytes };
}

/** A checkpoint in so few words that two can be compared by eye. */
export function inShort(checkpoint: Checkpoint): string {
  return `${checkpoint.size} events, root ${textOf(checkpoint.root)}`;
}
