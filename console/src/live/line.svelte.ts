/** The one live line to the server: whether it stands, since when not, and who hears what comes over it. */
import { listeners as callListeners } from '../api/call';
import { device, type Device } from '../api/device';
import { event, type Event } from '../api/event';
import { text } from '../api/door';
import { inWords } from '../api/problem';
import { EventReader, type Message } from '../api/sse';
import { waitBefore } from './backoff';

export type Hearing = {
  event?: (happened: Event) => void;
  device?: (changed: Device) => void;
  fleet?: () => void;
  checkpoint?: (note: string) => void;
  /** The line stands again after a gap, or too much came at once: what is shown may be old. */
  reopened?: () => void;
};

export type State =
  | { is: 'shut' }
  | { is: 'opening' }
  | { is: 'open'; since: Date }
  | { is: 'gone'; since: Date; nextTry: Date | null };

class Line {
  state = $state<State>({ is: 'shut' });
  /** An event that could not be read; the rest of the line goes on. */
  fault = $state<string | null>(null);
  #hearings = new Set<Hearing>();
  #stop: AbortController | null = null;
  #wake: (() => void) | null = null;

  open(): void {
    if (this.#stop) return;
    this.#stop = new AbortController();
    this.state = { is: 'opening' };
    void this.#keepOpen(this.#stop.signal);
  }

  shut(): void {
    this.#stop?.abort();
    this.#stop = null;
    this.state = { is: 'shut' };
  }

  /** Tries again now, rather than when the wait is over. */
  tryNow(): void {
    this.#wake?.();
  }

  /** Hears until the returned function is called. */
  hear(hearing: Hearing): () => void {
    this.#hearings.add(hearing);
    return () => this.#hearings.delete(hearing);
  }

  async #keepOpen(stop: AbortSignal): Promise<void> {
    let n_tries = 0;
    let wasOpen = false;
    while (!stop.aborted) {
      try {
        await this.#listen(stop, () => {
          n_tries = 0;
          this.state = { is: 'open', since: new Date() };
          if (wasOpen) this.#tell((hearing) => hearing.reopened?.());
          wasOpen = true;
        });
      } catch (error) {
        if (error instanceof SignedOut) {
          callListeners.signedOut();
          return;
        }
      }
      if (stop.aborted) return;
      const wait = waitBefore(n_tries++, Math.random());
      const since = this.state.is === 'gone' ? this.state.since : new Date();
      this.state = { is: 'gone', since, nextTry: new Date(Date.now() + wait) };
      await this.#rest(wait, stop);
    }
  }

  async #listen(stop: AbortSignal, opened: () => void): Promise<void> {
    const silence = new AbortController();
    const both = AbortSignal.any([stop, silence.signal]);
    let deadline = setTimeout(() => silence.abort(), SILENCE);
    try {
      const answer = await fetch('/v1/events/stream', {
        headers: { accept: 'text/event-stream' },
        credentials: 'same-origin',
        cache: 'no-store',
        signal: both,
      });
      if (answer.status === 401) throw new SignedOut();
      if (!answer.ok || !answer.body) throw new Error(`the live line answered with status ${answer.status}`);
      opened();
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      const events = new EventReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(deadline);
        deadline = setTimeout(() => silence.abort(), SILENCE);
        for (const message of events.handleChunk(value)) this.#handle(message);
      }
    } finally {
      clearTimeout(deadline);
    }
  }

  #handle(message: Message): void {
    try {
      this.#deliver(message);
      this.fault = null;
    } catch (error) {
      this.fault = inWords(error);
    }
  }

  #deliver(message: Message): void {
    if (message.event === 'lagged') return this.#tell((hearing) => hearing.reopened?.());
    if (message.event === 'fleet') return this.#tell((hearing) => hearing.fleet?.());
    if (message.event === 'event') {
      const happened = event(JSON.parse(message.data), 'event');
      return this.#tell((hearing) => hearing.event?.(happened));
    }
    if (message.event === 'device') {
      const changed = device(JSON.parse(message.data), 'device');
      return this.#tell((hearing) => hearing.device?.(changed));
    }
    if (message.event === 'checkpoint') {
      const note = text(JSON.parse(message.data), 'checkpoint');
      return this.#tell((hearing) => hearing.checkpoint?.(note));
    }
  }

  #tell(say: (hearing: Hearing) => void): void {
    for (const hearing of [...this.#hearings]) say(hearing);
  }

  #rest(wait: number, stop: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#wake = null;
        stop.removeEventListener('abort', end);
        resolve();
      };
      const timer = setTimeout(end, wait);
      this.#wake = end;
      stop.addEventListener('abort', end);
    });
  }
}

class SignedOut extends Error {}

/** The server sends a comment at least every 30 s; twice that without a byte means that the line is dead. */
const SILENCE = 60_000;

export const line = new Line();
