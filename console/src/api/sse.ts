/** Reads a stream of server-sent events from chunks of text (WHATWG HTML §9.2.6). Does no I/O. */

export type Message = { event: string; data: string };

export class EventReader {
  #rest = '';
  #event = '';
  #data: string[] = [];

  /** Takes the next chunk; gives the messages that it completes. Comments give none, but show that the line lives. */
  handleChunk(chunk: string): Message[] {
    const text = this.#rest + chunk;
    const lines = text.split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? '';
    if (this.#rest.length > LONGEST_LINE) throw new Error('the live stream sent a line longer than any event');
    return lines.flatMap((line) => this.#handleLine(line));
  }

  #handleLine(line: string): Message[] {
    if (line === '') return this.#dispatch();
    if (line.startsWith(':')) return [];
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') this.#event = value;
    if (field === 'data') this.#data.push(value);
    return [];
  }

  #dispatch(): Message[] {
    const message = { event: this.#event === '' ? 'message' : this.#event, data: this.#data.join('\n') };
    const empty = this.#data.length === 0 && this.#event === '';
    this.#event = '';
    this.#data = [];
    return empty ? [] : [message];
  }
}

const LONGEST_LINE = 4 * 1024 * 1024;
