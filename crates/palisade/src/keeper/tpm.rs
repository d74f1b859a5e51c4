//! A TPM 2.0: it seals the master key under its storage key, which it makes anew from its own seed.
//!
//! What crosses the bus is encrypted: sessions are salted with the storage key. The name of that
//! key stands with what was sealed, so that another TPM, or one that was cleared, is known at once,
//! and a TPM that was put between gets nothing.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;

use journal::vault::{Keeper, KeeperError, Kind};
use tss_esapi::attributes::{ObjectAttributesBuilder, SessionAttributesBuilder};
use tss_esapi::constants::SessionType;
use tss_esapi::constants::response_code::Tss2ResponseCodeKind;
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{
    Digest, EccPoint, EccScheme, KeyDerivationFunctionScheme, KeyedHashScheme, PcrSelectionList,
    PcrSlot, Private, Public, PublicBuilder, PublicEccParametersBuilder, PublicKeyedHashParameters,
    SensitiveData, SymmetricDefinition, SymmetricDefinitionObject,
};
use tss_esapi::tcti_ldr::TctiNameConf;
use tss_esapi::{Context, Error};
use zeroize::Zeroizing;

use crate::exit::{Exit, Failure};
use crate::keeper::sealed::{DIGEST_BYTES, NAME_BYTES, Sealed};
use quiet::Quiet;

mod quiet;

/// A TPM, named but not opened.
pub(crate) struct Tpm {
    name: String,
    reached: TctiNameConf,
    device: Option<PathBuf>,
    pcrs: BTreeSet<u8>,
}

/// An open TPM with its storage key; dropped, it leaves nothing in the TPM.
struct Connection {
    context: Context,
    storage: KeyHandle,
    storage_name: [u8; NAME_BYTES],
    /// Dropped after the context, which may have something to say.
    _quiet: Quiet,
}

impl Tpm {
    /// Names a TPM in its library's words, such as `device:/dev/tpmrm0`, and the PCRs to seal to.
    pub(crate) fn of(name: &str, pcrs: &BTreeSet<u8>) -> Result<Self, Failure> {
        let reached = TctiNameConf::from_str(name).map_err(|_| {
            let text = format!("`{name}` names no TPM; the usual one is `device:/dev/tpmrm0`");
            Failure::new(Exit::Usage, text)
        })?;
        let device = name.strip_prefix("device:").map(PathBuf::from);
        Ok(Self { name: name.into(), reached, device, pcrs: pcrs.clone() })
    }

    fn connect(&self) -> Result<Connection, KeeperError> {
        let name = &self.name;
        if let Some(device) = &self.device {
            // The library says only that it failed.
            let opened = std::fs::OpenOptions::new().read(true).write(true).open(device);
            drop(opened.map_err(|e| {
                KeeperError::Unusable(format!(
                    "cannot open the TPM `{}`: {e}; is it switched on in the firmware, and is \
                     this user in the group that owns it (`tss`)?",
                    device.display()
                ))
            })?);
        }
        let quiet = Quiet::begin();
        let mut context = Context::new(self.reached.clone()).map_err(|_| {
            KeeperError::Unusable(format!("no TPM answers at `{name}`; name another with --tpm"))
        })?;
        let made = context.execute_with_session(Some(AuthSession::Password), |context| {
            context.create_primary(Hierarchy::Owner, storage_key()?, None, None, None, None)
        });
        let storage = made.map_err(|e| match kind(&e) {
            Some(Tss2ResponseCodeKind::BadAuth | Tss2ResponseCodeKind::AuthFail) => {
                KeeperError::Refused(format!(
                    "the owner of the TPM `{name}` has a password; take it away with \
                     `tpm2_changeauth -c owner -p PASSWORD`"
                ))
            }
            Some(Tss2ResponseCodeKind::Hierarchy) => KeeperError::Refused(format!(
                "the owner's part of the TPM `{name}` is switched off; switch it on in the firmware"
            )),
            _ => self.failed("makes no storage key", &e),
        })?;
        let found = context.tr_get_name(storage.key_handle.into());
        let found = found.map_err(|e| self.failed("does not name its storage key", &e))?;
        let storage_name = found.value().try_into().map_err(|_| {
            KeeperError::Unusable(format!("the TPM `{name}` names its key in another way"))
        })?;
        let storage = storage.key_handle;
        Ok(Connection { context, storage, storage_name, _quiet: quiet })
    }

