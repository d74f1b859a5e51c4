//! Enrolment through the first door: a claim, a key, a certificate.
//!
//! The order loses nothing: the serial and intent are stored before anything is signed, and the
//! certificate is stored before it is given away. A claim used twice is refused, except with the
//! same key, which gets the same certificate again: the answer may have been lost on the way.

mod issue;
mod routes;

use std::time::Duration;

use identity::{Claim, DeviceId, Time};
use zeroize::Zeroizing;

use crate::centre::Centre;
use crate::problem::Problem;
use crate::store::{Connection, params};

pub(crate) use issue::{finish_intents, server_certificate};
pub(crate) use routes::{READS, routes};

/// How long a claim is good.
const CLAIM: Duration = Duration::from_secs(7 * 24 * 3600);

/// A claim that was just made; its text is shown once.
pub(crate) struct MadeClaim {
    pub(crate) text: Zeroizing<String>,
    pub(crate) expires: Time,
}

/// Makes a claim for a device; the ones before it end.
pub(crate) async fn make_claim(
    centre: &Centre,
    c: &mut Connection<'_>,
    id: &DeviceId,
    now: Time,
) -> Result<MadeClaim, Problem> {
    let claim = Claim::from_random(Zeroizing::new(centre.random()?), centre.root);
    let expires = now.plus(CLAIM);
    c.execute(
        "update claim set expires = $1 where device = $2 and used is null and expires > $1",
        params![now, id],
    )
    .await?;
    c.execute(
        "insert into claim (digest, device, created, expires) values ($1, $2, $3, $4)",
        params![claim.digest().0.to_vec(), id, now, expires],
    )
    .await?;
    Ok(MadeClaim { text: claim.text(), expires })
}
