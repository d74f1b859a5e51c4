/** What the screens conclude and write: filters, exports, commands, deeds, labels, remedies. */
import { describe, expect, it } from 'vitest';
import { device, type Device } from '../api/device';
import { event, type Event } from '../api/event';
import { pieces } from '../part/cedar';
import { pieces as sentencePieces } from '../part/sentence';
import { waitBefore } from '../live/backoff';
import { refusalFor } from '../api/session';
import { deedsFor } from './device/deed';
import { labelsOf, linesOf } from './device/labels';
import { merged } from './events/timeline.svelte';
import { enrolCommand, publishCommand, topicFor } from './fleet/commands';
import { condition } from './fleet/condition';
import { csvRow } from './fleet/csv';
import { filterOf, narrows, nextOrder } from './fleet/filter';
import { needOf, type Need } from './fleet/need';
import { linesWithProblems, lineSpan } from './policy/draft';

const AT = '2026-11-21T03:12:09Z';

describe('a condition', () => {
  it('is never good where nothing is known', () => {
    expect(condition(pump({ posture: { epoch: 1, facts: [] } })).state).toBe('unknown');
    expect(condition(pump({ stage: 'claimed' })).state).toBe('unknown');
    expect(condition(pump({ stage: 'retired' })).state).toBe('unknown');
    expect(condition(pump({})).state).toBe('good');
  });

  it('is as bad as the worst that is known', () => {
    const attention = [
      { code: 'a', severity: 'amber', text: 'a little', since: AT },
      { code: 'b', severity: 'red', text: 'it is much; do something', since: AT },
    ];
    expect(condition(pump({ attention }))).toMatchObject({ state: 'red', words: 'It is much' });
  });
});

describe('a filter', () => {
  it('keeps only words that the server knows', () => {
    const filter = filterOf(new URLSearchParams('q=pump&stage=unborn&connection=away&add=1&sort=drop'));
    expect(filter).toEqual({ q: 'pump', connection: 'away' });
    expect(narrows(filter)).toBe(true);
    expect(narrows({ sort: 'id', order: 'asc' })).toBe(false);
  });

  it('turns an order, then lets it go', () => {
    expect(nextOrder({}, 'id')).toEqual({ sort: 'id', order: 'asc' });
    expect(nextOrder({ sort: 'id', order: 'asc' }, 'id')).toEqual({ sort: null, order: null });
    expect(nextOrder({ sort: 'seen', order: 'desc' }, 'seen')).toEqual({ sort: 'seen', order: 'asc' });
    expect(nextOrder({ sort: 'seen', order: 'asc' }, 'seen')).toEqual({ sort: null, order: null });
    expect(nextOrder({ sort: 'id', order: 'asc' }, 'seen')).toEqual({ sort: 'seen', order: 'desc' });
  });
});

describe('a need', () => {
  const need = (text: string): Need => needOf({ code: 'c', severity: 'red', text, since: new Date(0) });

  it('is cut into why and what to do', () => {
    expect(need('it is cut off (a; b); find out why')).toEqual({ why: 'it is cut off (a; b)', todo: 'Find out why.' });
    expect(need('something').todo).toContain('time line');
  });

});

it('a sentence is cut at decisions and at values between backticks', () => {
  expect(sentencePieces('ask `a b` with d-0123456789abcdef now').map(({ as }) => as)).toEqual([
    'words',
    'value',
    'words',
    'decision',
    'words',
  ]);
  expect(sentencePieces('d-short and-0123456789abcdef, one ` alone')).toHaveLength(1);
});

it('an export quotes what must be quoted and disarms formulas', () => {
  const row = csvRow(pump({ title: '=cmd("x"),1', owner: '-2' }));
  expect(row).toContain(`"'=cmd(""x""),1"`);
  expect(row).toContain(`,'-2,`);
});

describe('commands', () => {
  const namespaces = [{ name: 'telemetry', template: '{site}/{kind}/{device}/telemetry/#' }];

  it('bring a device in', () => {
    expect(enrolCommand('https://h:8443', 'C', 'pump-7')).toBe('palisade enroll --server https://h:8443 --claim C --out pump-7');
    expect(publishCommand('h:8883', pump({}), namespaces)).toContain('-h h -p 8883 --tls-version tlsv1.3 --cafile pump-7/ca.crt');
    expect(publishCommand('[::1]:8883', pump({}), namespaces)).toContain('-h ::1 -p 8883');
  });

  it('publish to a topic that the namespace gives the device', () => {
    expect(topicFor(pump({}), namespaces)).toBe('home/pump/pump-7/telemetry/temperature');
    expect(topicFor(pump({}), [{ name: 'x', template: 'v1/{device}/+/{other}' }])).toBe('v1/pump-7/x/x');
  });
});

