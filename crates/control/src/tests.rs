//! The API as its callers use it, on both databases, with a real custody behind it.

mod away;
mod enrolment;
mod people;
mod policy;
mod record;
mod registry;
mod restore;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use base64ct::{Base64, Encoding as _};
use http_body_util::BodyExt as _;
use identity::{P256Key, Signer as _};
use journal::vault::{SealingKey, SystemRandom};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower::ServiceExt as _;
use zeroize::Zeroizing;

use crate::centre::{Centre, Moved};
use crate::custody::{self, Custody};
use crate::people::Local;
use crate::store::Store;
use crate::store::tests::on_both;

/// Control as it stands after a first run, without its listeners.
pub(crate) struct Rig {
    pub(crate) centre: Arc<Centre>,
    pub(crate) router: Router,
    pub(crate) moves: mpsc::Receiver<Moved>,
    /// The first administrator's link.
    pub(crate) link: String,
    folder: tempfile::TempDir,
}

/// What a call answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
    pub(crate) cookie: Option<String>,
    pub(crate) kind: String,
}

pub(crate) async fn rig(store: Store) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let vault = folder.path().join("custody");
    std::fs::create_dir(&vault).unwrap();
    let secret = Zeroizing::new([7; 32]);
    custody::create(&vault, &secret, crate::clock::now(), &SystemRandom::new()).unwrap();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let setup = custody::Setup { folder: vault, secret, link: theirs.try_clone().unwrap() };
    let custodian = custody::load(&setup).unwrap();
    std::thread::spawn(move || custody::serve(custodian, theirs));
    let custody = Custody::start(ours).unwrap();
    let sealing = SealingKey::new(&Zeroizing::new([8; 32]));
    let control = folder.path().to_path_buf();
    let addresses = crate::Addresses {
        server: "https://broker.test:8443".to_owned(),
        broker: "broker.test:8883".to_owned(),
    };
    let (centre, moves) =
        crate::assemble(custody, store, control, sealing, addresses, "0.0.0").await.unwrap();
    let link = crate::first_steps(&centre, true).await.unwrap().unwrap();
    let router = crate::api::router(Arc::clone(&centre));
    Rig { centre, router, moves, link, folder }
}

impl Rig {
    /// Calls as the local command line does.
    pub(crate) async fn local(&self, method: Method, path: &str, body: Value) -> Answer {
        let mut request = request(method, path, body);
        request.extensions_mut().insert(Local);
        self.send(request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.local(Method::GET, path, Value::Null).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
        answer.body
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.local(Method::POST, path, body).await
    }

    pub(crate) fn send(
        &self,
        request: Request<Body>,
    ) -> impl Future<Output = Answer> + Send + use<> {
        answer(self.router.clone(), request)
    }

    /// Adds a device and gives its claim.
    pub(crate) async fn add(&self, id: &str) -> String {
        let body = json!({"id": id, "kind": "pump", "zone": "plant-a"});
        let answer = self.post("/v1/devices", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.body["claim"]["text"].as_str().unwrap().to_owned()
    }

    /// Enrols as a stranger does: with nothing but a claim.
    pub(crate) fn enrol(
        &self,
        claim: &str,
        key: &P256Key,
    ) -> impl Future<Output = Answer> + Send + use<> {
        let csr = identity::request::Request::make(key).unwrap();
        let body = json!({"claim": claim, "csr": Base64::encode_string(&csr)});
        self.send(request(Method::POST, "/v1/enrolment", body))
    }

    /// Waits until the outbox is empty and gives the sentences of the newest events.
    pub(crate) async fn told(&self, query: &str) -> Vec<String> {
        self.settle().await;
        let page = self.get(&format!("/v1/events?{query}")).await;
        let items = page["items"].as_array().unwrap();
        items.iter().map(|event| event["text"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until every event has left the outbox.
    pub(crate) async fn settle(&self) {
        loop {
            let mut read = self.centre.store.read().await.unwrap();
            let row =
                read.connection().row("select seq from outbox limit 1", Vec::new()).await.unwrap();
            if row.is_none() {
                return;
            }
            drop(read);
            tokio::task::yield_now().await;
        }
    }
}

async fn answer(router: Router, request: Request<Body>) -> Answer {
    let response = router.oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let status = head.status;
    let text = |name: header::HeaderName| {
        head.headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    let (cookie, kind) = (text(header::SET_COOKIE), text(header::CONTENT_TYPE).unwrap_or_default());
    let bytes = body.collect().await.unwrap().to_bytes();
    let plain = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
    let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| plain());
    Answer { status, body, cookie, kind }
}

pub(crate) fn request(method: Method, path: &str, body: Value) -> Request<Body> {
    let request = Request::builder().method(method).uri(path);
    match body {
        Value::Null => request.body(Body::empty()).unwrap(),
        body => {
            let request = request.header(header::CONTENT_TYPE, "application/json");
            request.body(Body::from(body.to_string())).unwrap()
        }
    }
}

pub(crate) fn key(seed: u8) -> P256Key {
    P256Key::from_random(&Zeroizing::new([seed; 32])).unwrap()
}

/// The certificate in an enrolment's answer.
pub(crate) fn certificate(answer: &Answer) -> identity::Certificate {
    let pem = answer.body["certificate"].as_str().unwrap();
    let text: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    identity::Certificate::parse(&Base64::decode_vec(&text).unwrap()).unwrap()
}

#[tokio::test]
async fn the_description_is_the_golden_one() {
    let golden = include_str!("../openapi.json");
    let described = crate::description();
    assert!(
        golden == described,
        "the API changed; if that is meant, write the new description with `cargo xtask openapi`"
    );
}

#[tokio::test]
async fn strangers_get_nothing_but_the_door() {
    let folder = tempfile::tempdir().unwrap();
    let rig = rig(Store::open_file(&folder.path().join("store.sqlite")).await.unwrap()).await;
    let description: Value = serde_json::from_str(&crate::description()).unwrap();
    let open =
        ["/v1/session", "/v1/session/link", "/v1/enrolment", "/v1/authority", "/v1/ledger/key"];
    for (path, methods) in description["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            if open.contains(&path.as_str()) && method != "delete" {
                continue;
            }
            let path = path.replace("{id}", "pump-7").replace("{name}", "ana");
            let method: Method = method.to_uppercase().parse().unwrap();
            let answer = rig.send(request(method.clone(), &path, Value::Null)).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}: {answer:?}");
        }
    }
    let answer = rig.send(request(Method::GET, "/v1/ledger/tile/0/000", Value::Null)).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let answer = rig.send(request(Method::GET, "/metrics", Value::Null)).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}
