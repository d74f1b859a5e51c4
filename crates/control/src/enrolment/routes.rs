//! The door itself: a claim and a request come in, a certificate goes out.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use base64ct::{Base64, Encoding as _};
use identity::request::Request;
use identity::stage::Step;
use identity::{Certificate, Claim, DeviceId, PublicKey, Stage, Time};
use rustls::crypto::WebPkiSupportedAlgorithms;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::issue;
use crate::body::Json;
use crate::centre::Centre;
use crate::fuzz::{self, Read};
use crate::people::Address;
use crate::problem::Problem;
use crate::record::{Actor, Draft};
use crate::registry::device;
use crate::store::{Connection, params};

/// All routes of enrolment.
pub(crate) fn routes() -> OpenApiRouter<Arc<Centre>> {
    OpenApiRouter::new().routes(routes!(enrol)).routes(routes!(authority))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Enrolment {
    /// The claim's text.
    claim: String,
    /// PKCS#10 in DER, in base64.
    csr: String,
    /// How many events the last checkpoint has that the device remembers.
    record_size: Option<u64>,
}

#[derive(Serialize, ToSchema)]
struct Enrolled {
    device: String,
    /// The device's certificate, in PEM.
    certificate: String,
    /// The certificate and the issuing authority, in PEM.
    chain: String,
    /// The root authority, in PEM.
    root: String,
    /// Where to connect with MQTT.
    broker: String,
    not_after: String,
    /// The record's state, for the device to remember.
    record: Remember,
}

/// What a device remembers of the record, so that it cannot be shown another history later.
#[derive(Serialize, ToSchema)]
struct Remember {
    /// The key that checkpoints are signed with, as a verifier key of a signed note.
    key: String,
    /// The newest checkpoint, a signed note; none if nothing was signed yet.
    checkpoint: Option<String>,
    /// Hashes in base64 that prove that it continues what the device remembers.
    proof: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct AuthorityView {
    root: AuthorityCertificate,
    issuing: AuthorityCertificate,
    broker: String,
}

#[derive(Serialize, ToSchema)]
struct AuthorityCertificate {
    fingerprint: String,
    pem: String,
}

/// A device that may come in, and until when its claim was good as it was found.
struct Opening {
    id: DeviceId,
    stage: Stage,
    expires: Time,
}

/// What the store says of a claim.
enum Found {
    /// It may be used.
    Open(Opening),
    /// It was used with this very key: here is what it got.
    Again(Box<Certificate>),
}

/// Lets a device in with a claim, and gives it its certificate.
#[utoipa::path(post, path = "/v1/enrolment", tag = "enrolment", request_body = Enrolment,
    responses((status = 200, body = Enrolled), (status = 400, body = Problem), (status = 403, body = Problem), (status = 429, body = Problem)))]
async fn enrol(
    State(centre): State<Arc<Centre>>,
    Address(from): Address,
    Json(body): Json<Enrolment>,
) -> Result<Answer<Enrolled>, Problem> {
    let (claim, request) = body.parsed()?;
    let now = centre.now();
    let digest = claim.digest().0;
    let found =
        find(&mut centre.store.read().await?.connection(), &digest, request.key(), now).await;
    let found = match found? {
        Ok(found) => found,
        Err(reason) => {
            centre.guesses.refused_claim(from)?;
            refuse(&centre, from, reason, now).await?;
            return Err(Problem::forbidden(reason));
        }
    };
    let certificate = match found {
        Found::Again(certificate) => *certificate,
        Found::Open(opening) => certify(&centre, &opening, &digest, request.key(), now).await?,
    };
    let record = remember(&centre, body.record_size).await?;
    Ok(Answer(answer(&centre, &certificate, record)))
}

impl Enrolment {
    fn parsed(&self) -> Result<(Claim, Request), Problem> {
        let claim = self.claim.parse().map_err(Problem::malformed)?;
        let csr = Base64::decode_vec(&self.csr)
            .map_err(|_| Problem::malformed("the request is not base64"))?;
        let request = Request::parse(&csr, algorithms().all).map_err(Problem::malformed)?;
        Ok((claim, request))
    }
}

