/** Where we are: the address bar is the only place that says which screen stands and how it is filtered. */
import { tick } from 'svelte';

export type Place =
  | { screen: 'welcome' }
  | { screen: 'sign-in' }
  | { screen: 'fleet' }
  | { screen: 'device'; id: string }
  | { screen: 'events' }
  | { screen: 'decision'; id: string }
  | { screen: 'policy' }
  | { screen: 'settings' }
  | { screen: 'nowhere'; path: string };

/** Reads a path as a place. */
export function placeOf(path: string): Place {
  const parts = path.split('/').filter((part) => part !== '');
  const [first, second] = parts;
  if (parts.length === 0) return { screen: 'fleet' };
  if (parts.length === 2 && second !== undefined) {
    const id = decoded(second);
    if (id !== null && first === 'devices') return { screen: 'device', id };
    if (id !== null && first === 'decisions') return { screen: 'decision', id };
  }
  if (parts.length === 1) {
    const plain = PLAIN.find((name) => name === first);
    if (plain) return { screen: plain };
  }
  return { screen: 'nowhere', path };
}

class Route {
  path = $state(location.pathname);
  search = $state(location.search);
  place = $derived(placeOf(this.path));
  query = $derived(new URLSearchParams(this.search));

  constructor() {
    addEventListener('popstate', (event) => {
      this.#read();
      void this.#restore(scrollIn(event.state));
    });
    history.scrollRestoration = 'manual';
  }

  /** Goes to an address of this console. */
  go(to: string, how: 'push' | 'replace' = 'push'): void {
    if (how === 'push') {
      history.replaceState({ scroll: scrollY }, '');
      history.pushState(null, '', to);
      this.#read();
      void this.#arrive();
    } else {
      history.replaceState(history.state, '', to);
      this.#read();
    }
  }

  /** Changes some of the query and stays on the screen; null takes a key out. */
  narrow(changes: Record<string, string | null>): void {
    const query = new URLSearchParams(this.search);
    for (const [key, value] of Object.entries(changes)) {
      if (value === null || value === '') query.delete(key);
      else query.set(key, value);
    }
    const text = query.toString();
    this.go(text === '' ? this.path : `${this.path}?${text}`, 'replace');
  }

  #read(): void {
    this.path = location.pathname;
    this.search = location.search;
  }

  async #arrive(): Promise<void> {
    await tick();
    scrollTo(0, 0);
    document.querySelector<HTMLElement>('h1[tabindex]')?.focus({ preventScroll: true });
  }

  async #restore(scroll: number): Promise<void> {
    await tick();
    requestAnimationFrame(() => scrollTo(0, scroll));
  }
}

/** Takes clicks on our own links, so that the page is not loaded anew. */
export function takeLinks(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = event.target instanceof Element ? event.target.closest('a') : null;
  if (!link || link.target !== '' || link.hasAttribute('download') || link.origin !== location.origin) return;
  if (link.pathname.startsWith('/v1/')) return;
  event.preventDefault();
  route.go(link.pathname + link.search + link.hash);
}

export const deviceLink = (id: string): string => `/devices/${encodeURIComponent(id)}`;
export const decisionLink = (id: string): string => `/decisions/${encodeURIComponent(id)}`;

function decoded(part: string): string | null {
  try {
    return decodeURIComponent(part);
  } catch {
    return null;
  }
}

function scrollIn(state: unknown): number {
  const scroll = typeof state === 'object' && state !== null && 'scroll' in state ? state.scroll : 0;
  return typeof scroll === 'number' ? scroll : 0;
}

const PLAIN = ['welcome', 'sign-in', 'fleet', 'events', 'policy', 'settings'] as const;

export const route = new Route();
