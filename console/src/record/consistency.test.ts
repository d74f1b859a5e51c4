/** Consistency proofs against vectors made by another program (tests/golden/make.py). */
import { describe, expect, it } from 'vitest';
import vectors from '../../tests/golden/record.json';
import { bytesOf } from './base64';
import type { Checkpoint } from './checkpoint';
import { isConsistent } from './consistency';

describe('isConsistent', () => {
  it('accepts every proof that an honest record gives', async () => {
    for (const { from, to, hashes } of vectors.proofs) {
      expect(await isConsistent(at(from), at(to), hashes.map(bytes)), `${from} to ${to}`).toBe(true);
    }
  });

  it('refuses a proof in which any one bit is turned', async () => {
    for (const { from, to, hashes } of vectors.proofs) {
      for (const wrongIdx of hashes.keys()) {
        const wrong = hashes.map(bytes);
        const hash = wrong[wrongIdx];
        if (hash) hash[31] = (hash[31] ?? 0) ^ 1;
        expect(await isConsistent(at(from), at(to), wrong), `${from} to ${to}, hash ${wrongIdx}`).toBe(false);
      }
    }
  });

  it('refuses a proof that is too short, too long or for other sizes', async () => {
    for (const { from, to, hashes } of vectors.proofs.filter(({ from, to }) => from < to)) {
      const proof = hashes.map(bytes);
      expect(await isConsistent(at(from), at(to), proof.slice(0, -1))).toBe(false);
      expect(await isConsistent(at(from), at(to), [...proof, bytes(vectors.roots['1'])])).toBe(false);
      expect(await isConsistent({ ...at(from), size: from + 1 }, at(to), proof)).toBe(false);
    }
  });

  it('refuses another root of either side', async () => {
    for (const { from, to, hashes } of vectors.proofs) {
      const other = { ...at(from), root: bytes(vectors.roots['130']) };
      if (from !== 130) expect(await isConsistent(other, at(to), hashes.map(bytes))).toBe(false);
      const turned = { ...at(to), root: at(to).root.map((byte) => byte ^ 0x80) };
      expect(await isConsistent(at(from), turned, hashes.map(bytes))).toBe(false);
    }
  });

  it('refuses a record that has shrunk', async () => {
    expect(await isConsistent(at(5), at(4), [])).toBe(false);
  });

  it('takes any record as one that adds to the empty one', async () => {
    const empty = { origin: 'o', size: 0, root: bytes(vectors.roots['1']) };
    expect(await isConsistent(empty, at(5), [])).toBe(true);
    expect(await isConsistent(empty, at(5), [bytes(vectors.roots['1'])])).toBe(false);
  });
});

function at(size: number): Checkpoint {
  const root = new Map(Object.entries(vectors.roots)).get(String(size));
  return { origin: 'o', size, root: bytes(root ?? '') };
}

function bytes(text: string): Uint8Array {
  const found = bytesOf(text);
  if (!found) throw new Error(`\`${text}\` is not base64`);
  return found;
}
