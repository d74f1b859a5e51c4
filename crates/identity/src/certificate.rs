//! A certificate that was read: who holds it, with which key, for how long.
//!
//! Reading is not believing: [`crate::Chain::verify`] decides whether a certificate counts.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use core::fmt;
use core::net::IpAddr;

use der::asn1::ObjectIdentifier;
use der::{Decode as _, Encode as _};
use minicbor::{Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, SubjectAltName};

use crate::fingerprint::Fingerprint;
use crate::key::{KeyError, PublicKey};
use crate::name::DeviceId;
use crate::time::Time;

/// The largest certificate that is read, in bytes of DER.
pub const MAX_DER_LEN: usize = 16 * 1024;

/// What a device's certificate names in its subject alternative name, before the device's id.
pub const DEVICE_URI: &str = "urn:palisade:device:";

pub(crate) const OID_CLIENT_AUTH: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
pub(crate) const OID_SERVER_AUTH: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");

/// A certificate, parsed once from its DER.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Box<[u8]>,
    fingerprint: Fingerprint,
    serial: Serial,
    subject: String,
    issuer: String,
    holder: Holder,
    key: PublicKey,
    not_before: Time,
    not_after: Time,
}

/// Who a certificate says it is for.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Holder {
    /// A device, which may only act as a TLS client.
    #[n(0)]
    Device(#[n(0)] DeviceId),
    /// One of our servers, under the names that clients reach it by.
    #[n(1)]
    Server(#[n(0)] alloc::vec::Vec<ServerName>),
    /// A certification authority.
    #[n(2)]
    Authority {
        /// How many authorities may stand below it.
        #[n(0)]
        path_len: u8,
    },
    /// Somebody else: a certificate that is not of our making.
    #[n(3)]
    Stranger,
}

/// A name by which a server is reached.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ServerName {
    /// A host name.
    #[n(0)]
    Dns(#[n(0)] String),
    /// An address.
    #[n(1)]
    Ip(#[cbor(n(0), with = "ip")] IpAddr),
}

/// A certificate's serial number: 159 random bits, so that it is positive and fits 20 octets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Serial(#[cbor(with = "minicbor::bytes")] [u8; 20]);

/// Bytes are not a certificate that we read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// More bytes than any certificate of ours has.
    #[error("the certificate has {0} bytes; at most {MAX_DER_LEN} are read")]
    TooLong(usize),
    /// The bytes are not an X.509 certificate in DER.
    #[error("the certificate is not X.509 in DER: {0}")]
    Malformed(String),
    /// Its key is not one that we take.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A field has a value that no certificate may have.
    #[error("the certificate's {0}")]
    Field(&'static str),
}

impl Certificate {
    /// Reads a certificate in DER.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_DER_LEN {
            return Err(CertificateError::TooLong(der.len()));
        }
        let malformed = |e: der::Error| CertificateError::Malformed(e.to_string());
        let parsed = x509_cert::Certificate::from_der(der).map_err(malformed)?;
        let tbs = parsed.tbs_certificate();
        if tbs.signature() != parsed.signature_algorithm() {
            return Err(CertificateError::Field("two signature algorithms differ"));
        }
        let validity = tbs.validity();
        Ok(Self {
            der: der.into(),
            fingerprint: Fingerprint::of_der(der),
            serial: Serial::from_integer(tbs.serial_number().as_bytes())?,
            subject: tbs.subject().to_string(),
            issuer: tbs.issuer().to_string(),
            holder: holder(tbs)?,
            key: PublicKey::from_spki(&tbs.subject_public_key_info().to_der().map_err(malformed)?)?,
            not_before: Time::from_unix(validity.not_before.to_unix_duration()),
            not_after: Time::from_unix(validity.not_after.to_unix_duration()),
        })
    }

    /// Lends the DER as it was received.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Gives the fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Gives the serial number.
    pub fn serial(&self) -> Serial {
        self.serial
    }

    /// Lends the subject's distinguished name, as text for people.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Lends the issuer's distinguished name, as text for people.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Lends who it is for.
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    /// Lends the device's id, if a device holds it.
    pub fn device(&self) -> Option<&DeviceId> {
        match &self.holder {
            Holder::Device(id) => Some(id),
            Holder::Server(_) | Holder::Authority { .. } | Holder::Stranger => None,
        }
    }

    /// Lends the holder's public key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Gives the first second at which it is valid.
    pub fn not_before(&self) -> Time {
        self.not_before
    }

    /// Gives the last second at which it is valid.
    pub fn not_after(&self) -> Time {
        self.not_after
    }

    /// Says whether its validity covers a point in time.
    pub fn covers(&self, now: Time) -> bool {
        self.not_before <= now && now.whole_seconds() <= self.not_after
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.fingerprint, self.holder)
    }
}

