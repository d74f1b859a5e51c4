/** Splits Cedar source into coloured pieces; it explains nothing, it only helps the eye. */

export type Piece = { text: string; as: 'word' | 'text' | 'comment' | 'plain' };

export function pieces(source: string): Piece[] {
  const found: Piece[] = [];
  let end = 0;
  for (const match of source.matchAll(TOKEN)) {
    if (match.index > end) found.push({ text: source.slice(end, match.index), as: 'plain' });
    found.push({ text: match[0], as: match[1] ? 'comment' : match[2] ? 'text' : 'word' });
    end = match.index + match[0].length;
  }
  if (end < source.length) found.push({ text: source.slice(end), as: 'plain' });
  return found;
}

const TOKEN =
  /(\/\/[^\n]*)|("(?:[^"\\\n]|\\.)*")|\b(?:permit|forbid|when|unless|principal|action|resource|context|in|is|has|like|if|then|else|true|false)\b|@[a-z_]+/g;
