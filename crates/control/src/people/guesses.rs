//! A bound on guessing and asking: how many sign-ins and requests one network may try, and how many
//! passwords are hashed at once.

use std::net::IpAddr;
use std::num::NonZeroU32;

use governor::{DefaultKeyedRateLimiter, Quota};
use policy::Network;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::problem::Problem;

/// Bounds on what strangers may try.
pub(crate) struct Guesses {
    sign_ins: DefaultKeyedRateLimiter<Network>,
    claims: DefaultKeyedRateLimiter<Network>,
    requests: DefaultKeyedRateLimiter<Network>,
    hashing: Semaphore,
}

/// Sign-ins that one address may try a minute, after a burst of as many.
const SIGN_INS_A_MINUTE: NonZeroU32 = NonZeroU32::new(20).expect("20 is not zero");
/// Refused claims that one address may try a minute, after a burst of as many.
const CLAIMS_A_MINUTE: NonZeroU32 = NonZeroU32::new(60).expect("60 is not zero");
/// Requests that one address may send a second, and how many at once after a rest.
const REQUESTS_A_SECOND: NonZeroU32 = NonZeroU32::new(100).expect("100 is not zero");
const REQUESTS_AT_ONCE: NonZeroU32 = NonZeroU32::new(1000).expect("1000 is not zero");
/// Passwords hashed at once: each takes 19 MiB and a core.
const HASHING: usize = 2;

impl Guesses {
    /// Begins with nothing tried.
    pub(crate) fn new() -> Self {
        Self {
            sign_ins: DefaultKeyedRateLimiter::keyed(Quota::per_minute(SIGN_INS_A_MINUTE)),
            claims: DefaultKeyedRateLimiter::keyed(Quota::per_minute(CLAIMS_A_MINUTE)),
            requests: DefaultKeyedRateLimiter::keyed(
                Quota::per_second(REQUESTS_A_SECOND).allow_burst(REQUESTS_AT_ONCE),
            ),
            hashing: Semaphore::new(HASHING),
        }
    }

    /// Counts a request from an address.
    ///
    /// This machine's own are not counted: a proxy in front speaks for everybody.
    pub(crate) fn request(&self, from: IpAddr) -> Result<(), Problem> {
        let from = Network::of(from);
        if from.is_loopback() {
            return Ok(());
        }
        let slow = |_| Problem::too_many("too many requests from this address; slow down");
        self.requests.check_key(&from).map_err(slow)
    }

    /// Counts a sign-in from an address.
    pub(crate) fn sign_in(&self, from: IpAddr) -> Result<(), Problem> {
        let slow = |_| Problem::too_many("too many sign-ins from this address; wait a minute");
        self.sign_ins.check_key(&Network::of(from)).map_err(slow)
    }

    /// Counts a claim that was refused, from an address.
    pub(crate) fn refused_claim(&self, from: IpAddr) -> Result<(), Problem> {
        let slow =
            |_| Problem::too_many("too many refused claims from this address; wait a minute");
        self.claims.check_key(&Network::of(from)).map_err(slow)
    }

    /// Waits for a turn to hash a password.
    pub(crate) async fn hashing(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.hashing.acquire().await.map_err(|error| Problem::internal(&error))
    }

    /// Forgets addresses that have been quiet.
    pub(crate) fn tidy(&self) {
        self.sign_ins.retain_recent();
        self.claims.retain_recent();
        self.requests.retain_recent();
    }
}
