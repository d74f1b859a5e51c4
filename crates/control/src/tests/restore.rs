//! A store that is older than its record, as after a restore: what was cut off is cut off again.

use super::*;
use crate::backup::Restored;
use crate::record::{reconcile, recorded};
use crate::store::params;
use sha2::Digest as _;

/// Notes how far the store knows the record, as a backup would take it along.
async fn moment(rig: &Rig) -> u64 {
    rig.settle().await;
    let mut read = rig.centre.store.read().await.unwrap();
    recorded(&mut read.connection()).await.unwrap().unwrap()
}

/// Puts statements into the store, as an older state of it would stand there.
async fn put_back(rig: &Rig, moment: u64, statements: &[&'static str]) {
    rig.settle().await;
    let mut write = rig.centre.store.write().await.unwrap();
    for sql in statements {
        write.connection().execute(sql, params![]).await.unwrap();
    }
    let sql = "update meta set value = $1 where name = 'recorded'";
    let value = moment.to_be_bytes().to_vec();
    assert_eq!(write.connection().execute(sql, params![value]).await.unwrap(), 1);
    write.commit().await.unwrap();
}

async fn start_again(rig: &Rig, restored: Option<&Restored>) -> Result<bool, String> {
    let centre = &rig.centre;
    let record = centre.recorder.record();
    let again = reconcile(record, &centre.store, &centre.secret, restored, centre.now()).await;
    centre.recorder.committed();
    again.map_err(|e| e.to_string())
}

fn restored(id: &str, events: u64) -> Restored {
    let moment = "2026-11-21T02:00:00Z".to_owned();
    Restored { id: id.into(), made: moment.clone(), at: moment, events, seen_elsewhere: None }
}

async fn states(rig: &Rig, device: &str) -> Vec<String> {
    let sql = "select state from certificate where device = $1 order by created, serial";
    let mut read = rig.centre.store.read().await.unwrap();
    let rows = read.connection().rows(sql, params![device]).await.unwrap();
    rows.iter().map(|row| row.get(0).unwrap()).collect()
}

const REASON: &str = "stolen";

#[tokio::test]
async fn nothing_happens_while_store_and_record_are_of_one_moment() {
    on_both(async |store| {
        let rig = rig(store).await;
        rig.add("pump-7").await;
        rig.settle().await;
        let before = rig.centre.recorder.record().n_events();
        assert_eq!(moment(&rig).await, before);
        assert_eq!(start_again(&rig, None).await, Ok(false));
        rig.settle().await;
        assert_eq!(rig.centre.recorder.record().n_events(), before);
    })
    .await;
}

#[tokio::test]
async fn a_revocation_that_only_the_record_knows_is_made_again() {
    on_both(async |store| {
        let rig = rig(store).await;
        let claim = rig.add("pump-7").await;
        rig.enrol(&claim, &key(1)).await;
        let before = moment(&rig).await;
        rig.post("/v1/devices/pump-7/revoke", json!({ "reason": REASON })).await;
        put_back(&rig, before, &["update certificate set state = 'issued', revoked_at = null"])
            .await;
        assert_eq!(states(&rig, "pump-7").await, ["issued"]);

        assert_eq!(start_again(&rig, None).await, Ok(true));
        assert_eq!(states(&rig, "pump-7").await, ["revoked"]);
        let told = rig.told("kind=device.revoked").await;
        assert_eq!(told.len(), 2);
        assert!(told[0].starts_with("restore revoked pump-7: stolen; done again"), "{told:?}");
        let told = rig.told("kind=data.restored").await;
        assert!(told[0].ends_with("unknown to the store: 1 event; cut off again: 1"), "{told:?}");
        assert_eq!(start_again(&rig, None).await, Ok(false));
    })
    .await;
}

#[tokio::test]
async fn a_store_that_knows_nothing_of_the_record_is_not_gone_on_with() {
    on_both(async |store| {
        let rig = rig(store).await;
        rig.add("pump-7").await;
        rig.settle().await;
        let mut write = rig.centre.store.write().await.unwrap();
        let forget = "delete from meta where name = 'recorded'";
        write.connection().execute(forget, params![]).await.unwrap();
        write.commit().await.unwrap();
        let refused = start_again(&rig, None).await.unwrap_err();
        assert!(refused.contains("the store knows of none"), "{refused}");
    })
    .await;
}

#[tokio::test]
async fn a_certificate_that_came_after_the_revocation_stays() {
    on_both(async |store| {
        let rig = rig(store).await;
        rig.add("pump-7").await;
        let before = moment(&rig).await;
        rig.post("/v1/devices/pump-7/revoke", json!({ "reason": REASON })).await;
        // The next one is issued in another millisecond than the revocation.
        let revoked = rig.centre.now();
        while rig.centre.now() == revoked {
            tokio::task::yield_now().await;
        }
        let claim = rig.post("/v1/devices/pump-7/claim", Value::Null).await.body;
        let claim = claim["claim"]["text"].as_str().unwrap().to_owned();
        assert_eq!(rig.enrol(&claim, &key(1)).await.status, StatusCode::OK);
        put_back(&rig, before, &[]).await;
        assert_eq!(start_again(&rig, None).await, Ok(true));
        assert_eq!(states(&rig, "pump-7").await, ["issued"]);
    })
    .await;
}

#[tokio::test]
async fn quarantine_retirement_and_tokens_are_cut_again_and_what_gave_is_named() {
    on_both(async |store| {
        let rig = rig(store).await;
        for id in ["pump-1", "pump-2", "pump-3"] {
            rig.add(id).await;
        }
        let body = json!({ "name": "ci", "role": "viewer", "expires_in_days": 1 });
        let token = rig.post("/v1/tokens", body.clone()).await.body;
        let before = moment(&rig).await;
        for (id, verb) in [
            ("pump-1", "quarantine"),
            ("pump-2", "quarantine"),
            ("pump-2", "recover"),
            ("pump-3", "retire"),
        ] {
            let path = format!("/v1/devices/{id}/{verb}");
            let answer = rig.post(&path, json!({ "reason": REASON })).await;
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        }
        let id = token["token"]["id"].as_str().unwrap();
        let gone = rig.local(Method::DELETE, &format!("/v1/tokens/{id}"), Value::Null).await;
        assert_eq!(gone.status, StatusCode::NO_CONTENT);
        let older = [
            "delete from fact",
            "delete from alert",
            "update device set stage = 'manufactured'",
            "delete from claim",
        ];
        put_back(&rig, before, &older).await;
        let mut write = rig.centre.store.write().await.unwrap();
        let sql = "insert into token (id, digest, name, role, created, expires, made_by) \
                   values ($1, $2, 'ci', 'viewer', 1, $3, 'local')";
        let digest = sha2::Sha256::digest(token["text"].as_str().unwrap()).to_vec();
        let later = rig.centre.now().plus(std::time::Duration::from_secs(3600));
        write.connection().execute(sql, params!["back", digest, later]).await.unwrap();
        write.commit().await.unwrap();

        assert_eq!(start_again(&rig, None).await, Ok(true));
        let cut = async |id: &str| {
            let device = rig.get(&format!("/v1/devices/{id}")).await;
            let facts = device["posture"]["facts"].as_array().unwrap().clone();
            facts.iter().any(|fact| fact["name"] == "quarantine" && fact["value"] == "yes")
        };
        assert!(cut("pump-1").await && !cut("pump-2").await);
        assert_eq!(rig.get("/v1/devices/pump-3").await["stage"], "retired");
        assert_eq!(rig.get("/v1/tokens").await["items"], json!([]));
        let told = rig.told("kind=data.restored").await;
        assert!(told[0].contains("cut off again: 3;"), "{told:?}");
        assert!(told[0].ends_with("to be looked at: device.recovered 1"), "{told:?}");
    })
    .await;
}

#[tokio::test]
async fn a_person_who_was_removed_is_forgotten_again_and_one_who_lost_a_role_loses_it_again() {
    on_both(async |store| {
        let rig = rig(store).await;
        for name in ["ana", "bo"] {
            rig.post("/v1/operators", json!({ "name": name, "role": "administrator" })).await;
        }
        let before = moment(&rig).await;
        rig.post("/v1/operators", json!({ "name": "bo", "role": "viewer" })).await;
        // What an older store does not know: the event is there, the removal is not.
        let mut write = rig.centre.store.write().await.unwrap();
        let by = crate::record::Actor::Operator("local".into());
        let removed = crate::record::Draft::new("operator.removed", &by).on("operator", "ana");
        rig.centre.note(&mut write.connection(), removed, rig.centre.now()).await.unwrap();
        write.commit().await.unwrap();
        rig.centre.recorder.committed();
        put_back(&rig, before, &["update operator set role = 'administrator'"]).await;

        assert_eq!(start_again(&rig, None).await, Ok(true));
        let people = rig.get("/v1/operators").await;
        let items = people["items"].as_array().unwrap();
        let role =
            |name: &str| items.iter().find(|one| one["name"] == name).map(|one| &one["role"]);
        assert_eq!((role("ana"), role("bo")), (None, Some(&json!("viewer"))));
        let mut read = rig.centre.store.read().await.unwrap();
        let keys = read.connection().rows("select id from subject_key", params![]).await.unwrap();
        assert_eq!(keys.len(), items.len(), "a key is left of the one who was forgotten");
    })
    .await;
}

#[tokio::test]
async fn a_restore_is_noted_once_and_ends_what_could_be_used_a_second_time() {
    on_both(async |store| {
        let rig = rig(store).await;
        let claim = rig.add("pump-7").await;
        let n_events = moment(&rig).await;
        let restored = Restored { seen_elsewhere: Some(n_events + 5), ..restored("one", n_events) };
        assert_eq!(start_again(&rig, Some(&restored)).await, Ok(true));
        assert_ne!(rig.enrol(&claim, &key(1)).await.status, StatusCode::OK);
        rig.settle().await;
        // Control was killed before it removed the note of the restore.
        assert_eq!(start_again(&rig, Some(&restored)).await, Ok(false));
        let told = rig.told("kind=data.restored").await;
        let expected =
            "a backup of 2026-11-21 02:00 UTC was restored; missing, but seen elsewhere: 5 events";
        assert_eq!(told, [expected]);
    })
    .await;
}

#[tokio::test]
async fn a_record_without_its_end_is_gone_on_with_only_after_a_restore() {
    on_both(async |store| {
        let rig = rig(store).await;
        rig.add("pump-7").await;
        let n_events = moment(&rig).await;
        put_back(&rig, n_events + 7, &[]).await;
        let refused = start_again(&rig, None).await.unwrap_err();
        assert!(refused.contains("restore both from one backup"), "{refused}");
        assert_eq!(start_again(&rig, Some(&restored("one", n_events))).await, Ok(true));
        let told = rig.told("kind=data.restored").await;
        assert!(told[0].ends_with("missing in the record: 7 events"), "{told:?}");
        assert_eq!(start_again(&rig, None).await, Ok(false));
    })
    .await;
}

#[tokio::test]
async fn an_event_that_was_written_but_not_struck_is_not_written_twice() {
    on_both(async |store| {
        let rig = rig(store).await;
        rig.add("pump-7").await;
        let before = moment(&rig).await;
        // The job that empties the outbox is at rest from here on: what follows is a crash.
        rig.centre.recorder.settle(&rig.centre.store).await.unwrap();
        let mut write = rig.centre.store.write().await.unwrap();
        let by = crate::record::Actor::Operator("local".into());
        let draft = crate::record::Draft::new("site.added", &by).on("site", "north");
        let event = rig.centre.finish(draft, rig.centre.now());
        crate::record::put(&mut write.connection(), &event).await.unwrap();
        let seq = write.connection().row("select max(seq) from outbox", params![]).await.unwrap();
        let seq: i64 = seq.unwrap().get(0).unwrap();
        write.commit().await.unwrap();
        let mut written = event.clone();
        written.outbox = Some(u64::try_from(seq).unwrap());
        rig.centre.recorder.append(vec![written]).await.unwrap();
        assert_eq!(start_again(&rig, None).await, Ok(false));
        rig.settle().await;
        assert_eq!(moment(&rig).await, before + 1);
        assert_eq!(rig.told("kind=site.added").await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_copy_of_the_store_is_for_this_machine_alone_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    let rig = rig(Store::open_file(&path).await.unwrap()).await;
    rig.add("pump-7").await;
    let n_events = moment(&rig).await;
    let mut request = request(Method::POST, crate::backup::STORE, Value::Null);
    request.extensions_mut().insert(Local);
    let response = rig.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let length = response.headers()[header::CONTENT_LENGTH].to_str().unwrap().to_owned();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(bytes.len().to_string(), length);
    let copy = folder.path().join("copy.sqlite");
    std::fs::write(&copy, &bytes).unwrap();
    let sound = crate::backup::check_store(&copy).await.unwrap();
    assert_eq!((sound.faults.len(), sound.devices, sound.recorded), (0, 1, Some(n_events)));
    let left = std::fs::read_dir(rig.folder.path()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("copy")), "{left:?}");

    let body = json!({ "name": "far", "role": "administrator", "expires_in_days": 1 });
    let token = rig.post("/v1/tokens", body).await.body["text"].as_str().unwrap().to_owned();
    let mut remote = super::request(Method::POST, crate::backup::STORE, Value::Null);
    let bearer = format!("Bearer {token}").parse().unwrap();
    remote.headers_mut().insert(header::AUTHORIZATION, bearer);
    assert_eq!(rig.send(remote).await.status, StatusCode::FORBIDDEN);
}
