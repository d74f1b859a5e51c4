//! Causes: the closed list of why a request was allowed or denied.

use core::fmt;
use core::str::FromStr;

use minicbor::{Decode, Encode};

/// Allowed or denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It may happen.
    Allow,
    /// It may not.
    Deny,
}

/// Why a request was allowed or denied, as far as the peer may know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Cause {
    /// A policy permits it and none forbids it: the only cause that allows.
    #[n(0)]
    Granted,
    /// A policy forbids it.
    #[n(1)]
    Forbidden,
    /// No policy permits it.
    #[n(2)]
    NotGranted,
    /// The topic or filter belongs to no namespace.
    #[n(3)]
    NoNamespace,
    /// The filter reaches into a namespace and beyond it.
    #[n(4)]
    TooWide,
    /// The certificate belongs to no device.
    #[n(5)]
    UnknownDevice,
    /// The certificate was revoked.
    #[n(6)]
    Revoked,
    /// The device's stage is neither claimed nor active.
    #[n(7)]
    NotActive,
    /// The device is cut off.
    #[n(8)]
    Quarantined,
    /// A policy that may forbid it could not be evaluated.
    #[n(9)]
    PolicyError,
    /// There is no policy that could be used.
    #[n(10)]
    PolicyUnusable,
    /// The client identifier is not this device's.
    #[n(11)]
    ClientId,
    /// The certificate has expired.
    #[n(12)]
    Expired,
    /// Only the server publishes there.
    #[n(13)]
    ServersOwn,
}

impl Cause {
    /// All causes.
    pub const ALL: [Self; 14] = [
        Self::Granted,
        Self::Forbidden,
        Self::NotGranted,
        Self::NoNamespace,
        Self::TooWide,
        Self::UnknownDevice,
        Self::Revoked,
        Self::NotActive,
        Self::Quarantined,
        Self::PolicyError,
        Self::PolicyUnusable,
        Self::ClientId,
        Self::Expired,
        Self::ServersOwn,
    ];

    /// Gives the effect that goes with it.
    pub fn effect(self) -> Effect {
        match self {
            Self::Granted => Effect::Allow,
            _ => Effect::Deny,
        }
    }

    /// Names the cause for programs; the names stay.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Forbidden => "forbidden",
            Self::NotGranted => "not-granted",
            Self::NoNamespace => "no-namespace",
            Self::TooWide => "too-wide",
            Self::UnknownDevice => "unknown-device",
            Self::Revoked => "revoked",
            Self::NotActive => "not-active",
            Self::Quarantined => "quarantined",
            Self::PolicyError => "policy-error",
            Self::PolicyUnusable => "policy-unusable",
            Self::ClientId => "client-id",
            Self::Expired => "expired",
            Self::ServersOwn => "servers-own",
        }
    }

    /// Says it in plain words, for the wire and for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Granted => "a rule grants this",
            Self::Forbidden => "a rule forbids this",
            Self::NotGranted => "no rule grants this",
            Self::NoNamespace => "the topic is in no declared namespace",
            Self::TooWide => "the filter is wider than one namespace",
            Self::UnknownDevice => "the certificate belongs to no device",
            Self::Revoked => "the certificate was revoked",
            Self::NotActive => "the device is not in service",
            Self::Quarantined => "the device is in quarantine",
            Self::PolicyError => "a rule could not be evaluated",
            Self::PolicyUnusable => "no usable rules are loaded",
            Self::ClientId => "the client identifier is not this device's",
            Self::Expired => "the certificate has expired",
            Self::ServersOwn => "only the server publishes there",
        }
    }
}

impl Effect {
    /// Names the effect.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text names no cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such cause; they are named like `not-granted`")]
pub struct CauseError;

impl FromStr for Cause {
    type Err = CauseError;

    fn from_str(text: &str) -> Result<Self, CauseError> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == text).ok_or(CauseError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_grant_allows() {
        for cause in Cause::ALL {
            assert_eq!(cause.effect() == Effect::Allow, cause == Cause::Granted, "{cause}");
        }
    }

    #[test]
    fn causes_are_read_as_they_are_written_and_keep_their_numbers() {
        for (number, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause.as_str().parse(), Ok(cause));
            assert_eq!(minicbor::to_vec(cause).unwrap(), minicbor::to_vec(number).unwrap());
        }
        assert!(minicbor::decode::<Cause>(&[14]).is_err());
    }
}
