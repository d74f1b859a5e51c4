//! Issuing certificates: intent stored, signed in custody, stored, and only then answered.

use std::time::Duration;

use identity::certificate::ServerName;
use identity::issue::Intent;
use identity::{Certificate, DeviceId, Holder, PublicKey, Serial, Time};

use crate::centre::Centre;
use crate::custody::Custody;
use crate::problem::Problem;
use crate::store::{Connection, Store, StoreError, params};

/// How long a device's certificate is valid.
const DEVICE_VALIDITY: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long a server's certificate is valid; servers renew by themselves.
const SERVER_VALIDITY: Duration = Duration::from_secs(90 * 24 * 3600);
/// How far into the past a certificate begins, for devices whose clocks are behind.
const BACKDATING: Duration = Duration::from_secs(3600);

/// Draws a serial number and says what shall be certified for a device.
pub(super) fn device_intent(
    centre: &Centre,
    id: &DeviceId,
    key: &PublicKey,
    now: Time,
) -> Result<Intent, Problem> {
    let (not_before, not_after) = validity(centre, now, DEVICE_VALIDITY);
    Ok(Intent {
        serial: Serial::from_random(centre.random()?),
        holder: Holder::Device(id.clone()),
        common_name: id.to_string(),
        key: key.clone(),
        not_before,
        not_after,
    })
}

/// From when until when a certificate is valid: never longer than the authority that issues it.
fn validity(centre: &Centre, now: Time, span: Duration) -> (Time, Time) {
    let not_before = now.minus(BACKDATING).whole_seconds().max(centre.issuing.not_before());
    let not_after = now.plus(span).whole_seconds().min(centre.issuing.not_after());
    (not_before, not_after)
}

/// Stores an intent.
pub(super) async fn store_intent(
    c: &mut Connection<'_>,
    id: &DeviceId,
    intent: &Intent,
    now: Time,
) -> Result<(), StoreError> {
    let bytes = minicbor::to_vec(intent).map_err(|_| StoreError::Unreadable("an intent"))?;
    c.execute(
        "insert into certificate (serial, device, state, intent, key_digest, not_before, not_after, created) \
         values ($1, $2, 'intended', $3, $4, $5, $6, $7)",
        params![
            intent.serial,
            id,
            bytes,
            intent.key.digest().to_vec(),
            intent.not_before,
            intent.not_after,
            now
        ],
    )
    .await?;
    Ok(())
}

/// Has an intent signed.
pub(super) async fn sign(custody: &Custody, intent: Intent) -> Result<Certificate, Problem> {
    let serial = intent.serial;
    let der = custody.issue(intent).await?;
    let certificate = Certificate::parse(&der).map_err(|e| Problem::internal(&e))?;
    if certificate.serial() != serial {
        return Err(Problem::internal(&"custody signed something else than was asked"));
    }
    Ok(certificate)
}

/// Stores a signed certificate beside its intent; says whether the intent was still open.
pub(super) async fn store_certificate(
    c: &mut Connection<'_>,
    certificate: &Certificate,
) -> Result<bool, StoreError> {
    let sql = "update certificate set state = 'issued', der = $1, fingerprint = $2 \
               where serial = $3 and state = 'intended'";
    let params = params![certificate.der(), certificate.fingerprint(), certificate.serial()];
    Ok(c.execute(sql, params).await? == 1)
}

/// After a crash: intents that were never answered are closed, so that what custody may have
/// signed for them never counts.
pub(crate) async fn finish_intents(store: &Store) -> Result<u64, StoreError> {
    let mut write = store.write().await?;
    let sql = "update certificate set state = 'abandoned' where state = 'intended'";
    let n = write.connection().execute(sql, params![]).await?;
    write.commit().await?;
    Ok(n)
}

/// Has a certificate made for one of our servers, and gives its chain.
pub(crate) async fn server_certificate(
    centre: &Centre,
    names: &[ServerName],
    key: PublicKey,
) -> Result<Vec<Vec<u8>>, Problem> {
    let first = names.first().ok_or_else(|| Problem::internal(&"a server without a name"))?;
    let (not_before, not_after) = validity(centre, centre.now(), SERVER_VALIDITY);
    let intent = Intent {
        serial: Serial::from_random(centre.random()?),
        holder: Holder::Server(names.to_vec()),
        common_name: first.to_string().chars().take(identity::name::MAX_LEN).collect(),
        key,
        not_before,
        not_after,
    };
    let leaf = centre.custody.issue(intent).await?;
    Ok(vec![leaf, centre.authorities.issuing.to_vec(), centre.authorities.root.to_vec()])
}
