//! What a fuzz target calls: any bytes give a value or a refusal in one short line. A request is
//! read by the extractor and the types of its own route, as far as that goes without the store.

use axum::body::Body;
use axum::extract::{FromRequest as _, FromRequestParts as _};
use axum::http::{Request, Uri, header};
use futures_util::FutureExt as _;
use serde::de::DeserializeOwned;

use crate::body::{Json, Query};
use crate::problem::{MAX_DETAIL, Problem};
use crate::{enrolment, people, policies, record, registry, response};

pub use crate::custody::fuzz::ask;

/// A route, and how what a request brings to it is read.
pub(crate) type Read = (&'static str, fn(&[u8]) -> Result<(), Problem>);

/// What the routes read, each capability's own list.
const READS: [&[Read]; 6] = [
    people::READS,
    registry::READS,
    enrolment::READS,
    response::READS,
    policies::READS,
    record::READS,
];

/// Reads a request: a route on the first line, then the body, or the query string of a `GET`.
pub fn request(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (Some(route), Some(rest)) = (parts.next(), parts.next()) else { return };
    let mut reads = READS.iter().copied().flatten();
    let Some((_, read)) = reads.find(|(name, _)| name.as_bytes() == route) else { return };
    if let Err(problem) = read(rest) {
        let detail = problem.detail();
        assert!(detail.chars().count() <= MAX_DETAIL, "{detail:?}");
        assert!(!detail.chars().any(char::is_control), "{detail:?}");
    }
}

/// Reads a JSON body.
pub(crate) fn body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut request = Request::new(Body::from(bytes.to_vec()));
    let json = header::HeaderValue::from_static("application/json");
    request.headers_mut().insert(header::CONTENT_TYPE, json);
    let read = Json::from_request(request, &()).now_or_never();
    read.expect("a body in memory is there at once").map(|Json(body)| body)
}

/// Reads a query string.
pub(crate) fn query<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut uri = b"/?".to_vec();
    uri.extend(bytes);
    let uri = Uri::try_from(uri).map_err(Problem::malformed)?;
    let mut request = Request::new(());
    *request.uri_mut() = uri;
    let (mut parts, ()) = request.into_parts();
    let read = Query::from_request_parts(&mut parts, &()).now_or_never();
    read.expect("a query string is there at once").map(|Query(query)| query)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_that_reads_a_body_or_a_query_is_fuzzed() {
        let api: serde_json::Value = serde_json::from_str(&crate::description()).unwrap();
        let mut described = BTreeSet::new();
        for (path, methods) in api["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let parameters = operation["parameters"].as_array().into_iter().flatten();
                let asks = parameters.filter(|parameter| parameter["in"] == "query").count() > 0;
                if asks || operation.get("requestBody").is_some() {
                    described.insert(format!("{} {path}", method.to_uppercase()));
                }
            }
        }
        let read = READS.iter().copied().flatten().map(|(route, _)| (*route).to_owned());
        assert_eq!(read.collect::<BTreeSet<_>>(), described);
    }

    #[test]
    fn a_body_in_memory_is_read_and_what_is_wrong_with_it_said() {
        assert_eq!(body::<Vec<u8>>(b"[1]").unwrap(), [1]);
        assert!(body::<Vec<u8>>(b"[").unwrap_err().detail().contains("EOF"));
    }
}
