/** Consistency proofs (RFC 9162 §2.1.4.2, the tree of RFC 6962): the newer record holds all of the older one, unchanged. */
import { equal } from './base64';
import type { Checkpoint } from './checkpoint';

/** Verifies that `newer` only adds to `older`. */
export async function isConsistent(older: Checkpoint, newer: Checkpoint, proof: Uint8Array[]): Promise<boolean> {
  if (older.size > newer.size) return false;
  if (older.size === newer.size) return proof.length === 0 && equal(older.root, newer.root);
  if (older.size === 0) return proof.length === 0;
  const path = isPowerOfTwo(older.size) ? [older.root, ...proof] : proof;
  const [seed, ...steps] = path;
  if (!seed) return false;

  let [fn, sn] = [older.size - 1, newer.size - 1];
  const ascend = (): void => {
    fn = Math.floor(fn / 2);
    sn = Math.floor(sn / 2);
  };
  while (fn % 2 === 1) ascend();
  let [oldRoot, newRoot] = [seed, seed];
  for (const step of steps) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      oldRoot = await parent(step, oldRoot);
      newRoot = await parent(step, newRoot);
      while (fn % 2 === 0 && fn !== 0) ascend();
    } else {
      newRoot = await parent(newRoot, step);
    }
    ascend();
  }
  return sn === 0 && equal(oldRoot, older.root) && equal(newRoot, newer.root);
}

/** `SHA-256(0x01 || left || right)` */
async function parent(left: Uint8Array, right: Uint8Array): Promise<Uint8Array> {
  const node = new Uint8Array(1 + left.length + right.length);
  node[0] = 1;
  node.set(left, 1);
  node.set(right, 1 + left.length);
  return new Uint8Array(await crypto.subtle.digest('SHA-256', node));
}

function isPowerOfTwo(size: number): boolean {
  let rest = size;
  while (rest % 2 === 0) rest /= 2;
  return rest === 1;
}
