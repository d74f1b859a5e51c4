/** The fleet's live table: rows by their place in the list, fetched in pages, forgotten when far away, updated where they stand. */
import { SvelteMap } from 'svelte/reactivity';
import { find, type Device, type Filter } from '../../api/device';
import { inWords, wasGivenUp } from '../../api/problem';
import { pagesOf, pagesToForget, type Range } from '../../window/rows';

export const PAGE = 100;

class List {
  total = $state<number | null>(null);
  trouble = $state<string | null>(null);
  /** True while what is shown belongs to the filter before. */
  stale = $state(false);
  /** Devices that were added since the list was asked for. */
  fresh = $state<string[]>([]);
  #pages = new SvelteMap<number, Device[]>();
  #asked = new Map<number, AbortController>();
  #filter: Filter = {};
  #key: string | null = null;
  #wanted: number[] = [0];
  #changed = new Map<string, Device>();
  #pause = 0;

  row(idx: number): Device | undefined {
    return this.#pages.get(Math.floor(idx / PAGE))?.[idx % PAGE];
  }

  /** Sets the filter; true where it is another than before. */
  apply(filter: Filter): boolean {
    const key = JSON.stringify(Object.entries(filter).sort());
    if (key === this.#key) return false;
    this.#key = key;
    this.#filter = filter;
    this.#wanted = withFirst(this.#wanted);
    this.reload();
    return true;
  }

  /** Asks anew for all that is in view; what stands stays until the answer is there. */
  reload(): void {
    for (const asked of this.#asked.values()) asked.abort();
    this.#asked.clear();
    this.stale = true;
    this.fresh = [];
    for (const page of this.#wanted) void this.#ask(page);
  }

  /** Asks for what these rows need, after the scrolling has paused. */
  show(range: Range): void {
    // Before the first answer no row is in view; the first page is wanted all the same.
    this.#wanted = this.stale ? withFirst(pagesOf(range, PAGE)) : pagesOf(range, PAGE);
    for (const [page, asked] of this.#asked) {
      if (!this.#wanted.includes(page)) {
        asked.abort();
        this.#asked.delete(page);
      }
    }
    clearTimeout(this.#pause);
    const missing = this.#missing();
    if (missing.length > 0) this.#pause = window.setTimeout(() => this.#missing().forEach((page) => void this.#ask(page)), 60);
  }

  handleDevice(device: Device): void {
    if (this.#changed.size === 0) requestAnimationFrame(() => this.#settle());
    this.#changed.set(device.id, device);
  }

  handleAdded(device: Device): void {
    if (this.stale || this.fresh.includes(device.id) || this.#placeOf(device.id)) return;
    if (fits(device, this.#filter)) this.fresh = [...this.fresh, device.id];
  }

  #missing(): number[] {
    return this.#wanted.filter((page) => !this.#pages.has(page) && !this.#asked.has(page));
  }

  async #ask(page: number): Promise<void> {
    const stop = new AbortController();
    this.#asked.set(page, stop);
    try {
      const found = await find(this.#filter, { skip: page * PAGE, limit: PAGE }, stop.signal);
      if (stop.signal.aborted) return;
      if (this.stale) this.#pages.clear();
      this.stale = false;
      this.trouble = null;
      this.total = found.total;
      this.#pages.set(page, found.items);
      for (const far of pagesToForget([...this.#pages.keys()], this.#wanted, KEEP)) this.#pages.delete(far);
    } catch (error) {
      if (!wasGivenUp(error)) this.trouble = inWords(error);
    } finally {
      if (this.#asked.get(page) === stop) this.#asked.delete(page);
    }
  }

  #settle(): void {
    const changed = [...this.#changed.values()];
    this.#changed.clear();
    for (const device of changed) {
      const place = this.#placeOf(device.id);
      const rows = place && this.#pages.get(place.page);
      if (place && rows) this.#pages.set(place.page, rows.with(place.idx, device));
    }
  }

  #placeOf(id: string): { page: number; idx: number } | null {
    for (const [page, rows] of this.#pages) {
      const idx = rows.findIndex((row) => row.id === id);
      if (idx >= 0) return { page, idx };
    }
    return null;
  }
}

/** Whether a new device belongs under the filter, as far as can be told without asking. */
export function fits(device: Device, filter: Filter): boolean {
  const wants = (wanted: string | undefined, is: string): boolean => wanted === undefined || wanted === is;
  const q = filter.q?.toLowerCase();
  const named = q === undefined || [device.id, device.title ?? ''].some((name) => name.toLowerCase().includes(q));
  const attention =
    filter.attention === undefined ||
    device.attention.some(({ severity }) => filter.attention === 'any' || severity === filter.attention);
  return (
    named &&
    attention &&
    wants(filter.kind, device.kind) &&
    wants(filter.zone, device.zone) &&
    wants(filter.site, device.site) &&
    wants(filter.stage, device.stage) &&
    wants(filter.connection, device.connection.state)
  );
}

function withFirst(pages: number[]): number[] {
  return pages.includes(0) ? pages : [0, ...pages];
}

/** Pages kept at once: 2,000 devices. */
const KEEP = 20;

/** One list for as long as the page stands, so that coming back finds it as it was left. */
export const list = new List();
