//! The record behind the API: exactly once, signed, provable.

use super::*;

#[tokio::test]
async fn events_leave_the_outbox_once_and_in_order() {
    on_both(async |store| {
        let rig = rig(store).await;
        for idx in 0..40 {
            rig.add(&format!("pump-{idx}")).await;
        }
        let told = rig.told("kind=device.added&limit=100").await;
        let sentence = |idx| format!("local added pump-{idx} (pump) to plant-a");
        let expected: Vec<_> = (0..40).rev().map(sentence).collect();
        assert_eq!(told, expected);
    })
    .await;
}

#[tokio::test]
async fn a_checkpoint_is_signed_and_proofs_lead_to_it() {
    on_both(async |store| {
        let rig = rig(store).await;
        rig.add("pump-7").await;
        let mut live = rig.centre.live.subscribe();
        rig.settle().await;
        let record = Arc::clone(rig.centre.recorder.record());
        while record.last_checkpoint().map(|checkpoint| checkpoint.size) != Some(record.n_events())
        {
            live.recv().await.unwrap();
        }
        let note = rig.get("/v1/ledger/checkpoint").await;
        let key: ledger::VerifierKey =
            rig.get("/v1/ledger/key").await.as_str().unwrap().parse().unwrap();
        let checkpoint = ledger::Checkpoint::open(note.as_str().unwrap().as_bytes(), &key).unwrap();
        assert!(checkpoint.size >= 3);
        let proof =
            rig.get(&format!("/v1/ledger/inclusion?index=0&size={}", checkpoint.size)).await;
        let hash = |value: &Value| value.as_str().unwrap().parse::<ledger::Hash>().unwrap();
        let hashes: Vec<_> = proof["hashes"].as_array().unwrap().iter().map(hash).collect();
        let leaf = hash(&proof["leaf"]);
        ledger::proof::verify_inclusion(&leaf, 0, checkpoint.size, &checkpoint.root, &hashes)
            .unwrap();
        let tile = rig.get(&format!("/v1/ledger/tile/0/000.p/{}", checkpoint.size)).await;
        assert_ne!(tile, Value::Null);
        let beyond =
            rig.local(Method::GET, "/v1/ledger/consistency?from=1&to=999999", Value::Null).await;
        assert_eq!(beyond.status, StatusCode::BAD_REQUEST);
    })
    .await;
}

#[tokio::test]
async fn events_page_backwards_to_the_first() {
    on_both(async |store| {
        let rig = rig(store).await;
        for idx in 0..10 {
            rig.add(&format!("pump-{idx}")).await;
        }
        rig.settle().await;
        let (mut n_events, mut before) = (0, String::new());
        loop {
            let page = rig.get(&format!("/v1/events?limit=7{before}")).await;
            n_events += page["items"].as_array().unwrap().len();
            let Some(next) = page["next"].as_u64() else { break };
            before = format!("&before={next}");
        }
        assert_eq!(u64::try_from(n_events).unwrap(), rig.centre.recorder.record().n_events());
    })
    .await;
}

async fn checkpointed(rig: &Rig) -> String {
    let mut live = rig.centre.live.subscribe();
    rig.settle().await;
    let record = Arc::clone(rig.centre.recorder.record());
    while record.last_checkpoint().map(|checkpoint| checkpoint.size) != Some(record.n_events()) {
        live.recv().await.unwrap();
    }
    rig.get("/v1/ledger/checkpoint").await.as_str().unwrap().to_owned()
}

fn eye(seed: u8) -> (identity::Ed25519Key, ledger::VerifierKey) {
    let signer = identity::Ed25519Key::from_seed(&zeroize::Zeroizing::new([seed; 32])).unwrap();
    let key = ledger::VerifierKey::witness("eye", signer.public_key()).unwrap();
    (signer, key)
}

fn cosigned(note: &str, signer: &identity::Ed25519Key, at: identity::Time) -> Value {
    let mut note = ledger::Note::parse(note.as_bytes()).unwrap();
    note.signatures.push(note.cosign("eye", at, signer).unwrap());
    json!({ "note": note.to_string() })
}

#[tokio::test]
async fn a_cosignature_is_kept_for_its_own_sake_but_only_of_a_declared_witness() {
    on_both(async |store| {
        let rig = rig(store).await;
        let watcher = rig.token("viewer").await;
        let (signer, key) = eye(1);
        let leave = async |body: Value| {
            rig.with_token(Method::POST, "/v1/ledger/cosignatures", body, &watcher).await.status
        };
        let body = cosigned(&checkpointed(&rig).await, &signer, rig.centre.now());
        assert_eq!(leave(body).await, StatusCode::CONFLICT);

        let declared = json!({ "key": key.to_string() });
        let by_viewer =
            rig.with_token(Method::POST, "/v1/ledger/witnesses", declared.clone(), &watcher).await;
        assert_eq!(by_viewer.status, StatusCode::FORBIDDEN);
        let made = rig.local(Method::POST, "/v1/ledger/witnesses", declared.clone()).await;
        assert_eq!(made.status, StatusCode::CREATED);
        let twice = rig.local(Method::POST, "/v1/ledger/witnesses", declared).await;
        assert_eq!(twice.status, StatusCode::CONFLICT);

        let note = checkpointed(&rig).await;
        let (stranger, _) = eye(2);
        let forged = cosigned(&note, &stranger, rig.centre.now());
        assert_eq!(leave(forged).await, StatusCode::CONFLICT);
        let good = cosigned(&note, &signer, rig.centre.now());
        assert_eq!(leave(good).await, StatusCode::NO_CONTENT);
        let kept = rig.centre.recorder.record().cosigned_note().unwrap();
        kept.cosigned_at(&key).unwrap();
        let seen = rig.get("/v1/ledger/witnesses").await;
        assert!(seen["items"][0]["size"].as_u64().unwrap() > 0, "{seen}");

        let gone = rig.local(Method::DELETE, "/v1/ledger/witnesses/eye", Value::Null).await;
        assert_eq!(gone.status, StatusCode::NO_CONTENT);
        let told = rig.told("kind=witness").await;
        assert_eq!(told, ["local removed the witness eye", "local added the witness eye"]);
    })
    .await;
}

#[tokio::test]
async fn a_logs_own_key_is_no_witness() {
    on_both(async |store| {
        let rig = rig(store).await;
        let key = rig.get("/v1/ledger/key").await;
        let made = rig.local(Method::POST, "/v1/ledger/witnesses", json!({ "key": key })).await;
        assert_eq!(made.status, StatusCode::BAD_REQUEST);
    })
    .await;
}
