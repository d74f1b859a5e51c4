/** Signed notes against one that OpenSSL signed (tests/golden/make.py). */
import { describe, expect, it } from 'vitest';
import vectors from '../../tests/golden/record.json';
import { parseCheckpoint } from './checkpoint';
import { parseKey, parseNote, verify } from './note';

const { key, note } = vectors.signed;

describe('a signed note', () => {
  it('verifies with its key', async () => {
    expect(await verify(parseNote(note), await parseKey(key))).toBe('signed');
  });

  it('does not verify once its text is changed', async () => {
    const changed = parseNote(note.replace('\n130\n', '\n131\n'));
    expect(await verify(changed, await parseKey(key))).toBe('not-signed');
  });

  it('does not verify with a turned bit in its signature', async () => {
    const changed = parseNote(note);
    const bytes = changed.signatures[0]?.bytes;
    if (bytes) bytes[10] = (bytes[10] ?? 0) ^ 1;
    expect(await verify(changed, await parseKey(key))).toBe('not-signed');
  });

  it('does not count a signature of another name', async () => {
    const other = parseNote(note.replace('— palisade.example/record ', '— other '));
    expect(await verify(other, await parseKey(key))).toBe('not-signed');
  });

  it('verifies among the signatures of witnesses', async () => {
    const witnessed = `${note}— witness AAAAAAECAwQFBgcI\n`;
    expect(await verify(parseNote(witnessed), await parseKey(key))).toBe('signed');
  });

  it('reads as a checkpoint', () => {
    const checkpoint = parseCheckpoint(parseNote(note).text);
    expect(checkpoint.origin).toBe('palisade.example/record');
    expect(checkpoint.size).toBe(130);
    expect(checkpoint.root).toHaveLength(32);
  });
});

describe('bad input', () => {
  it.each([
    ['', 'no signatures'],
    ['text only\n', 'no signatures'],
    ['a\n1\n\nno dash\n', 'signature line'],
    ['a\n1\n\n— name !!!!\n', 'signature line'],
    ['a\n1\n\n— name AAAA\n', 'signature line'],
  ])('a note `%s` is refused', (text, why) => {
    expect(() => parseNote(text)).toThrow(why);
  });

  it.each([
    ['origin\n-1\nAAAA\n', 'not a count'],
    ['origin\n007\nAAAA\n', 'not a count'],
    ['origin\n9999999999999999\nAAAA\n', 'not a count'],
    ['origin\n5\nAAAA\n', 'digest'],
    ['origin\n5\n', 'digest'],
    ['\n5\nAAAA\n', 'lacks'],
  ])('a checkpoint `%s` is refused', (text, why) => {
    expect(() => parseCheckpoint(text)).toThrow(why);
  });

  it('a key whose hash is not its own is refused', async () => {
    await expect(parseKey(key.replace(/\+[0-9a-f]{8}\+/, '+00000000+'))).rejects.toThrow('own hash');
  });

  it('a key of another kind is refused', async () => {
    await expect(parseKey('name+00000000+AAAA')).rejects.toThrow('Ed25519');
    await expect(parseKey('nonsense')).rejects.toThrow('form');
  });
});