    fn failed(&self, what: &str, error: &Error) -> KeeperError {
        KeeperError::Unusable(format!("the TPM `{}` {what}: {error}", self.name))
    }
}

impl Keeper for Tpm {
    fn kind(&self) -> Kind {
        Kind::Tpm
    }

    fn wrap(&self, key: &[u8; 32]) -> Result<Vec<u8>, KeeperError> {
        let failed = |e: Error| self.failed("does not seal", &e);
        let mut connection = self.connect()?;
        let policy = match self.pcrs.is_empty() {
            true => None,
            false => Some(connection.policy(&self.pcrs).map_err(failed)?),
        };
        let (unique, private) = connection.seal(key, policy).map_err(failed)?;
        let sealed = Sealed {
            pcrs: self.pcrs.clone(),
            storage_name: connection.storage_name,
            policy,
            unique,
            private: &private,
        };
        Ok(sealed.to_bytes())
    }

    fn open(&self, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeeperError> {
        let sealed = Sealed::parse(wrapped).ok_or_else(malformed)?;
        if !self.pcrs.is_empty() && self.pcrs != sealed.pcrs {
            return Err(KeeperError::Refused(format!(
                "the master key is sealed to {}, the setting says {}; leave --tpm-pcrs out and \
                 change it with `palisade key rewrap`",
                listed(&sealed.pcrs),
                listed(&self.pcrs)
            )));
        }
        let mut connection = self.connect()?;
        if connection.storage_name != sealed.storage_name {
            return Err(KeeperError::Refused(format!(
                "the TPM `{}` did not seal the master key, or was cleared since; use the machine \
                 that did, or restore a backup",
                self.name
            )));
        }
        let opened = connection.unseal(&sealed).map_err(|e| match kind(&e) {
            Some(Tss2ResponseCodeKind::PolicyFail | Tss2ResponseCodeKind::PcrChanged) => {
                KeeperError::Refused(format!(
                    "the TPM `{}` does not open the master key, because {} changed since it was \
                     sealed; boot as before, or restore a backup",
                    self.name,
                    listed(&sealed.pcrs)
                ))
            }
            Some(
                Tss2ResponseCodeKind::Integrity
                | Tss2ResponseCodeKind::Size
                | Tss2ResponseCodeKind::Sensitive
                | Tss2ResponseCodeKind::Binding,
            ) => KeeperError::Refused(format!(
                "the TPM `{}` made the master key's seal, but it was changed since; restore \
                 `master.key` from a backup",
                self.name
            )),
            _ => self.failed("does not open the master key", &e),
        })?;
        let key = <[u8; 32]>::try_from(opened.value()).map_err(|_| malformed())?;
        Ok(Zeroizing::new(key))
    }
}

impl Connection {
    /// Asks what the policy of these PCRs is now.
    fn policy(&mut self, pcrs: &BTreeSet<u8>) -> Result<[u8; DIGEST_BYTES], Error> {
        let session = self.session(SessionType::Trial)?;
        let trial = PolicySession::try_from(session)?;
        self.context.policy_pcr(trial, Digest::default(), selection(pcrs)?)?;
        let digest = self.context.policy_get_digest(trial)?;
        digest.value().try_into().map_err(|_| unexpected())
    }

    fn seal(
        &mut self,
        key: &[u8; 32],
        policy: Option<[u8; DIGEST_BYTES]>,
    ) -> Result<([u8; DIGEST_BYTES], Vec<u8>), Error> {
        let session = self.session(SessionType::Hmac)?;
        let public = sealed_object(policy, None)?;
        let secret = SensitiveData::try_from(key.as_slice())?;
        let storage = self.storage;
        let made = self.context.execute_with_session(Some(session), |context| {
            context.create(storage, public, None, Some(secret), None, None)
        })?;
        let Public::KeyedHash { unique, .. } = made.out_public else { return Err(unexpected()) };
        let unique = unique.value().try_into().map_err(|_| unexpected())?;
        Ok((unique, made.out_private.value().to_vec()))
    }

