/** A list of events, newest first: older pages as they are asked for, new ones gathered until they are called in. */
import type { Event, Events } from '../../api/event';
import { inWords, wasGivenUp } from '../../api/problem';

export type Source = (before: string | null, limit: number, signal: AbortSignal) => Promise<Events>;

export class Timeline {
  events = $state.raw<Event[]>([]);
  fresh = $state.raw<Event[]>([]);
  busy = $state(false);
  done = $state(false);
  trouble = $state<string | null>(null);
  #before: string | null = null;
  #stop = new AbortController();

  constructor(
    private readonly source: Source,
    private readonly fits: (event: Event) => boolean,
  ) {}

  /** Loads the next older page. */
  async older(): Promise<void> {
    if (this.busy || this.done) return;
    this.busy = true;
    try {
      const page = await this.source(this.#before, PAGE, this.#stop.signal);
      this.events = merged(this.events, page.items);
      this.#before = page.next;
      this.done = page.next === null;
      this.trouble = null;
    } catch (error) {
      if (!wasGivenUp(error)) this.trouble = inWords(error);
    } finally {
      this.busy = false;
    }
  }

  /** Takes what just happened: a repeat of an event that is shown counts up where it stands, another waits. */
  handleEvent(event: Event): void {
    if (!this.fits(event)) return;
    if (this.events.some((shown) => shown.index === event.index)) this.events = merged(this.events, [event]);
    else this.fresh = merged(this.fresh, [event]);
  }

  showFresh(): void {
    this.events = merged(this.events, this.fresh);
    this.fresh = [];
  }

  /** Fills the gap after the live line was down. */
  async catchUp(): Promise<void> {
    try {
      const page = await this.source(null, PAGE, this.#stop.signal);
      const newest = this.events[0]?.index ?? -1;
      const oldest = page.items[page.items.length - 1]?.index ?? 0;
      if (page.next !== null && oldest > newest + 1) {
        this.events = [];
        this.fresh = [];
        this.#before = page.next;
        this.done = false;
        this.events = page.items;
        return;
      }
      page.items.forEach((event) => this.handleEvent(event));
    } catch (error) {
      if (!wasGivenUp(error)) this.trouble = inWords(error);
    }
  }

  end(): void {
    this.#stop.abort();
  }
}

/** Both lists as one, newest first; of two with one index the later counts. */
export function merged(older: Event[], newer: Event[]): Event[] {
  const byIndex = new Map([...older, ...newer].map((event) => [event.index, event]));
  return [...byIndex.values()].sort((a, b) => b.index - a.index);
}

const PAGE = 100;
