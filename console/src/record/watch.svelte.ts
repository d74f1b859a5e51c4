/** Watches the record for this browser: each checkpoint must hold what the last one held. */
import * as ledger from '../api/ledger';
import { inWords } from '../api/problem';
import { line } from '../live/line.svelte';
import type { Checkpoint } from './checkpoint';
import { judge } from './judge';
import { forget, recall, recallFork, remember, rememberFork, type Fork, type Memory } from './memory';

export type RecordState =
  | { is: 'asking' }
  | { is: 'unanswered'; why: string }
  | {
      is: 'holds';
      checkpoint: Checkpoint;
      from: Checkpoint | null;
      signature: 'checked' | 'unable';
      stored: boolean;
      at: Date;
    };

class Watch {
  state = $state<RecordState>({ is: 'asking' });
  fork = $state<Fork | null>(recallFork());
  last = $state<Memory | null>(recall());
  #busy = false;
  #checked = 0;
  #latest: string | null = null;

  /** Begins to watch; the returned function ends it. */
  begin(): () => void {
    void this.check();
    return line.hear({
      checkpoint: (note) => {
        this.#latest = note;
        if (Date.now() - this.#checked >= PAUSE) void this.check();
      },
      reopened: () => void this.check(),
    });
  }

  async check(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    try {
      const key = await ledger.key();
      const note = this.#latest ?? (await ledger.checkpoint());
      this.#latest = null;
      await this.#judge({ key, note });
    } catch (error) {
      this.state = { is: 'unanswered', why: inWords(error) };
    } finally {
      this.#busy = false;
      this.#checked = Date.now();
    }
  }

  /** Puts the evidence away and takes the next checkpoint as the first. */
  async forget(): Promise<void> {
    forget();
    this.fork = null;
    this.last = null;
    this.state = { is: 'asking' };
    await this.check();
  }

  async #judge(offered: { key: string; note: string }): Promise<void> {
    let proof: string | null = null;
    const remembered = this.last;
    const judgement = await judge(offered, remembered, async (from, to) => {
      const answer = await ledger.consistencyBetween(from, to);
      proof = answer.hashes.join('\n');
      return answer.hashes;
    });
    const at = new Date();
    if (judgement.is === 'broken') {
      const shownAgainst = remembered ?? { ...offered, at };
      this.fork ??= { why: judgement.why, at, remembered: shownAgainst, offered, proof };
      rememberFork(this.fork);
      return;
    }
    const memory = { ...offered, at };
    const stored = remember(memory);
    this.last = memory;
    const { checkpoint, from, signature } = judgement;
    this.state = { is: 'holds', checkpoint, from, signature, stored, at };
  }
}

/** Checkpoints come every second; each is checked against the last, but not more often than this. */
const PAUSE = 10_000;

export const watch = new Watch();
