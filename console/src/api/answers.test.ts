/** The answers of the API as the contract gives them, and each with something broken. */
import { describe, expect, it } from 'vitest';
import { device } from './device';
import { event } from './event';
import { explanation } from './explanation';
import { fleet } from './fleet';
import { session } from './session';
import { address } from './call';
import { inWords, parseRefusal } from './problem';

const pump = {
  id: 'pump-7',
  title: null,
  kind: 'pump',
  zone: 'plant-a',
  site: 'home',
  owner: null,
  labels: { line: '4' },
  stage: 'active',
  posture: { epoch: 12, facts: [{ name: 'certificate', value: true, source: 'control', since: '2026-11-21T03:12:09Z' }] },
  connection: { state: 'connected', since: '2026-11-21T03:12:09Z', peer: '10.0.0.1:5000', protocol: 'MQTT 5' },
  certificate: {
    fingerprint: 'ab',
    serial: '01',
    subject: 'CN=pump-7',
    issuer: 'CN=ca',
    not_before: '2026-11-21T03:12:09Z',
    not_after: '2027-11-21T03:12:09Z',
    revoked: null,
  },
  claim: { expires: '2026-11-22T03:12:09Z', used: null },
  attention: [{ code: 'denied', severity: 'amber', text: 'was denied', since: '2026-11-21T03:12:09Z' }],
  quarantined: null,
  created: '2026-11-21T03:12:09Z',
  changed: '2026-11-21T03:12:09Z',
};

describe('a device', () => {
  it('is read', () => {
    const read = device(pump, 'device');
    expect(read.posture.facts[0]?.value).toBe('true');
    expect(read.labels.get('line')).toBe('4');
    expect(read.certificate?.not_after.getUTCFullYear()).toBe(2027);
  });

  it('may lack all that is not known', () => {
    const { title: _title, owner: _owner, certificate: _c, claim: _d, quarantined: _q, ...known } = pump;
    expect(device(known, 'device').certificate).toBeNull();
  });

  it.each([
    [{ ...pump, stage: 'unborn' }, 'device.stage'],
    [{ ...pump, connection: { state: 'maybe' } }, 'device.connection.state'],
    [{ ...pump, attention: [{ ...pump.attention[0], severity: 'green' }] }, 'device.attention[0].severity'],
    [{ ...pump, certificate: { ...pump.certificate, not_after: 'soon' } }, 'device.certificate.not_after'],
    [{ ...pump, labels: { line: 4 } }, 'device.labels.line'],
    [{ ...pump, created: null }, 'device.created'],
  ])('with a broken field is an error that names it', (broken, place) => {
    expect(() => device(broken, 'device')).toThrow(`\`${place}\``);
  });
});

describe('other answers', () => {
  it('an event is read, with whatever details it has', () => {
    const read = event(
      {
        index: 5,
        at: '2026-11-21T03:12:09Z',
        kind: 'access.denied',
        actor: { type: 'device', name: 'pump-7' },
        subject: null,
        decision: 'd-1',
        count: 312,
        text: 'pump-7 was denied',
        details: { topic: 'a/b', n: 3 },
      },
      'event',
    );
    expect(read.details.get('n')).toBe(3);
  });

  it('an explanation without topic or decision is read', () => {
    const read = explanation(
      { effect: 'deny', cause: 'no', text: 'no', policies: [], namespace: null, binding: {}, device: 'd', action: 'connect', topic: null, epoch: { policy: 1, posture: 2 } },
      'why',
    );
    expect(read.decision).toBeNull();
  });

  it('a fleet with nothing in it is read', () => {
    const stages = { manufactured: 0, claimed: 0, active: 0, retired: 0 };
    const nothing = { total: 0, connected: 0, stages, attention: { red: 0, amber: 0 }, quarantined: 0, kinds: [], zones: [], sites: [] };
    expect(fleet({ ...nothing, policy_version: 1, checked: '2026-11-21T03:12:09Z' }, 'fleet').total).toBe(0);
  });

  it('a session of an unknown role is refused', () => {
    const answer = { operator: { name: 'a', role: 'god' }, expires: '2026-11-21T03:12:09Z', version: '0' };
    expect(() => session(answer, 'session')).toThrow('session.operator.role');
  });
});

describe('refusals', () => {
  it('say what the problem document says', () => {
    const refused = parseRefusal(409, '{"title":"Conflict","detail":"there is a device `pump-7` already","code":"exists"}');
    expect(inWords(refused)).toBe('There is a device `pump-7` already.');
    expect(refused.code).toBe('exists');
  });

  it('stay readable when the server says something else', () => {
    expect(inWords(parseRefusal(502, '<html>'))).toContain('status 502');
    expect(parseRefusal(401, '{}').signedOut).toBe(true);
  });
});

it('an address leaves out what is not asked', () => {
  expect(address('/v1/devices', { q: 'a b&c', kind: '', skip: 0, zone: null })).toBe('/v1/devices?q=a+b%26c&skip=0');
});
