//! Policy: its versions, its check, and why.

use ::policy::{Action, Cause, Epoch, Excerpt, Observation};

use super::*;

#[tokio::test]
async fn the_starter_policy_grants_a_device_its_own_and_nothing_else() {
    on_both(async |store| {
        let rig = rig(store).await;
        let claim = rig.add("pump-7").await;
        rig.enrol(&claim, &key(1)).await;
        let why = async |action: &str, topic: &str| {
            rig.get(&format!("/v1/why?device=pump-7&action={action}&topic={topic}")).await
        };
        let own = why("publish", "main/pump/pump-7/telemetry/flow").await;
        assert_eq!(own["effect"], "allow", "{own}");
        assert!(!own["policies"].as_array().unwrap().is_empty());
        assert_eq!(own["binding"]["device"], "pump-7");
        let other = why("publish", "main/pump/pump-8/telemetry/flow").await;
        assert_eq!(other["effect"], "deny", "{other}");
        let nowhere = why("publish", "somewhere/else").await;
        assert_eq!(nowhere["effect"], "deny");
        let connect = rig.get("/v1/why?device=pump-7&action=connect").await;
        assert_eq!(connect["effect"], "allow", "{connect}");
        for bad in [
            "device=pump-7&action=fly",
            "device=nobody&action=connect",
            "device=pump-7&action=publish",
        ] {
            let answer = rig.local(Method::GET, &format!("/v1/why?{bad}"), Value::Null).await;
            assert!(answer.status.is_client_error(), "{bad}: {answer:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn quarantine_denies_even_connecting_and_names_the_policy() {
    on_both(async |store| {
        let rig = rig(store).await;
        let claim = rig.add("pump-7").await;
        rig.enrol(&claim, &key(1)).await;
        rig.post("/v1/devices/pump-7/quarantine", json!({"reason": "scans"})).await;
        let why = rig.get("/v1/why?device=pump-7&action=connect").await;
        assert_eq!(why["effect"], "deny", "{why}");
        assert_eq!(why["policies"][0]["effect"], "forbid", "{why}");
    })
    .await;
}

#[tokio::test]
async fn a_policy_is_checked_changed_by_version_and_told_to_the_gateways() {
    on_both(async |store| {
        let mut rig = rig(store).await;
        let now = rig.get("/v1/policy").await;
        let source = "permit (principal, action, resource) when { principal.colour == 1 };";
        let bad = json!({"source": source, "namespaces": now["namespaces"]});
        let checked = rig.post("/v1/policy/check", bad.clone()).await;
        assert_eq!(checked.body["ok"], false, "{checked:?}");
        assert_eq!(checked.body["problems"][0]["line"], 1);
        let mut change = bad;
        change["expected_version"] = now["version"].clone();
        let refused = rig.local(Method::PUT, "/v1/policy", change.clone()).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);

        change["source"] = json!(format!("{}\n// reviewed", now["source"].as_str().unwrap()));
        let changed = rig.local(Method::PUT, "/v1/policy", change.clone()).await;
        assert_eq!(changed.status, StatusCode::OK, "{changed:?}");
        assert_eq!(
            changed.body["version"].as_u64(),
            now["version"].as_u64().map(|version| version + 1)
        );
        assert!(matches!(rig.moves.try_recv(), Ok(Moved::Policy)));
        let stale = rig.local(Method::PUT, "/v1/policy", change).await;
        assert_eq!(stale.status, StatusCode::CONFLICT);
        assert_eq!(
            rig.told("kind=policy.changed").await,
            ["local changed the policy to version 2"]
        );
    })
    .await;
}

#[tokio::test]
async fn an_unknown_decision_is_not_found_and_a_malformed_one_is_refused() {
    on_both(async |store| {
        let rig = rig(store).await;
        let unknown = rig.local(Method::GET, "/v1/decisions/d-0000000000000000", Value::Null).await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND, "{unknown:?}");
        let malformed = rig.local(Method::GET, "/v1/decisions/d-1", Value::Null).await;
        assert_eq!(malformed.status, StatusCode::BAD_REQUEST);
    })
    .await;
}

#[tokio::test]
async fn an_alert_names_a_decision_only_if_it_is_kept() {
    on_both(async |store| {
        let rig = rig(store).await;
        rig.add("pump-7").await;
        let decision: ::policy::DecisionId = "d-0000000000000007".parse().unwrap();
        for (topic, text) in [
            (Some("a/b"), "it was denied to publish a/b; ask why with d-0000000000000007"),
            (None, "it was denied to publish: no rule grants this"),
        ] {
            let now = rig.centre.now();
            let denied = Observation::Denied {
                decision,
                device: "pump-7".parse().unwrap(),
                action: Action::Publish,
                topic: topic.map(Excerpt::of),
                cause: Cause::NotGranted,
                policies: Vec::new(),
                epoch: Epoch::default(),
                count: 1,
                first: now,
                last: now,
            };
            crate::standing::record_at_last(&rig.centre, &[denied]).await.unwrap();
            let device = rig.get("/v1/devices/pump-7").await;
            assert_eq!(device["attention"][0]["text"], text);
            let kept =
                rig.local(Method::GET, "/v1/decisions/d-0000000000000007", Value::Null).await;
            assert_eq!(kept.status, StatusCode::OK);
        }
    })
    .await;
}
