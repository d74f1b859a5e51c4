//! The first door, and leaving through the last.

use super::*;

#[tokio::test]
async fn a_claim_opens_once_and_again_only_for_the_same_key() {
    on_both(async |store| {
        let rig = rig(store).await;
        let claim = rig.add("pump-7").await;
        let first = rig.enrol(&claim, &key(1)).await;
        assert_eq!(first.status, StatusCode::OK, "{first:?}");
        let leaf = certificate(&first);
        assert_eq!(leaf.device().unwrap().as_str(), "pump-7");
        assert_eq!(leaf.key(), key(1).public_key());
        assert_eq!(first.body["broker"], "broker.test:8883");

        let again = rig.enrol(&claim, &key(1)).await;
        assert_eq!(certificate(&again), leaf, "a lost answer can be asked for again");
        let other = rig.enrol(&claim, &key(2)).await;
        assert_eq!(other.status, StatusCode::FORBIDDEN, "{other:?}");
        let device = rig.get("/v1/devices/pump-7").await;
        assert_eq!(device["stage"], "claimed");
        let issued = &device["posture"]["facts"][0];
        assert_eq!((&issued["name"], &issued["value"]), (&json!("certificate"), &json!("issued")));
        // A certificate begins an hour early, for clocks that are behind; it was issued now.
        let since: identity::Time = issued["since"].as_str().unwrap().parse().unwrap();
        assert!(rig.centre.now().since(since).unwrap().as_secs() < 600, "{since}");
        let told = rig.told("device=pump-7").await;
        assert!(told[0].starts_with("pump-7 enrolled and holds certificate "), "{told:?}");
    })
    .await;
}

