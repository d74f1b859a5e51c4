/** Judges the checkpoint that a server offers against the one that this browser remembers. Asks for the proof through an argument. */
import { bytesOf, equal } from './base64';
import { parseCheckpoint, type Checkpoint } from './checkpoint';
import { isConsistent } from './consistency';
import { parseKey, parseNote, verify } from './note';

/** What the browser keeps: the key it first met and the last checkpoint that held. */
export type Remembered = { key: string; note: string; at: Date };

export type Judgement =
  | { is: 'holds'; checkpoint: Checkpoint; signature: 'checked' | 'unable'; from: Checkpoint | null }
  | { is: 'broken'; why: string; offered: Checkpoint | null; remembered: Checkpoint | null };

export type Proofs = (from: number, to: number) => Promise<string[]>;

export async function judge(
  offered: { key: string; note: string },
  remembered: Remembered | null,
  proofs: Proofs,
): Promise<Judgement> {
  const note = parseNote(offered.note);
  const checkpoint = parseCheckpoint(note.text);
  const old = remembered ? parseCheckpoint(parseNote(remembered.note).text) : null;
  const broken = (why: string): Judgement => ({ is: 'broken', why, offered: checkpoint, remembered: old });

  if (remembered && remembered.key !== offered.key) {
    return broken('The record is signed by another key than the one this browser first met here.');
  }
  const signed = await verify(note, await parseKey(offered.key));
  if (signed === 'not-signed') return broken('The checkpoint is not signed by the key of this record.');
  const signature = signed === 'signed' ? 'checked' : 'unable';
  if (!old) return { is: 'holds', checkpoint, signature, from: null };

  if (old.origin !== checkpoint.origin) return broken(`The record now calls itself \`${checkpoint.origin}\`.`);
  if (checkpoint.size < old.size) {
    return broken(`The record has lost ${old.size - checkpoint.size} events that this browser has seen stand in it.`);
  }
  if (checkpoint.size === old.size) {
    if (equal(checkpoint.root, old.root)) return { is: 'holds', checkpoint, signature, from: old };
    return broken(`The record holds other events than the ${old.size} that this browser has seen.`);
  }
  const proof = (await proofs(old.size, checkpoint.size)).map(bytesOf);
  const whole = proof.filter((hash) => hash !== null);
  if (whole.length === proof.length && (await isConsistent(old, checkpoint, whole))) {
    return { is: 'holds', checkpoint, signature, from: old };
  }
  return broken(`The server cannot prove that its ${checkpoint.size} events still hold the ${old.size} seen here, unchanged.`);
}
