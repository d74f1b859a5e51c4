/** A device's condition in one mark and few words. Nothing known is unknown, never good. */
import { worst, type Device } from '../../api/device';
import { capital, needOf } from './need';
import type { State } from '../../part/state';

export type Condition = { state: State; words: string; why: string | null };

export function condition(device: Device): Condition {
  const attention = worst(device);
  if (device.quarantined) {
    return { state: 'red', words: 'Quarantined', why: device.quarantined.reason };
  }
  if (attention) {
    const { why } = needOf(attention);
    return { state: attention.severity, words: capital(why), why: attention.text };
  }
  if (device.stage === 'retired') return { state: 'unknown', words: 'Retired', why: null };
  if (device.stage === 'manufactured') return { state: 'unknown', words: 'Not enrolled yet', why: null };
  if (device.stage === 'claimed') return { state: 'unknown', words: 'Enrolled, not yet seen', why: null };
  if (device.posture.facts.length === 0) return { state: 'unknown', words: 'Unknown', why: null };
  return { state: 'good', words: 'Fine', why: null };
}

export function connection(device: Device): { state: State; words: string } {
  if (device.connection.state === 'connected') return { state: 'good', words: 'Connected' };
  return { state: 'unknown', words: device.connection.state === 'away' ? 'Away' : 'Never seen' };
}
