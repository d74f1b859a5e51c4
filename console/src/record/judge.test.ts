/** What the browser concludes of a checkpoint against the one that it remembers. */
import { describe, expect, it } from 'vitest';
import vectors from '../../tests/golden/record.json';
import { textOf } from './base64';
import { judge, type Remembered } from './judge';

const offered = vectors.signed;
const NAME = 'palisade.example/record';

describe('judge', () => {
  it('takes the first checkpoint that it sees, once its signature holds', async () => {
    const judgement = await judge(offered, null, noProof);
    expect(judgement).toMatchObject({ is: 'holds', signature: 'checked', from: null });
  });

  it('holds when the proof shows that the record only grew', async () => {
    const judgement = await judge(offered, remembered(65), proof);
    expect(judgement).toMatchObject({ is: 'holds', from: { size: 65 } });
  });

  it('holds without a proof when nothing was added', async () => {
    expect(await judge(offered, remembered(130), noProof)).toMatchObject({ is: 'holds' });
  });

  it('tells a record of the same size with other events', async () => {
    const other = { ...remembered(130), note: noteOf(130, vectors.roots['64']) };
    expect(await judge(offered, other, noProof)).toMatchObject({ is: 'broken', why: expect.stringContaining('other events') });
  });

  it('tells a record that was rewritten and then grew', async () => {
    const other = { ...remembered(65), note: noteOf(65, vectors.roots['64']) };
    expect(await judge(offered, other, proof)).toMatchObject({ is: 'broken', why: expect.stringContaining('cannot prove') });
  });

  it('tells a proof that is not base64', async () => {
    expect(await judge(offered, remembered(65), () => Promise.resolve(['?']))).toMatchObject({ is: 'broken' });
  });

  it('tells a record that has lost events', async () => {
    const longer = { ...remembered(130), note: noteOf(131, vectors.roots['64']) };
    expect(await judge(offered, longer, noProof)).toMatchObject({ is: 'broken', why: expect.stringContaining('lost 1 events') });
  });

  it('tells a record that is signed by another key', async () => {
    const before = { ...remembered(65), key: `${NAME}+00000000+AAAA` };
    expect(await judge(offered, before, proof)).toMatchObject({ is: 'broken', why: expect.stringContaining('another key') });
  });

  it('tells a checkpoint that is not signed by the key', async () => {
    const forged = { key: offered.key, note: noteOf(130, vectors.roots['130']) };
    expect(await judge(forged, remembered(65), proof)).toMatchObject({ is: 'broken', why: expect.stringContaining('not signed') });
  });

  it('tells a record under another name', async () => {
    const before = { ...remembered(65), note: noteOf(65, vectors.roots['65'], 'elsewhere') };
    expect(await judge(offered, before, proof)).toMatchObject({ is: 'broken', why: expect.stringContaining('calls itself') });
  });

  it('fails, and does not conclude, when the server gives no proof', async () => {
    await expect(judge(offered, remembered(65), noProof)).rejects.toThrow('no proof');
  });
});

function remembered(size: 65 | 130): Remembered {
  return { key: offered.key, note: noteOf(size, vectors.roots[size]), at: new Date(0) };
}

/** A note with a signature line that nobody signed. */
function noteOf(size: number, root: string, origin = NAME): string {
  return `${origin}\n${size}\n${root}\n\n— ${NAME} ${textOf(new Uint8Array(68))}\n`;
}

function proof(from: number, to: number): Promise<string[]> {
  const found = vectors.proofs.find((one) => one.from === from && one.to === to);
  return found ? Promise.resolve(found.hashes) : noProof();
}

function noProof(): Promise<string[]> {
  return Promise.reject(new Error('no proof'));
}
