/** Server-sent events, whole and in pieces. */
import { expect, it } from 'vitest';
import { EventReader } from './sse';

const STREAM = ': hello\n\nevent: event\ndata: {"a":1}\n\nevent: fleet\ndata:\n\nevent: fleet\n\ndata: one\r\ndata: two\r\n\r\n';
const EXPECTED = [
  { event: 'event', data: '{"a":1}' },
  { event: 'fleet', data: '' },
  { event: 'fleet', data: '' },
  { event: 'message', data: 'one\ntwo' },
];

it('reads a whole stream', () => {
  expect(new EventReader().handleChunk(STREAM)).toEqual(EXPECTED);
});

it('reads the same wherever the stream is cut', () => {
  for (let cut = 1; cut < STREAM.length; cut++) {
    const reader = new EventReader();
    const messages = [...reader.handleChunk(STREAM.slice(0, cut)), ...reader.handleChunk(STREAM.slice(cut))];
    expect(messages, `cut at ${cut}`).toEqual(EXPECTED);
  }
});

it('gives nothing for comments and for what is not finished', () => {
  expect(new EventReader().handleChunk(':\n\n:\n\nevent: device\ndata: half')).toEqual([]);
});

it('refuses a line without end', () => {
  const reader = new EventReader();
  expect(() => reader.handleChunk('x'.repeat(5 * 1024 * 1024))).toThrow('longer than any event');
});