#[tokio::test]
async fn one_of_many_that_race_with_one_claim_gets_in() {
    on_both(async |store| {
        let rig = rig(store).await;
        let claim = rig.add("pump-7").await;
        let racers = (1..=16).map(|seed| tokio::spawn(rig.enrol(&claim, &key(seed))));
        let mut n_let_in = 0;
        for racer in racers.collect::<Vec<_>>() {
            n_let_in += u32::from(racer.await.unwrap().status == StatusCode::OK);
        }
        assert_eq!(n_let_in, 1);
        let certificates = rig.get("/v1/devices/pump-7/certificates").await;
        assert_eq!(certificates["items"].as_array().unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn unknown_ended_and_malformed_claims_are_refused() {
    on_both(async |store| {
        let rig = rig(store).await;
        let old = rig.add("pump-7").await;
        let new = rig.post("/v1/devices/pump-7/claim", Value::Null).await;
        assert_eq!(new.status, StatusCode::CREATED, "{new:?}");
        let refused = rig.enrol(&old, &key(1)).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        assert_eq!(refused.body["detail"], "the claim has expired; make a new one");
        let stranger = identity::Claim::from_random(Zeroizing::new([5; 32]), rig.centre.root);
        assert_eq!(rig.enrol(&stranger.text(), &key(1)).await.status, StatusCode::FORBIDDEN);
        assert_eq!(
            rig.enrol("palisade-claim-1.x.y", &key(1)).await.status,
            StatusCode::BAD_REQUEST
        );
        let claim = new.body["claim"]["text"].as_str().unwrap().to_owned();
        assert_eq!(rig.enrol(&claim, &key(1)).await.status, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn revocation_takes_certificates_and_claims_and_says_so() {
    on_both(async |store| {
        let rig = rig(store).await;
        let claim = rig.add("pump-7").await;
        rig.enrol(&claim, &key(1)).await;
        let fresh = rig.post("/v1/devices/pump-7/claim", Value::Null).await;
        let answer = rig.post("/v1/devices/pump-7/revoke", json!({"reason": "lost"})).await;
        assert_eq!(answer.body, json!({"devices": 1, "certificates": 1, "sessions": 0}));
        let device = rig.get("/v1/devices/pump-7").await;
        assert_eq!(device["certificate"]["revoked"]["reason"], "lost");
        assert_eq!(device["attention"][0]["code"], "revoked");
        for claim in [claim.as_str(), fresh.body["claim"]["text"].as_str().unwrap()] {
            assert_eq!(rig.enrol(claim, &key(1)).await.status, StatusCode::FORBIDDEN);
        }
        // The way back is a new claim.
        let claim = rig.post("/v1/devices/pump-7/claim", Value::Null).await;
        let claim = claim.body["claim"]["text"].as_str().unwrap().to_owned();
        assert_eq!(rig.enrol(&claim, &key(3)).await.status, StatusCode::OK);
        assert_eq!(rig.get("/v1/devices/pump-7").await["attention"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn a_part_of_the_fleet_is_revoked_by_kind_zone_and_site() {
    on_both(async |store| {
        let rig = rig(store).await;
        rig.post("/v1/zones", json!({"id": "yard", "site": "main"})).await;
        for (id, kind, zone) in [
            ("pump-1", "pump", "yard"),
            ("pump-2", "pump", "plant-a"),
            ("pump-3", "pump", "plant-a"),
            ("meter-1", "meter", "plant-a"),
        ] {
            let added = rig.post("/v1/devices", json!({"id": id, "kind": kind, "zone": zone}));
            let claim = added.await.body["claim"]["text"].as_str().unwrap().to_owned();
            // One never comes for its certificate: its claim ends all the same.
            if id != "pump-3" {
                assert_eq!(rig.enrol(&claim, &key(id.as_bytes()[5])).await.status, StatusCode::OK);
            }
        }
        let revoke = |body: Value| rig.post("/v1/devices/revoke", body);
        let answer = revoke(json!({"kind": "pump", "zone": "plant-a", "reason": "lost"})).await;
        assert_eq!(answer.body, json!({"devices": 2, "certificates": 1, "sessions": 0}));
        // What was revoked is not revoked again.
        let answer = revoke(json!({"kind": "pump", "site": "main", "reason": "lost"})).await;
        assert_eq!(answer.body, json!({"devices": 1, "certificates": 1, "sessions": 0}));
        let misspelt = revoke(json!({"kind": "pmup", "reason": "lost"})).await;
        assert_eq!(misspelt.status, StatusCode::NOT_FOUND);
        for unclear in [
            json!({"reason": "lost"}),
            json!({"ids": [], "reason": "lost"}),
            json!({"ids": ["meter-1"], "kind": "meter", "reason": "lost"}),
        ] {
            assert_eq!(revoke(unclear).await.status, StatusCode::BAD_REQUEST);
        }
        let told = rig.told("kind=device.revoked").await;
        assert_eq!(told.len(), 3, "{told:?}");
        let meter = rig.get("/v1/devices/meter-1").await;
        assert_eq!(meter["certificate"]["revoked"], Value::Null);
    })
    .await;
}

#[tokio::test]
async fn a_retired_device_does_not_come_back() {
    on_both(async |store| {
        let rig = rig(store).await;
        let claim = rig.add("pump-7").await;
        let answer = rig.post("/v1/devices/pump-7/retire", json!({"reason": "scrapped"})).await;
        assert_eq!(answer.body["stage"], "retired", "{answer:?}");
        assert_eq!(rig.enrol(&claim, &key(1)).await.status, StatusCode::FORBIDDEN);
        assert_eq!(
            rig.post("/v1/devices/pump-7/claim", Value::Null).await.status,
            StatusCode::CONFLICT
        );
        let again = rig.post("/v1/devices/pump-7/retire", json!({"reason": "scrapped"})).await;
        assert_eq!(again.status, StatusCode::CONFLICT);
    })
    .await;
}

#[tokio::test]
async fn many_devices_are_revoked_in_one_step_or_none() {
    on_both(async |store| {
        let rig = rig(store).await;
        let ids: Vec<_> = (0..50).map(|idx| format!("pump-{idx}")).collect();
        for id in &ids {
            rig.add(id).await;
        }
        let mut with_stranger = ids.clone();
        with_stranger.push("nobody".to_owned());
        let answer =
            rig.post("/v1/devices/revoke", json!({"ids": with_stranger, "reason": "x"})).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(
            rig.get("/v1/fleet").await["attention"]["red"],
            0,
            "one unknown device: nothing is done"
        );
        let answer =
            rig.post("/v1/devices/revoke", json!({"ids": ids, "reason": "stolen batch"})).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(rig.get("/v1/fleet").await["attention"]["red"], 50);
    })
    .await;
}

#[tokio::test]
async fn a_device_that_remembers_the_record_is_shown_how_it_went_on() {
    on_both(async |store| {
        let rig = rig(store).await;
        let claim = rig.add("pump-7").await;
        let record = Arc::clone(rig.centre.recorder.record());
        let mut live = rig.centre.live.subscribe();
        while record.last_checkpoint().is_none() {
            live.recv().await.unwrap();
        }
        let first = rig.enrol(&claim, &key(1)).await.body["record"].take();
        let verifier: ledger::VerifierKey = first["key"].as_str().unwrap().parse().unwrap();
        let note = first["checkpoint"].as_str().unwrap().as_bytes();
        let mut witness = ledger::witness::Witness::new(verifier);
        let seen = witness.handle_checkpoint(note, &[]).unwrap().size;
        while record.last_checkpoint().is_some_and(|last| last.size == seen) {
            live.recv().await.unwrap();
        }
        let csr = identity::request::Request::make(&key(1)).unwrap();
        let csr = Base64::encode_string(&csr);
        let body = json!({ "claim": claim, "csr": csr, "record_size": seen });
        let again = rig.send(request(Method::POST, "/v1/enrolment", body)).await;
        let record = &again.body["record"];
        let hashes = record["proof"].as_array().unwrap();
        let hashes: Vec<_> =
            hashes.iter().map(|hash| hash.as_str().unwrap().parse().unwrap()).collect();
        let note = record["checkpoint"].as_str().unwrap().as_bytes();
        assert!(witness.handle_checkpoint(note, &hashes).unwrap().size > seen);
    })
    .await;
}
