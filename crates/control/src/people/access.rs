//! Who calls, and what the caller may do. Every route names a role by taking one of the three
//! extractors; a route without one answers strangers.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use base64ct::{Base64UrlUnpadded, Encoding as _};
use sha2::{Digest as _, Sha256};

use super::store;
use crate::centre::Centre;
use crate::problem::Problem;
use crate::record::Actor;

/// What a caller may do; each role may do all that the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Sees everything and changes nothing.
    Viewer,
    /// Works on devices.
    Operator,
    /// Changes policy and people.
    Administrator,
}

/// Who calls.
#[derive(Debug, Clone)]
pub(crate) struct Principal {
    pub(crate) actor: Actor,
    pub(crate) role: Role,
    /// The digest of the browser session, if it is one.
    pub(crate) session: Option<Vec<u8>>,
}

/// Marks connections of the local socket, whose peer is administrator by the socket's permissions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Local;

/// Marks connections of the network with the address they come from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Remote(pub(crate) IpAddr);

/// The address that a request comes from; the local socket counts as this machine.
pub(crate) struct Address(pub(crate) IpAddr);

impl<S: Send + Sync> FromRequestParts<S> for Address {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let remote = parts.extensions.get::<Remote>();
        Ok(Self(remote.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |Remote(ip)| *ip)))
    }
}

/// The caller is on this machine and uses its socket.
pub(crate) struct FromHere;

impl<S: Send + Sync> FromRequestParts<S> for FromHere {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let local = parts.extensions.get::<Local>().map(|_| Self);
        local.ok_or_else(|| Problem::forbidden("this is done on the server's own machine only"))
    }
}

/// The caller may see.
pub(crate) struct AsViewer(pub(crate) Principal);
/// The caller may work on devices.
pub(crate) struct AsOperator(pub(crate) Principal);
/// The caller may change policy and people.
pub(crate) struct AsAdministrator(pub(crate) Principal);

/// The session cookie's name; the prefix binds it to this host, path and TLS.
pub(crate) const COOKIE: &str = "__Host-palisade";

impl Role {
    /// Names the role.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Administrator => "administrator",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "viewer" => Ok(Self::Viewer),
            "operator" => Ok(Self::Operator),
            "administrator" => Ok(Self::Administrator),
            _ => Err("a role is `viewer`, `operator` or `administrator`"),
        }
    }
}

impl Principal {
    fn at_least(self, role: Role) -> Result<Self, Problem> {
        if self.role >= role {
            return Ok(self);
        }
        let (has, needs) = (self.role.as_str(), role.as_str());
        Err(Problem::forbidden(format!("your role is `{has}`; this needs `{needs}`")))
    }
}

macro_rules! extractor {
    ($name:ident, $role:expr) => {
        impl FromRequestParts<Arc<Centre>> for $name {
            type Rejection = Problem;

            async fn from_request_parts(
                parts: &mut Parts,
                centre: &Arc<Centre>,
            ) -> Result<Self, Problem> {
                Ok(Self(principal(parts, centre).await?.at_least($role)?))
            }
        }
    };
}

extractor!(AsViewer, Role::Viewer);
extractor!(AsOperator, Role::Operator);
extractor!(AsAdministrator, Role::Administrator);

async fn principal(parts: &Parts, centre: &Centre) -> Result<Principal, Problem> {
    Credential::of(parts)?.principal(centre).await
}

/// What a caller shows for itself.
enum Credential {
    Local,
    Token { digest: Vec<u8> },
    Session { digest: Vec<u8> },
}

impl Credential {
    fn of(parts: &Parts) -> Result<Self, Problem> {
        if parts.extensions.get::<Local>().is_some() {
            return Ok(Self::Local);
        }
        if let Some(token) = bearer(&parts.headers) {
            return Ok(Self::Token { digest: digest(token) });
        }
        let Some(cookie) = cookie(&parts.headers) else {
            return Err(Problem::unauthenticated("nobody is signed in; sign in or send a token"));
        };
        same_origin(parts)?;
        Ok(Self::Session { digest: digest(cookie) })
    }

    /// Looks up whose it is now.
    async fn principal(&self, centre: &Centre) -> Result<Principal, Problem> {
        let now = centre.now();
        match self {
            Self::Local => {
                let actor = Actor::Operator("local".to_owned());
                Ok(Principal { actor, role: Role::Administrator, session: None })
            }
            Self::Token { digest } => {
                let mut read = centre.store.read().await?;
                let found = store::token(&mut read.connection(), digest, now).await?;
                let (name, role) = found.ok_or_else(|| {
                    Problem::unauthenticated(
                        "the token is not known or has expired; make a new one",
                    )
                })?;
                Ok(Principal { actor: Actor::Token(name), role, session: None })
            }
            Self::Session { digest } => {
                let mut read = centre.store.read().await?;
                let found = store::session(&mut read.connection(), digest, now).await?;
                let (name, role, _) = found.ok_or_else(|| {
                    Problem::unauthenticated("the session has ended; sign in again")
                })?;
                let session = Some(digest.clone());
                Ok(Principal { actor: Actor::Operator(name), role, session })
            }
        }
    }
}

/// A caller that may see, and whose answer lasts longer than a moment: it is asked for again and
/// again whether it still may.
pub(crate) struct Watcher(Credential);

impl Watcher {
    /// Tells whether the caller may still see.
    pub(crate) async fn may_watch(&self, centre: &Centre) -> bool {
        let principal = self.0.principal(centre).await;
        principal.and_then(|principal| principal.at_least(Role::Viewer)).is_ok()
    }
}

impl FromRequestParts<Arc<Centre>> for Watcher {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, centre: &Arc<Centre>) -> Result<Self, Problem> {
        let credential = Credential::of(parts)?;
        credential.principal(centre).await?.at_least(Role::Viewer)?;
        Ok(Self(credential))
    }
}

/// A browser says by itself from where a request comes; without that word, a cookie alone changes
/// nothing.
fn same_origin(parts: &Parts) -> Result<(), Problem> {
    if matches!(parts.method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    match parts.headers.get("sec-fetch-site").map(axum::http::HeaderValue::as_bytes) {
        Some(b"same-origin") => Ok(()),
        Some(_) | None => Err(Problem::forbidden(
            "a session may only act from its own page (`Sec-Fetch-Site: same-origin`); programs use a token",
        )),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value)
}

/// Secrets that callers hold are kept as hashes: they have full entropy, so one plain hash suffices.
pub(crate) fn digest(secret: &str) -> Vec<u8> {
    Sha256::digest(secret.as_bytes()).to_vec()
}

/// Writes 32 random bytes as a secret that fits a header, a cookie or a link.
pub(crate) fn secret(prefix: &str, bytes: &[u8; 32]) -> String {
    format!("{prefix}{}", Base64UrlUnpadded::encode_string(bytes))
}
