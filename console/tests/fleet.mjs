/**
 * A small fleet of real devices: added and enrolled by the command line, talking through mosquitto's clients. It gives
 * the screens something true to show. Needs PALISADE_BINARY and PALISADE_DATA, and mosquitto-clients.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const binary = process.env.PALISADE_BINARY ?? null;
const data = process.env.PALISADE_DATA ?? null;

// The tests' own settings are none of the program's.
const env = { PATH: process.env.PATH, HOME: process.env.HOME };

const DEVICES = [
  ['boiler-1', 'boiler', 'plant-a', 'Boiler, hall 1'],
  ['press-2', 'press', 'plant-a', 'Hydraulic press 2'],
  ['press-3', 'press', 'plant-a', 'Hydraulic press 3'],
  ['cam-gate', 'camera', 'yard', 'Camera at the gate'],
  ['cam-dock', 'camera', 'yard', 'Camera at the dock'],
  ['meter-11', 'meter', 'yard', 'Power meter 11'],
  ['historian', 'application', 'plant-a', 'Historian'],
];

/** Whether there is a command line to fill the fleet with. */
export const canFill = binary !== null && data !== null;

/** Fills the fleet; answers a function that ends what it started. */
export async function fill(url) {
  const folder = mkdtempSync(path.join(tmpdir(), 'palisade-fleet-'));
  const palisade = (...words) => execFileSync(binary, ['--data', data, ...words], { encoding: 'utf8', env, stdio: ['ignore', 'pipe', 'ignore'] });
  for (const [id, kind, zone, title] of DEVICES) {
    const claim = path.join(folder, `${id}.claim`);
    writeFileSync(claim, palisade('device', 'add', id, '--kind', kind, '--zone', zone, '--title', title));
    if (id !== 'press-3') palisade('enroll', '--server', url, '--claim', claim, '--out', path.join(folder, id));
  }
  const client = (id) => {
    const [host, port] = readFileSync(path.join(folder, id, 'broker.txt'), 'utf8').trim().split(':');
    const file = (name) => path.join(folder, id, name);
    return ['-h', host, '-p', port, '--cafile', file('ca.crt'), '--cert', file('device.crt'), '--key', file('device.key'), '-i', id, '-V', '5'];
  };
  const publish = (id, topic, text) => spawnSync('mosquitto_pub', [...client(id), '-q', '1', '-t', topic, '-m', text], { stdio: 'ignore' });
  const listen = (id, topic) => spawn('mosquitto_sub', [...client(id), '-t', topic], { stdio: 'ignore' });
  const listeners = [
    listen('historian', 'main/+/+/telemetry/#'),
    listen('boiler-1', 'main/boiler/boiler-1/command/#'),
    listen('press-2', 'main/press/press-2/command/#'),
    listen('meter-11', 'main/meter/meter-11/command/#'),
  ];
  publish('cam-dock', 'main/camera/cam-dock/telemetry/frames', '25');
  publish('cam-gate', 'main/camera/cam-dock/telemetry/frames', '0');
  publish('cam-gate', 'main/press/press-2/command/stop', 'now');
  palisade('device', 'quarantine', 'cam-gate', '--reason', 'it tried to stop press-2');
  palisade('device', 'revoke', 'cam-dock', '--reason', 'stolen from the dock');
  await connected(palisade, listeners.length);
  return () => {
    for (const listener of listeners) listener.kill();
    rmSync(folder, { recursive: true });
  };
}

async function connected(palisade, count) {
  for (let tries = 0; tries < 100; tries += 1) {
    const lines = palisade('device', 'list', '--json').split('\n');
    if (lines.filter((line) => /"state": ?"connected"/.test(line)).length >= count) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error('the fleet did not connect');
}
