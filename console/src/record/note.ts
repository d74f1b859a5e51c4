/** Signed notes (C2SP signed-note): the text, the key that should have signed it, and whether it did. */
import { bytesOf, equal } from './base64';

export type NoteKey = { name: string; id: Uint8Array; publicKey: Uint8Array<ArrayBuffer> };

export type Note = { text: string; signatures: { name: string; id: Uint8Array; bytes: Uint8Array<ArrayBuffer> }[] };

/** A note or key that is not what its format says. */
export class NoteError extends Error {}

/** Whether the key signed the note; `unable` where this browser lacks Ed25519. */
export type Signed = 'signed' | 'not-signed' | 'unable';

/** Reads a verifier key, `name+hash+base64`, and checks that the hash is the key's own. */
export async function parseKey(text: string): Promise<NoteKey> {
  const match = /^([^+\s]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text.trim());
  const [, name, hash, encoded] = match ?? [];
  if (name === undefined || hash === undefined || encoded === undefined) {
    throw new NoteError('the key of the record is not of the form `name+hash+base64`');
  }
  const bytes = bytesOf(encoded);
  if (!bytes || bytes.length !== 33 || bytes[0] !== ED25519) {
    throw new NoteError('the key of the record is not an Ed25519 key');
  }
  const id = await keyId(name, bytes);
  const written = Uint8Array.from(hash.match(/../g) ?? [], (pair) => parseInt(pair, 16));
  if (!equal(id, written)) throw new NoteError('the key of the record does not match its own hash');
  return { name, id, publicKey: bytes.slice(1) };
}

/** Reads a note: text, an empty line, signature lines. */
export function parseNote(whole: string): Note {
  const split = whole.lastIndexOf('\n\n');
  if (split < 0 || !whole.endsWith('\n')) throw new NoteError('the checkpoint has no signatures');
  const lines = whole.slice(split + 2, -1).split('\n');
  return { text: whole.slice(0, split + 1), signatures: lines.map(parseSignature) };
}

export async function verify(note: Note, key: NoteKey): Promise<Signed> {
  const ours = note.signatures.filter((signature) => signature.name === key.name && equal(signature.id, key.id));
  if (ours.length === 0) return 'not-signed';
  let imported: CryptoKey;
  try {
    imported = await crypto.subtle.importKey('raw', key.publicKey, 'Ed25519', false, ['verify']);
  } catch {
    return 'unable';
  }
  const message = new TextEncoder().encode(note.text);
  for (const signature of ours) {
    if (!(await crypto.subtle.verify('Ed25519', imported, signature.bytes, message))) return 'not-signed';
  }
  return 'signed';
}

function parseSignature(line: string): Note['signatures'][number] {
  const match = /^— (\S+) ([A-Za-z0-9+/=]+)$/.exec(line);
  const bytes = match?.[2] === undefined ? null : bytesOf(match[2]);
  if (!match || match[1] === undefined || !bytes || bytes.length < 5) {
    throw new NoteError('a signature line of the checkpoint cannot be read');
  }
  return { name: match[1], id: bytes.slice(0, 4), bytes: bytes.slice(4) };
}

async function keyId(name: string, key: Uint8Array): Promise<Uint8Array> {
  const head = new TextEncoder().encode(`${name}\n`);
  const whole = new Uint8Array(head.length + key.length);
  whole.set(head);
  whole.set(key, head.length);
  return new Uint8Array(await crypto.subtle.digest('SHA-256', whole)).slice(0, 4);
}

const ED25519 = 1;