describe('deeds', () => {
  it('are those that make sense', () => {
    expect(verbs(pump({}))).toEqual(['claim', 'quarantine', 'revoke', 'retire']);
    expect(verbs(pump({ quarantined: { since: AT, reason: 'r', by: 'b' } }))).toEqual(['claim', 'recover', 'revoke', 'retire']);
    expect(verbs(pump({ stage: 'retired' }))).toEqual(['revoke']);
    expect(verbs(pump({ certificate: null }))).toEqual(['claim', 'quarantine', 'retire']);
  });

  it('ask for the name where they cut something off', () => {
    const dangerous = deedsFor(pump({})).filter((deed) => deed.dangerous);
    expect(dangerous.map(({ verb }) => verb)).toEqual(['quarantine', 'revoke', 'retire']);
    expect(deedsFor(pump({})).every((deed) => deed.undo !== '' && deed.will.length > 0)).toBe(true);
  });
});

describe('labels', () => {
  it('survive being written as lines', () => {
    const labels = new Map([
      ['line', '4'],
      ['note', 'a=b'],
    ]);
    expect(labelsOf(linesOf(labels))).toEqual({ line: '4', note: 'a=b' });
  });

  it('that are none are told by their line', () => {
    expect(labelsOf('a=1\n\nnonsense')).toEqual({ wrongLine: 3 });
  });
});

it('events are merged newest first, and the newer count holds', () => {
  const list = merged([happened(1, 1), happened(3, 1)], [happened(3, 312), happened(4, 1)]);
  expect(list.map(({ index }) => index)).toEqual([4, 3, 1]);
  expect(list[1]?.count).toBe(312);
});

it('cedar is cut into pieces that make the same text', () => {
  const source = '// a "quote"\n@id("x")\npermit (principal == Device::"a\\"b", action, resource) when { true };';
  const cut = pieces(source);
  expect(cut.map(({ text }) => text).join('')).toBe(source);
  expect(cut[0]).toEqual({ text: '// a "quote"', as: 'comment' });
  expect(cut).toContainEqual({ text: '"a\\"b"', as: 'text' });
  expect(cut).toContainEqual({ text: 'permit', as: 'word' });
});

it('problems of a policy are found at their lines', () => {
  expect(linesWithProblems([{ line: 4, column: 1, text: '' }, { line: null, column: null, text: '' }])).toEqual(new Set([4]));
  expect(lineSpan('ab\ncde\n', 2)).toEqual({ start: 3, end: 6 });
  expect(lineSpan('ab', 9)).toEqual({ start: 0, end: 2 });
});

it('waits double, up to thirty seconds', () => {
  expect([0, 1, 2, 3, 4, 5, 99].map((n) => waitBefore(n, 1))).toEqual([1000, 2000, 4000, 8000, 16000, 30000, 30000]);
  expect(waitBefore(0, 0)).toBe(500);
});

it('a role is told what it lacks', () => {
  expect(refusalFor('viewer', 'operator')).toBe('You are signed in as a viewer; this needs an operator.');
  expect(refusalFor('administrator', 'operator')).toBeNull();
});

function verbs(of: Device): string[] {
  return deedsFor(of).map(({ verb }) => verb);
}

function pump(change: object): Device {
  const plain = {
    id: 'pump-7',
    kind: 'pump',
    zone: 'plant-a',
    site: 'home',
    labels: {},
    stage: 'active',
    posture: { epoch: 1, facts: [{ name: 'certificate', value: 'valid', source: 'control', since: AT }] },
    connection: { state: 'away' },
    certificate: { fingerprint: 'f', serial: '1', subject: 's', issuer: 'i', not_before: AT, not_after: AT },
    attention: [],
    created: AT,
    changed: AT,
  };
  return device({ ...plain, ...change }, 'device');
}

function happened(index: number, count: number): Event {
  return event({ index, at: AT, kind: 'k', actor: { type: 'system', name: 's' }, count, text: 't', details: {} }, 'event');
}