fn holder(tbs: &x509_cert::TbsCertificate) -> Result<Holder, CertificateError> {
    let malformed = |e: der::Error| CertificateError::Malformed(e.to_string());
    let constraints = tbs.get_extension::<BasicConstraints>().map_err(malformed)?;
    let usages = tbs.get_extension::<ExtendedKeyUsage>().map_err(malformed)?;
    let names = tbs.get_extension::<SubjectAltName>().map_err(malformed)?;
    if let Some((_, BasicConstraints { ca: true, path_len_constraint })) = constraints {
        return Ok(Holder::Authority { path_len: path_len_constraint.unwrap_or(u8::MAX) });
    }
    let usages = usages.map(|(_, usages)| usages.0).unwrap_or_default();
    let names = names.map(|(_, names)| names.0).unwrap_or_default();
    if usages == [OID_CLIENT_AUTH]
        && let [GeneralName::UniformResourceIdentifier(uri)] = names.as_slice()
        && let Some(id) = uri.as_str().strip_prefix(DEVICE_URI)
    {
        // A URI of ours that names no possible device is an attack or our bug, never a stranger's.
        let id = id.parse().map_err(|_| CertificateError::Field("device URI names no device"))?;
        return Ok(Holder::Device(id));
    }
    if usages == [OID_SERVER_AUTH] {
        let names = names.iter().filter_map(ServerName::from_general).collect();
        return Ok(Holder::Server(names));
    }
    Ok(Holder::Stranger)
}

impl ServerName {
    fn from_general(name: &GeneralName) -> Option<Self> {
        match name {
            GeneralName::DnsName(name) => Some(Self::Dns(name.as_str().to_string())),
            GeneralName::IpAddress(octets) => {
                let octets = octets.as_bytes();
                let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
                v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok().map(Self::Ip)
            }
            _ => None,
        }
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}

impl core::str::FromStr for ServerName {
    type Err = ServerNameError;

    fn from_str(text: &str) -> Result<Self, ServerNameError> {
        if let Ok(ip) = text.parse() {
            return Ok(Self::Ip(ip));
        }
        let name = rustls_pki_types::DnsName::try_from(text).map_err(|_| ServerNameError)?;
        Ok(Self::Dns(name.as_ref().to_ascii_lowercase()))
    }
}

/// A text is neither a host name nor an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a server's name is a host name such as `palisade.example` or an address such as `192.0.2.7`"
)]
pub struct ServerNameError;

impl Serial {
    /// Makes a serial number of 160 random bits, of which the highest is cleared.
    pub fn from_random(mut bytes: [u8; 20]) -> Self {
        bytes[0] &= 0x7f;
        Self(bytes)
    }

    /// Takes the 20 bytes of an existing serial number.
    pub fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    fn from_integer(octets: &[u8]) -> Result<Self, CertificateError> {
        let octets = octets.strip_prefix(&[0]).unwrap_or(octets);
        let mut bytes = [0; 20];
        let start = bytes.len().checked_sub(octets.len());
        let place = start.and_then(|start| bytes.get_mut(start..));
        let place =
            place.ok_or(CertificateError::Field("serial number has more than 20 octets"))?;
        place.copy_from_slice(octets);
        Ok(Self(bytes))
    }

    /// Lends the 20 bytes, big end first.
    pub fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Addresses in CBOR: 4 or 16 bytes.
mod ip {
    use core::net::IpAddr;
    use minicbor::decode::{Decoder, Error as DecodeError};
    use minicbor::encode::{Encoder, Error as EncodeError, Write};

    pub(super) fn encode<C, W: Write>(
        ip: &IpAddr,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        match ip {
            IpAddr::V4(ip) => e.bytes(&ip.octets())?.ok(),
            IpAddr::V6(ip) => e.bytes(&ip.octets())?.ok(),
        }
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<IpAddr, DecodeError> {
        let bytes = d.bytes()?;
        if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
            return Ok(v4.into());
        }
        let v6 = <[u8; 16]>::try_from(bytes);
        v6.map(IpAddr::from).map_err(|_| DecodeError::message("an address has 4 or 16 bytes"))
    }
}
