//! What an API call answers when it does not do what was asked (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tracing::{error, warn};
use utoipa::ToSchema;

use crate::custody::AskError;
use crate::store::StoreError;

/// A problem in the sense of RFC 9457.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Always `about:blank`: the code tells kinds of problems apart.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The HTTP status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What was found, what was expected and what to do next.
    detail: String,
    /// A stable word for programs.
    code: &'static str,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        let detail = one_line(detail.into());
        Self { kind: "about:blank", title, status: status.as_u16(), detail, code }
    }

    /// Lends what is said of it.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The request does not parse.
    pub(crate) fn malformed(detail: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail.to_string())
    }

    /// Nobody is signed in, or the credential is not good.
    pub(crate) fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
    }

    /// Who is signed in may not do this.
    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// There is no such thing.
    pub(crate) fn not_found(what: &str, name: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", format!("there is no {what} `{name}`"))
    }

    /// It cannot be done in the state that things are in.
    pub(crate) fn conflict(detail: impl ToString) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail.to_string())
    }

    /// Too much at once.
    pub(crate) fn too_many(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many", detail)
    }

    /// We could not; the peer did nothing wrong.
    pub(crate) fn unavailable(detail: impl ToString) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail.to_string())
    }

    /// Whether it may go by itself, and the same is worth a try later.
    pub(crate) fn is_passing(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE.as_u16()
    }

    /// Our bug or broken machine: logged here, not told in detail.
    pub(crate) fn internal(error: &dyn std::fmt::Display) -> Self {
        error!(%error, "a request failed on our side");
        let detail = "something failed on the server; its log says what";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }
}

/// The most characters of a detail: it may quote what a stranger sent.
pub(crate) const MAX_DETAIL: usize = 1000;

/// Puts a detail on one line of bounded length.
fn one_line(detail: String) -> String {
    let is_plain = |text: &str| text.len() <= MAX_DETAIL && !text.chars().any(char::is_control);
    if is_plain(&detail) {
        return detail;
    }
    let on_one_line = |c: char| if c.is_control() { ' ' } else { c };
    let mut line: String = detail.chars().take(MAX_DETAIL).map(on_one_line).collect();
    if detail.chars().nth(MAX_DETAIL).is_some() {
        line.pop();
        line.push('…');
    }
    line
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_away() {
            warn!(%error, "a request was turned away, since the store's server is not there");
            Self::unavailable("the store's server is not there; try again in a moment")
        } else if error.is_full() {
            error!(%error, "a request failed, since the disk is full");
            Self::unavailable("the disk of the server is full; make room and try again")
        } else {
            Self::internal(&error)
        }
    }
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Gone => {
                Self::unavailable("the signing process is not there; try again in a moment")
            }
            AskError::Refused(_) => Self::internal(&error),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(self)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if status == StatusCode::TOO_MANY_REQUESTS {
            let soon = HeaderValue::from_static("10");
            response.headers_mut().insert(header::RETRY_AFTER, soon);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_is_one_line_of_bounded_length_whatever_it_quotes() {
        let told = |detail: &str| Problem::malformed(detail).detail;
        assert_eq!(told("a name holds `/`"), "a name holds `/`");
        assert_eq!(told("unknown field `a\r\n\u{1b}[2J`"), "unknown field `a   [2J`");
        let endless = told(&"ü".repeat(100_000));
        assert_eq!(endless.chars().count(), MAX_DETAIL);
        assert!(endless.ends_with("ü…"));
        assert_eq!(told(&"ü".repeat(MAX_DETAIL)), "ü".repeat(MAX_DETAIL));
    }
}
