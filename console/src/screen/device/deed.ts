/** What can be done to a device: what it will do, to how many, and how to undo it. */
import type { Device } from '../../api/device';

export const DEEDS = ['claim', 'quarantine', 'recover', 'revoke', 'retire'] as const;
export type Verb = (typeof DEEDS)[number];

export type Deed = {
  verb: Verb;
  label: string;
  title: string;
  /** What will happen, one sentence each. */
  will: string[];
  undo: string;
  /** Whether the device's name must be written. */
  dangerous: boolean;
  asksReason: boolean;
};

/** The deeds that make sense for a device as it is now. */
export function deedsFor(device: Device): Deed[] {
  const retired = device.stage === 'retired';
  const verbs = DEEDS.filter((verb) => {
    if (verb === 'recover') return device.quarantined !== null;
    if (verb === 'quarantine') return device.quarantined === null && !retired;
    if (verb === 'revoke') return device.certificate !== null && device.certificate.revoked === null;
    return !retired;
  });
  return verbs.map((verb) => deed(verb, device));
}

function deed(verb: Verb, device: Device): Deed {
  const name = device.title ?? device.id;
  const open = device.connection.state === 'connected';
  const session = open ? 'Its open session is closed within a second.' : 'It has no open session now.';
  switch (verb) {
    case 'claim':
      return {
        verb,
        label: 'New claim',
        title: `Make a new claim for ${name}`,
        will: [
          'One new claim is made and shown once. A claim made before stops working.',
          'The certificate that it has goes on working until the device enrols with the new claim.',
        ],
        undo: 'A claim that is not used expires by itself.',
        dangerous: false,
        asksReason: false,
      };
    case 'quarantine':
      return {
        verb,
        label: 'Quarantine',
        title: `Quarantine ${name}`,
        will: [
          'One device is cut off: all that it has open is decided again, and the policy denies what is in quarantine.',
          session,
          'Its certificate stays valid.',
        ],
        undo: 'Recover lets it back at once.',
        dangerous: true,
        asksReason: true,
      };
    case 'recover':
      return {
        verb,
        label: 'Recover',
        title: `Let ${name} out of quarantine`,
        will: ['One device may connect again, as far as the policy allows it.'],
        undo: 'Quarantine cuts it off again.',
        dangerous: false,
        asksReason: true,
      };
    case 'revoke':
      return {
        verb,
        label: 'Revoke',
        title: `Revoke the certificate of ${name}`,
        will: [
          'All certificates of one device are revoked, its next handshake is refused, and a claim not used yet ends.',
          session,
        ],
        undo: 'It cannot be undone. The device comes back only with a new claim and a new key.',
        dangerous: true,
        asksReason: true,
      };
    case 'retire':
      return {
        verb,
        label: 'Retire',
        title: `Retire ${name}`,
        will: ['One device leaves service for good; its certificates are revoked. Its time line stays.', session],
        undo: 'It cannot be undone. The same thing comes back only as another device.',
        dangerous: true,
        asksReason: true,
      };
  }
}
