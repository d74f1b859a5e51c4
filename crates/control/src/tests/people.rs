//! Signing in, roles, tokens, lock-out, and being forgotten.

use super::*;

const PASSWORD: &str = "correct horse battery";

impl Rig {
    async fn sign_in(&self, name: &str, password: &str) -> Answer {
        let body = json!({"name": name, "password": password});
        self.send(request(Method::POST, "/v1/session", body)).await
    }

    /// Uses the first administrator's link and gives the session cookie.
    async fn first_sign_in(&self) -> String {
        let token = self.link.strip_prefix("/welcome#").unwrap();
        let body = json!({"token": token, "password": PASSWORD});
        let answer = self.send(request(Method::POST, "/v1/session/link", body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        cookie(&answer)
    }

    async fn with_cookie(
        &self,
        method: Method,
        path: &str,
        body: Value,
        cookie: &str,
        site: &str,
    ) -> Answer {
        let mut request = request(method, path, body);
        request.headers_mut().insert(header::COOKIE, cookie.parse().unwrap());
        if !site.is_empty() {
            request.headers_mut().insert("sec-fetch-site", site.parse().unwrap());
        }
        self.send(request).await
    }

    pub(super) async fn with_token(
        &self,
        method: Method,
        path: &str,
        body: Value,
        token: &str,
    ) -> Answer {
        let mut request = request(method, path, body);
        request
            .headers_mut()
            .insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        self.send(request).await
    }

    pub(super) async fn token(&self, role: &str) -> String {
        let body = json!({"name": format!("{role}-bot"), "role": role, "expires_in_days": 30});
        let answer = self.post("/v1/tokens", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.body["text"].as_str().unwrap().to_owned()
    }
}

fn cookie(answer: &Answer) -> String {
    let set = answer.cookie.clone().unwrap();
    for attribute in ["Secure", "HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(set.contains(attribute), "{set}");
    }
    set.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn the_link_works_once_and_the_password_from_then_on() {
    on_both(async |store| {
        let rig = rig(store).await;
        let session = rig.first_sign_in().await;
        let who = rig.with_cookie(Method::GET, "/v1/session", Value::Null, &session, "").await;
        assert_eq!(who.body["operator"], json!({"name": "admin", "role": "administrator"}));
        let token = rig.link.strip_prefix("/welcome#").unwrap();
        let body = json!({"token": token, "password": "another long password"});
        let again = rig.send(request(Method::POST, "/v1/session/link", body)).await;
        assert_eq!(again.status, StatusCode::UNAUTHORIZED);
        assert_eq!(rig.sign_in("admin", PASSWORD).await.status, StatusCode::OK);
        assert_eq!(rig.sign_in("admin", "wrong").await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(rig.sign_in("nobody", PASSWORD).await.status, StatusCode::UNAUTHORIZED);
    })
    .await;
}

#[tokio::test]
async fn a_session_acts_only_from_its_own_page_and_ends_when_told() {
    on_both(async |store| {
        let rig = rig(store).await;
        let session = rig.first_sign_in().await;
        let body = json!({"id": "pump-7", "kind": "pump", "zone": "a"});
        for site in ["", "cross-site", "same-site", "none"] {
            let answer =
                rig.with_cookie(Method::POST, "/v1/devices", body.clone(), &session, site).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{site:?}");
        }
        let answer =
            rig.with_cookie(Method::POST, "/v1/devices", body, &session, "same-origin").await;
        assert_eq!(answer.status, StatusCode::CREATED);
        let out = rig
            .with_cookie(Method::DELETE, "/v1/session", Value::Null, &session, "same-origin")
            .await;
        assert_eq!(out.status, StatusCode::NO_CONTENT);
        let gone = rig.with_cookie(Method::GET, "/v1/fleet", Value::Null, &session, "").await;
        assert_eq!(gone.status, StatusCode::UNAUTHORIZED);
    })
    .await;
}

#[tokio::test]
async fn each_role_may_do_its_own_and_no_more() {
    on_both(async |store| {
        let rig = rig(store).await;
        let add = json!({"id": "pump-7", "kind": "pump", "zone": "a"});
        let operators = json!({"name": "eve", "role": "administrator"});
        let calls = [
            (Method::GET, "/v1/fleet", Value::Null, 1),
            (Method::POST, "/v1/devices", add, 2),
            (Method::POST, "/v1/operators", operators, 3),
        ];
        for (level, role) in [(1, "viewer"), (2, "operator"), (3, "administrator")] {
            let token = rig.token(role).await;
            for (method, path, body, needs) in calls.clone() {
                let answer = rig.with_token(method, path, body, &token).await;
                let refused = answer.status == StatusCode::FORBIDDEN;
                assert_eq!(refused, level < needs, "{role} {path}: {answer:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_revoked_token_is_dead_at_once_and_none_is_kept_readable() {
    on_both(async |store| {
        let rig = rig(store).await;
        let token = rig.token("viewer").await;
        let alive = rig.with_token(Method::GET, "/v1/fleet", Value::Null, &token).await;
        assert_eq!(alive.status, StatusCode::OK);
        let list = rig.get("/v1/tokens").await;
        assert!(!list.to_string().contains(&token));
        let id = list["items"][0]["id"].as_str().unwrap();
        rig.local(Method::DELETE, &format!("/v1/tokens/{id}"), Value::Null).await;
        let dead = rig.with_token(Method::GET, "/v1/fleet", Value::Null, &token).await;
        assert_eq!(dead.status, StatusCode::UNAUTHORIZED);
    })
    .await;
}

#[tokio::test]
async fn guessing_locks_the_operator_out_for_a_while() {
    on_both(async |store| {
        let rig = rig(store).await;
        rig.first_sign_in().await;
        for _ in 0..5 {
            let wrong = rig.sign_in("admin", "a wrong password").await;
            assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
        }
        let right = rig.sign_in("admin", PASSWORD).await;
        assert_eq!(
            right.status,
            StatusCode::UNAUTHORIZED,
            "locked out, even with the right password"
        );
        let told = rig.told("kind=operator.locked").await;
        assert!(told[0].starts_with("an operator was locked out until "), "{told:?}");
        let mut last = right.status;
        for _ in 0..30 {
            last = rig.sign_in("nobody", "x").await.status;
        }
        assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    })
    .await;
}

#[tokio::test]
async fn a_forgotten_person_is_gone_from_the_record_which_stays_whole() {
    on_both(async |store| {
        let rig = rig(store).await;
        rig.first_sign_in().await;
        let invited = rig.post("/v1/operators", json!({"name": "ana", "role": "operator"})).await;
        let token = invited.body["link"].as_str().unwrap().strip_prefix("/welcome#").unwrap();
        let body = json!({"token": token, "password": PASSWORD});
        rig.send(request(Method::POST, "/v1/session/link", body)).await;
        assert_eq!(rig.told("kind=operator.signed-in").await[0], "ana signed in");
        let session = rig.sign_in("ana", PASSWORD).await;
        let session = cookie(&session);
        rig.add("pump-7").await;
        let cut = json!({"reason": "scans"});
        let path = "/v1/devices/pump-7/quarantine";
        let cut = rig.with_cookie(Method::POST, path, cut, &session, "same-origin").await;
        assert_eq!(cut.body["quarantined"]["by"], "operator ana", "{cut:?}");
        rig.settle().await;
        let size = rig.centre.recorder.record().n_events();
        let root = rig.centre.recorder.record().root(size).unwrap();

        let gone = rig.local(Method::DELETE, "/v1/operators/ana", Value::Null).await;
        assert_eq!(gone.status, StatusCode::NO_CONTENT);
        assert_eq!(rig.told("kind=operator.signed-in").await[0], "someone forgotten signed in");
        assert_eq!(rig.centre.recorder.record().root(size).unwrap(), root);
        let device = rig.get("/v1/devices/pump-7").await;
        assert_eq!(device["quarantined"]["by"], "operator someone forgotten");
        let events = rig.get("/v1/events?limit=500").await.to_string();
        assert!(!events.contains("\"ana\"") && !events.contains("ana "), "{events}");
        let last = rig.local(Method::DELETE, "/v1/operators/admin", Value::Null).await;
        assert_eq!(last.status, StatusCode::CONFLICT, "the last administrator stays");
        let less = json!({"name": "admin", "role": "viewer"});
        let less = rig.local(Method::POST, "/v1/operators", less).await;
        assert_eq!(less.status, StatusCode::CONFLICT, "and stays one");
    })
    .await;
}

#[tokio::test]
async fn one_address_cannot_ask_without_end() {
    let folder = tempfile::tempdir().unwrap();
    let rig = rig(Store::open_file(&folder.path().join("store.sqlite")).await.unwrap()).await;
    let ask = async |from: &str| {
        let mut request = request(Method::GET, "/healthz", Value::Null);
        request.extensions_mut().insert(crate::people::Remote(from.parse().unwrap()));
        rig.send(request).await.status
    };
    let mut n_answered = 0;
    while ask("192.0.2.7").await == StatusCode::OK {
        n_answered += 1;
        assert!(n_answered < 100_000, "there is no bound");
    }
    assert_eq!(ask("192.0.2.8").await, StatusCode::OK);
    assert_eq!(ask("127.0.0.1").await, StatusCode::OK);
}

#[tokio::test]
async fn whose_token_is_revoked_hears_nothing_more() {
    on_both(async |store| {
        let rig = rig(store).await;
        let body = json!({"name": "screen", "role": "viewer", "expires_in_days": 1});
        let token = rig.post("/v1/tokens", body).await.body;
        let mut asked = request(Method::GET, "/v1/events/stream", Value::Null);
        let bearer = format!("Bearer {}", token["text"].as_str().unwrap());
        asked.headers_mut().insert(header::AUTHORIZATION, bearer.parse().unwrap());
        let answer = rig.router.clone().oneshot(asked).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let mut body = answer.into_body();
        rig.add("pump-7").await;
        let heard = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(!heard.is_empty());

        let list = rig.get("/v1/tokens").await;
        let id = list["items"][0]["id"].to_string();
        let path = format!("/v1/tokens/{}", id.trim_matches('"'));
        let gone = rig.local(Method::DELETE, &path, Value::Null).await;
        assert_eq!(gone.status, StatusCode::NO_CONTENT);
        rig.add("pump-8").await;
        let mut rest = Vec::new();
        while let Some(frame) = body.frame().await {
            rest.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
        assert!(!String::from_utf8_lossy(&rest).contains("pump-8"));
    })
    .await;
}
