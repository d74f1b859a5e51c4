/** What can be done from the palette: screens and actions; a screen offers its own while it stands. */

import { untrack } from 'svelte';

export type Command = { name: string; hint: string; run: () => void; refusal?: string | null };

class Commands {
  #offers = $state.raw<Command[][]>([]);
  all = $derived(this.#offers.flat());

  /** Offers until the returned function is called. */
  offer(commands: Command[]): () => void {
    this.#set((offers) => [commands, ...offers]);
    return () => this.#set((offers) => offers.filter((other) => other !== commands));
  }

  /** Untracked, because effects call it: who offers does not depend on what is offered. */
  #set(change: (offers: Command[][]) => Command[][]): void {
    this.#offers = change(untrack(() => this.#offers));
  }
}

export const commands = new Commands();

/** Commands whose name holds every word that was typed. */
export function matching(all: Command[], typed: string): Command[] {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  return all.filter((command) => words.every((word) => command.name.toLowerCase().includes(word)));
}