    fn unseal(&mut self, sealed: &Sealed<'_>) -> Result<SensitiveData, Error> {
        let public = sealed_object(sealed.policy, Some(sealed.unique))?;
        let private = Private::try_from(sealed.private)?;
        let session = self.session(SessionType::Hmac)?;
        let storage = self.storage;
        let object = self.context.execute_with_session(Some(session), |context| {
            context.load(storage, private, public)
        })?;
        let session = match sealed.policy {
            None => session,
            Some(_) => {
                let session = self.session(SessionType::Policy)?;
                let (policy, pcrs) = (PolicySession::try_from(session)?, selection(&sealed.pcrs)?);
                self.context.policy_pcr(policy, Digest::default(), pcrs)?;
                session
            }
        };
        self.context.execute_with_session(Some(session), |context| context.unseal(object.into()))
    }

    /// Begins a session whose salt only this TPM can read, so that the bus shows no secret.
    fn session(&mut self, kind: SessionType) -> Result<AuthSession, Error> {
        let (cipher, hash) = (SymmetricDefinition::AES_128_CFB, HashingAlgorithm::Sha256);
        let storage = Some(self.storage);
        let session = self.context.start_auth_session(storage, None, None, kind, cipher, hash)?;
        let session = session.ok_or_else(unexpected)?;
        if kind != SessionType::Trial {
            let both = SessionAttributesBuilder::new().with_decrypt(true).with_encrypt(true);
            let (attributes, mask) = both.build();
            self.context.tr_sess_set_attributes(session, attributes, mask)?;
        }
        Ok(session)
    }
}

/// The storage key of TCG's provisioning guidance: ECC P-256 with AES-128, made from the seed.
fn storage_key() -> Result<Public, Error> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_no_da(true)
        .with_restricted(true)
        .with_decrypt(true)
        .build()?;
    let parameters = PublicEccParametersBuilder::new()
        .with_symmetric(SymmetricDefinitionObject::AES_128_CFB)
        .with_ecc_scheme(EccScheme::Null)
        .with_curve(EccCurve::NistP256)
        .with_key_derivation_function_scheme(KeyDerivationFunctionScheme::Null)
        .with_is_signing_key(false)
        .with_is_decryption_key(true)
        .with_restricted(true)
        .build()?;
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_ecc_parameters(parameters)
        .with_ecc_unique_identifier(EccPoint::default())
        .build()
}

/// The object that holds the master key: it opens without a password, or under the policy alone.
fn sealed_object(
    policy: Option<[u8; DIGEST_BYTES]>,
    unique: Option<[u8; DIGEST_BYTES]>,
) -> Result<Public, Error> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_no_da(true)
        .with_user_with_auth(policy.is_none())
        .with_admin_with_policy(policy.is_some())
        .build()?;
    let policy = policy.map(|policy| Digest::try_from(policy.as_slice())).transpose()?;
    // The TPM fills it in when the object is made.
    let unique = unique.map(|unique| Digest::try_from(unique.as_slice())).transpose()?;
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::KeyedHash)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_auth_policy(policy.unwrap_or_default())
        .with_keyed_hash_parameters(PublicKeyedHashParameters::new(KeyedHashScheme::Null))
        .with_keyed_hash_unique_identifier(unique.unwrap_or_default())
        .build()
}

fn selection(pcrs: &BTreeSet<u8>) -> Result<PcrSelectionList, Error> {
    let slots = pcrs.iter().map(|pcr| PcrSlot::try_from(1_u32 << pcr));
    let slots: Vec<PcrSlot> = slots.collect::<Result<_, _>>()?;
    PcrSelectionList::builder().with_selection(HashingAlgorithm::Sha256, &slots).build()
}

fn listed(pcrs: &BTreeSet<u8>) -> String {
    let numbers: Vec<_> = pcrs.iter().map(u8::to_string).collect();
    match numbers.as_slice() {
        [] => "no PCR".into(),
        [one] => format!("PCR {one}"),
        many => format!("PCRs {}", many.join(", ")),
    }
}

fn kind(error: &Error) -> Option<Tss2ResponseCodeKind> {
    match error {
        Error::Tss2Error(code) => code.kind(),
        Error::WrapperError(_) => None,
    }
}

fn unexpected() -> Error {
    Error::WrapperError(tss_esapi::WrapperErrorKind::WrongValueFromTpm)
}

fn malformed() -> KeeperError {
    let text = "`master.key` holds no key that a TPM sealed for this version; \
                restore it from a backup";
    KeeperError::Refused(text.into())
}

#[cfg(test)]
mod tests;
