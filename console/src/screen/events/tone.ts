/** Which events ask for a second look: what was cut off or refused is red or amber, the rest is plain. */
import type { State } from '../../part/state';

export function tone(kind: string): State | null {
  if (RED.has(kind)) return 'red';
  if (AMBER.has(kind)) return 'amber';
  if (GOOD.has(kind)) return 'good';
  return null;
}

const RED = new Set(['device.quarantined', 'device.revoked', 'custody.failed']);
const AMBER = new Set(['access.denied', 'claim.refused', 'operator.refused', 'operator.locked', 'handshake.refused', 'consumer.slow']);
const GOOD = new Set(['device.enrolled', 'device.connected', 'device.recovered']);