/// Gives the record's newest checkpoint, and the proof from the one that the device remembers.
///
/// Where there is no proof, none is given: the device sees that, and says so.
async fn remember(centre: &Centre, seen: Option<u64>) -> Result<Remember, Problem> {
    let key = centre.authorities.record.clone();
    let Some((checkpoint, note)) = centre.recorder.record().signed() else {
        return Ok(Remember { key, checkpoint: None, proof: Vec::new() });
    };
    let proof = match seen {
        Some(seen) if 0 < seen && seen < checkpoint.size => {
            let record = Arc::clone(centre.recorder.record());
            let prove = move || record.consistency(seen, checkpoint.size);
            let proof = tokio::task::spawn_blocking(prove).await;
            proof.map_err(|e| Problem::internal(&e))?.map_err(|e| Problem::internal(&e))?
        }
        Some(_) | None => Vec::new(),
    };
    let proof = proof.iter().map(ToString::to_string).collect();
    Ok(Remember { key, checkpoint: Some(note), proof })
}

async fn find(
    c: &mut Connection<'_>,
    digest: &[u8; 32],
    key: &PublicKey,
    now: Time,
) -> Result<Result<Found, &'static str>, Problem> {
    let sql = "select m.device, m.expires, m.used, m.key_digest, d.stage, x.der, x.state from claim m \
               join device d on d.id = m.device left join certificate x on x.serial = m.serial \
               where m.digest = $1";
    let Some(row) = c.row(sql, params![digest.to_vec()]).await? else {
        return Ok(Err("the claim is not known; make a new one"));
    };
    let stage: Stage = row.parse(4, "a device's stage")?;
    if row.time_if(2)?.is_some() {
        let same = row.get::<Option<Vec<u8>>>(3)?.as_deref() == Some(key.digest().as_slice());
        let state: Option<String> = row.get(6)?;
        return match row.get::<Option<Vec<u8>>>(5)? {
            Some(der) if same && state.as_deref() == Some("issued") => {
                let certificate = Certificate::parse(&der).map_err(|e| Problem::internal(&e))?;
                Ok(Ok(Found::Again(Box::new(certificate))))
            }
            Some(_) | None => Ok(Err("the claim was used already; make a new one")),
        };
    }
    if row.time(1)? <= now {
        return Ok(Err("the claim has expired; make a new one"));
    }
    if stage.after(Step::Enrolled).is_err() {
        return Ok(Err("the device is retired; add it anew under another name"));
    }
    let (id, expires) = (row.parse(0, "a device's id")?, row.time(1)?);
    Ok(Ok(Found::Open(Opening { id, stage, expires })))
}

async fn refuse(
    centre: &Centre,
    from: std::net::IpAddr,
    reason: &str,
    now: Time,
) -> Result<(), Problem> {
    let draft = Draft::new("claim.refused", &Actor::System("control"))
        .with("reason", reason)
        .with("peer", from);
    let mut write = centre.store.write().await?;
    centre.note(&mut write.connection(), draft, now).await?;
    write.commit().await?;
    centre.recorder.committed();
    Ok(())
}

