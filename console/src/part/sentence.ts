/** A sentence of the server in pieces: decisions that can be followed, values between backticks, and the words between. */

export type Piece = { text: string; as: 'decision' | 'value' | 'words' };

export function pieces(sentence: string): Piece[] {
  const found: Piece[] = [];
  let end = 0;
  for (const match of sentence.matchAll(MARKED)) {
    if (match.index > end) found.push({ text: sentence.slice(end, match.index), as: 'words' });
    const [whole, value, decision] = match;
    found.push(decision === undefined ? { text: value ?? whole, as: 'value' } : { text: decision, as: 'decision' });
    end = match.index + whole.length;
  }
  if (end < sentence.length) found.push({ text: sentence.slice(end), as: 'words' });
  return found;
}

const MARKED = /`([^`]+)`|\b(d-[0-9a-z]{16})\b/g;
