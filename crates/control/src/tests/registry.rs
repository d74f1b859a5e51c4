//! Devices, filters, pages and responses.

use super::*;
use crate::registry::device;

#[tokio::test]
async fn a_device_is_added_with_its_kind_zone_and_claim() {
    on_both(async |store| {
        let rig = rig(store).await;
        let labels = json!({"line": "2"});
        let body = json!({"id": "pump-7", "kind": "pump", "zone": "plant-a", "title": "مضخة 🚰", "labels": labels});
        let answer = rig.post("/v1/devices", body.clone()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        assert_eq!(answer.body["made"], json!(["kind pump", "zone plant-a in main"]));
        assert!(answer.body["claim"]["text"].as_str().unwrap().starts_with("palisade-claim-1."));
        let device = rig.get("/v1/devices/pump-7").await;
        assert_eq!(device["title"], "مضخة 🚰");
        assert_eq!((&device["site"], &device["stage"]), (&json!("main"), &json!("manufactured")));
        assert_eq!(device["labels"], labels);
        assert_eq!(device["connection"]["state"], "never");
        let again = rig.post("/v1/devices", body).await;
        assert_eq!(again.status, StatusCode::CONFLICT);
        assert_eq!(again.kind, "application/problem+json");
        let told = rig.told("limit=4").await;
        assert!(told.contains(&"local added pump-7 (pump) to plant-a".to_owned()), "{told:?}");
    })
    .await;
}

#[tokio::test]
async fn names_that_would_widen_anything_are_refused() {
    on_both(async |store| {
        let rig = rig(store).await;
        for id in ["+", "#", "a/b", "", "A", "../x", &"x".repeat(65)] {
            let answer =
                rig.post("/v1/devices", json!({"id": id, "kind": "pump", "zone": "a"})).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{id:?}");
        }
        let unknown = json!({"id": "a", "kind": "pump", "zone": "a", "colour": "red"});
        assert_eq!(rig.post("/v1/devices", unknown).await.status, StatusCode::BAD_REQUEST);
        for title in ["a\u{7}b", "a\u{2028}b", "a\u{202e}b", "a\u{200b}b"] {
            let hidden = json!({"id": "a", "kind": "pump", "zone": "a", "title": title});
            let status = rig.post("/v1/devices", hidden).await.status;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{title:?}");
            let reason = json!({"reason": title});
            let status = rig.post("/v1/devices/a/quarantine", reason).await.status;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{title:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn pages_cover_every_device_once_in_every_order() {
    on_both(async |store| {
        let rig = rig(store).await;
        for idx in 0..25 {
            rig.add(&format!("pump-{idx:02}")).await;
        }
        for idx in [3, 7] {
            let body = json!({"reason": "scans"});
            rig.post(&format!("/v1/devices/pump-{idx:02}/quarantine"), body).await;
        }
        for order in [
            "sort=attention",
            "sort=id",
            "sort=id&order=desc",
            "sort=created",
            "sort=created&order=asc",
            "sort=seen",
        ] {
            let mut ids = Vec::new();
            let mut after = String::new();
            loop {
                let page = rig.get(&format!("/v1/devices?limit=7&{order}&after={after}")).await;
                assert_eq!(page["total"], 25);
                let items = page["items"].as_array().unwrap();
                ids.extend(items.iter().map(|device| device["id"].as_str().unwrap().to_owned()));
                let Some(next) = page["next"].as_str() else { break };
                after = next.to_owned();
            }
            if order == "sort=attention" {
                assert_eq!(ids[..2], ["pump-03", "pump-07"]);
            }
            if order == "sort=id&order=desc" {
                assert!(ids.is_sorted_by(|a, b| a > b), "{ids:?}");
            }
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), 25, "{order}");
        }
        let jumped = rig.get("/v1/devices?sort=id&skip=20&limit=2").await;
        assert_eq!(jumped["items"][0]["id"], "pump-20");
    })
    .await;
}

#[tokio::test]
async fn filters_take_what_they_say() {
    on_both(async |store| {
        let rig = rig(store).await;
        rig.add("pump-1").await;
        rig.add("pump-2").await;
        let camera =
            json!({"id": "cam_1", "kind": "camera", "zone": "hall", "title": "Lobby 100%"});
        rig.post("/v1/devices", camera).await;
        let count = async |query: &str| {
            rig.get(&format!("/v1/devices?{query}")).await["total"].as_u64().unwrap()
        };
        assert_eq!(count("q=PUMP").await, 2);
        assert_eq!(count("q=lobby").await, 1);
        assert_eq!(count("q=100%25").await, 1);
        assert_eq!(count("q=%25").await, 1, "a percent sign is a percent sign");
        assert_eq!(count("q=_").await, 1, "an underscore is an underscore");
        assert_eq!(count("kind=camera").await, 1);
        assert_eq!(count("zone=hall&kind=pump").await, 0);
        assert_eq!(count("site=main").await, 3);
        assert_eq!(count("stage=manufactured").await, 3);
        assert_eq!(count("connection=connected").await, 0);
        assert_eq!(count("attention=any").await, 0);
        let bad = [
            "stage=broken",
            "colour=red",
            "attention=green",
            "limit=0",
            "limit=501",
            "after=x&skip=1",
            "after=%21",
        ];
        for bad in bad {
            let answer = rig.local(Method::GET, &format!("/v1/devices?{bad}"), Value::Null).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad}");
        }
    })
    .await;
}

#[tokio::test]
async fn quarantine_is_a_fact_with_reason_source_and_way_back() {
    on_both(async |store| {
        let mut rig = rig(store).await;
        rig.add("pump-7").await;
        let reason = json!({"reason": "telnet to 214 addresses"});
        let answer = rig.post("/v1/devices/pump-7/quarantine", reason).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.body["quarantined"]["reason"], "telnet to 214 addresses");
        assert_eq!(answer.body["quarantined"]["by"], "operator local");
        assert_eq!(answer.body["attention"][0]["severity"], "red");
        assert_eq!(answer.body["stage"], "manufactured", "a stage is not touched by it");
        assert_eq!(rig.get("/v1/fleet").await["quarantined"], 1);
        let answer = rig.post("/v1/devices/pump-7/recover", json!({"reason": "reflashed"})).await;
        assert_eq!(answer.body["quarantined"], Value::Null);
        assert_eq!(answer.body["attention"], json!([]));
        let mut n_moves = 0;
        while let Ok(Moved::Devices(ids)) = rig.moves.try_recv() {
            n_moves += ids.len();
        }
        assert_eq!(n_moves, 3, "added, cut off, let back in: the gateways are told of each");
        let without = rig.post("/v1/devices/pump-7/quarantine", json!({"reason": "  "})).await;
        assert_eq!(without.status, StatusCode::BAD_REQUEST);
        let nobody = rig.post("/v1/devices/pump-8/quarantine", json!({"reason": "x"})).await;
        assert_eq!(nobody.status, StatusCode::NOT_FOUND);
    })
    .await;
}

#[tokio::test]
async fn what_is_said_of_a_device_can_change_and_is_taken_away_by_nothing() {
    on_both(async |store| {
        let rig = rig(store).await;
        rig.add("pump-7").await;
        let path = "/v1/devices/pump-7";
        let body = json!({"title": "Cooling", "owner": "Ana", "labels": {"line": "2"}});
        let answer = rig.local(Method::PATCH, path, body).await;
        assert_eq!(
            (&answer.body["title"], &answer.body["owner"]),
            (&json!("Cooling"), &json!("Ana"))
        );
        let answer = rig.local(Method::PATCH, path, json!({"title": ""})).await;
        assert_eq!((&answer.body["title"], &answer.body["owner"]), (&Value::Null, &json!("Ana")));
        let answer = rig.local(Method::PATCH, path, json!({"zone": "nowhere"})).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
    })
    .await;
}

#[tokio::test]
async fn what_gateways_must_know_of_some_devices_is_what_they_must_know_of_all() {
    on_both(async |store| {
        let rig = rig(store).await;
        let mut ids = Vec::new();
        for idx in 0..230 {
            let id = format!("pump-{idx}");
            rig.add(&id).await;
            ids.push(id.parse::<identity::DeviceId>().unwrap());
        }
        let quarantine = json!({"reason": "odd"});
        rig.post("/v1/devices/pump-3/quarantine", quarantine).await;
        let mut read = rig.centre.store.read().await.unwrap();
        let mut c = read.connection();
        let sorted = |mut standings: Vec<::policy::DeviceStanding>| {
            standings.sort_by(|one, other| one.id.cmp(&other.id));
            standings
        };
        let all = sorted(device::standings(&mut c).await.unwrap());
        let ids: Vec<_> = ids.iter().collect();
        let some = sorted(device::standings_of(&mut c, &ids).await.unwrap());
        assert_eq!((all.len(), all), (230, some));
        let gone = "pump-9999".parse().unwrap();
        assert_eq!(device::standings_of(&mut c, &[&gone]).await.unwrap(), []);
    })
    .await;
}
