/** Who is signed in here. */
import { listeners } from '../api/call';
import { Refused, inWords } from '../api/problem';
import * as api from '../api/session';
import { line } from './line.svelte';

export type Standing =
  | { is: 'asking' }
  | { is: 'out'; ended: boolean }
  | { is: 'in'; session: api.Session }
  | { is: 'unknown'; why: string };

class Who {
  standing = $state<Standing>({ is: 'asking' });

  constructor() {
    listeners.signedOut = () => this.#ended();
  }

  get session(): api.Session | null {
    return this.standing.is === 'in' ? this.standing.session : null;
  }

  async ask(): Promise<void> {
    try {
      this.begin(await api.current());
    } catch (error) {
      if (error instanceof Refused && error.signedOut) this.standing = { is: 'out', ended: false };
      else this.standing = { is: 'unknown', why: inWords(error) };
    }
  }

  begin(session: api.Session): void {
    this.standing = { is: 'in', session };
    line.open();
  }

  async leave(): Promise<void> {
    line.shut();
    await api.signOut().catch(() => undefined);
    this.standing = { is: 'out', ended: false };
  }

  /** Null where the person may do what needs this role, else the reason why not. */
  refusal(needed: api.Role): string | null {
    const session = this.session;
    return session ? api.refusalFor(session.operator.role, needed) : 'You are not signed in.';
  }

  #ended(): void {
    line.shut();
    this.standing = { is: 'out', ended: true };
  }
}

export const who = new Who();