async fn certify(
    centre: &Centre,
    opening: &Opening,
    claim: &[u8; 32],
    key: &PublicKey,
    now: Time,
) -> Result<Certificate, Problem> {
    let Opening { id, stage, expires } = opening;
    let intent = issue::device_intent(centre, id, key, now)?;
    let serial = intent.serial;
    let mut write = centre.store.write().await?;
    issue::store_intent(&mut write.connection(), id, &intent, now).await?;
    write.commit().await?;

    let certificate = issue::sign(&centre.custody, intent).await?;

    let mut write = centre.store.write().await?;
    let mut c = write.connection();
    // Of two that race with one claim, one uses it; and none when the claim was ended meanwhile,
    // because the device was revoked or retired.
    let sql = "update claim set used = $1, key_digest = $2, serial = $3 \
               where digest = $4 and used is null and expires = $5";
    let digest = key.digest().to_vec();
    let used = c.execute(sql, params![now, digest, serial, claim.to_vec(), *expires]).await?;
    let stage = stage.after(Step::Enrolled).map_err(Problem::conflict)?;
    if used != 1 || !issue::store_certificate(&mut c, &certificate).await? {
        // The device itself may have asked twice, and gets one answer.
        return match find(&mut c, claim, key, now).await? {
            Ok(Found::Again(certificate)) => Ok(*certificate),
            Ok(Found::Open(_)) | Err(_) => {
                Err(Problem::forbidden("the claim was used or ended just now; make a new one"))
            }
        };
    }
    device::enrolled(&mut c, id, stage, now).await?;
    let actor = Actor::Device(id.clone());
    let draft = Draft::new("device.enrolled", &actor).on_device(id);
    let draft =
        draft.with("serial", certificate.serial()).with("fingerprint", certificate.fingerprint());
    centre.note(&mut c, draft.with("not_after", certificate.not_after()), now).await?;
    write.commit().await?;
    centre.devices_changed(vec![id.clone()]).await;
    Ok(certificate)
}

fn answer(centre: &Centre, certificate: &Certificate, record: Remember) -> Enrolled {
    let leaf = pem(certificate.der());
    Enrolled {
        device: certificate.device().map(ToString::to_string).unwrap_or_default(),
        chain: format!("{leaf}{}", pem(&centre.authorities.issuing)),
        certificate: leaf,
        root: pem(&centre.authorities.root),
        broker: centre.addresses.broker.clone(),
        not_after: certificate.not_after().to_string(),
        record,
    }
}

/// Gives the certificates of the authorities, which are public.
#[utoipa::path(get, path = "/v1/authority", tag = "enrolment", responses((status = 200, body = AuthorityView)))]
async fn authority(State(centre): State<Arc<Centre>>) -> Answer<AuthorityView> {
    let view = |der: &[u8]| AuthorityCertificate {
        fingerprint: identity::Fingerprint::of_der(der).to_string(),
        pem: pem(der),
    };
    Answer(AuthorityView {
        root: view(&centre.authorities.root),
        issuing: view(&centre.authorities.issuing),
        broker: centre.addresses.broker.clone(),
    })
}

fn pem(der: &[u8]) -> String {
    let text = Base64::encode_string(der);
    let lines = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line));
    let body: Vec<_> = lines.collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", body.join("\n"))
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms
}

/// What these routes read, as far as they read it without the store.
pub(crate) const READS: &[Read] =
    &[("POST /v1/enrolment", |bytes| fuzz::body::<Enrolment>(bytes)?.parsed().map(drop))];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::on_both;
    use axum::http::Method;
    use identity::{P256Key, Signer as _};
    use serde_json::json;
    use zeroize::Zeroizing;

    #[tokio::test]
    async fn who_is_revoked_or_retired_while_it_enrols_does_not_come_in() {
        on_both(async |store| {
            let rig = crate::tests::rig(store).await;
            for deed in ["revoke", "retire"] {
                let id = format!("pump-{deed}");
                let claim: Claim = rig.add(&id).await.parse().unwrap();
                let digest = claim.digest().0;
                let key = P256Key::from_random(&Zeroizing::new([9; 32])).unwrap();
                let now = rig.centre.now();
                let mut read = rig.centre.store.read().await.unwrap();
                let found = find(&mut read.connection(), &digest, key.public_key(), now).await;
                drop(read);
                let Ok(Ok(Found::Open(opening))) = found else { panic!("the claim is not open") };
                let path = format!("/v1/devices/{id}/{deed}");
                rig.local(Method::POST, &path, json!({"reason": "stolen"})).await;
                let refused = certify(&rig.centre, &opening, &digest, key.public_key(), now).await;
                assert!(refused.is_err(), "{deed}");
                let device = rig.get(&format!("/v1/devices/{id}")).await;
                assert_eq!(device["certificate"], serde_json::Value::Null, "{deed}");
            }
        })
        .await;
    }
}
