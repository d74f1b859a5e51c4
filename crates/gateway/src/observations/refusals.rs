//! Peers that were turned away, folded by cause.

use std::collections::HashMap;
use std::net::SocketAddr;

use identity::{Fingerprint, Time};
use messaging::time::Instant;
use policy::{Observation, Refusal};

use super::Pace;
use crate::tls::Refused;

/// Refusals that are being counted.
#[derive(Default)]
pub(crate) struct Refusals {
    by_cause: HashMap<(Refusal, Option<Fingerprint>), Tally>,
}

struct Tally {
    peer: SocketAddr,
    fingerprint: Option<Fingerprint>,
    count: u64,
    at: Time,
    pace: Pace,
}

impl Refusals {
    /// Counts a peer that was turned away.
    pub(crate) fn count(&mut self, refused: Refused, peer: SocketAddr, at: (Time, Instant)) {
        let Refused { why, fingerprint } = refused;
        // Certificates that were verified are few; of those that strangers make, there is no end.
        let apart = fingerprint.filter(|_| is_verified(why) && self.by_cause.len() < MAX_APART);
        let tally = self.by_cause.entry((why, apart)).or_insert_with(|| Tally {
            peer,
            fingerprint,
            count: 0,
            at: at.0,
            pace: Pace::start(at.1),
        });
        tally.count = tally.count.saturating_add(1);
        (tally.peer, tally.fingerprint, tally.at) = (peer, fingerprint.or(tally.fingerprint), at.0);
    }

    /// Gives what is due to be reported; `all` gives everything.
    pub(crate) fn take_due(&mut self, now: Instant, all: bool, mut take: impl FnMut(Observation)) {
        self.by_cause.retain(|(why, _), tally| {
            if !all && !tally.pace.is_due(now) {
                return true;
            }
            if tally.count == 0 {
                return false;
            }
            take(Observation::HandshakeRefused {
                why: *why,
                peer: tally.peer,
                fingerprint: tally.fingerprint,
                count: std::mem::take(&mut tally.count),
                at: tally.at,
            });
            tally.pace.step(now);
            true
        });
    }
}

/// Tells whether the certificate was issued here for certain.
fn is_verified(why: Refusal) -> bool {
    match why {
        Refusal::Revoked | Refusal::UnknownDevice | Refusal::NotActive => true,
        Refusal::NoCertificate
        | Refusal::Untrusted
        | Refusal::BadCertificate
        | Refusal::Expired
        | Refusal::NotTls
        | Refusal::Timeout
        | Refusal::Overloaded
        | Refusal::Other => false,
    }
}

/// How many certificates are counted apart.
const MAX_APART: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(millis: u64) -> (Time, Instant) {
        let elapsed = Duration::from_millis(millis);
        (Time::EPOCH.plus(elapsed), Instant::from_start(elapsed))
    }

    fn taken(refusals: &mut Refusals, millis: u64) -> Vec<(Refusal, u64)> {
        let mut taken = Vec::new();
        refusals.take_due(at(millis).1, false, |observation| {
            let Observation::HandshakeRefused { why, count, .. } = observation else { panic!() };
            taken.push((why, count));
        });
        taken
    }

    #[test]
    fn a_storm_of_strangers_is_one_observation_at_a_time() {
        let mut refusals = Refusals::default();
        let peer = "192.0.2.1:5000".parse().unwrap();
        for number in 0..5_000_u64 {
            let fingerprint = Some(Fingerprint::of_der(&number.to_be_bytes()));
            refusals.count(Refused { why: Refusal::Untrusted, fingerprint }, peer, at(number / 10));
        }
        assert_eq!(taken(&mut refusals, 500), [(Refusal::Untrusted, 5_000)]);
        refusals.count(Refused::because(Refusal::Untrusted), peer, at(600));
        assert_eq!(taken(&mut refusals, 1_499), []);
        assert_eq!(taken(&mut refusals, 1_500), [(Refusal::Untrusted, 1)]);
        assert_eq!(taken(&mut refusals, 3_500), []);
        assert!(refusals.by_cause.is_empty());
    }

    #[test]
    fn revoked_devices_are_told_apart() {
        let mut refusals = Refusals::default();
        let peer = "192.0.2.1:5000".parse().unwrap();
        for number in [1_u8, 2, 2] {
            let fingerprint = Some(Fingerprint::of_der(&[number]));
            refusals.count(Refused { why: Refusal::Revoked, fingerprint }, peer, at(0));
        }
        let mut counts = taken(&mut refusals, 0);
        counts.sort_unstable();
        assert_eq!(counts, [(Refusal::Revoked, 1), (Refusal::Revoked, 2)]);
    }
}
