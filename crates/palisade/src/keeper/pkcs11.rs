//! A token behind a PKCS#11 module: it makes a key that it does not give away, and wraps with it.
//!
//! What is wrapped: version 1, mechanism, the key's id (16 bytes), then
//! - mechanism 1, AES-256-GCM on the token: nonce (12 bytes), ciphertext and tag;
//! - mechanism 2, for tokens without it: an envelope (`journal::vault::SealingKey`) under what the
//!   token's HMAC-SHA-256 gives for the id.
//!
//! Every wrapping makes a key of its own, named by its id. A PIN is tried once, and never when the
//! token says that it is the last try.

use std::path::{Path, PathBuf};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use journal::vault::{Keeper, KeeperError, Kind, SealingKey};
use zeroize::Zeroizing;

use crate::exit::{Exit, Failure};

/// A token, named but not opened.
pub(crate) struct Token {
    module: PathBuf,
    label: String,
    pin: AuthPin,
}

/// What was wrapped, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Wrapped<'a> {
    id: [u8; ID_BYTES],
    sealed: Sealed<'a>,
}

/// How it was wrapped.
#[derive(Debug, PartialEq, Eq)]
enum Sealed<'a> {
    Gcm { nonce: [u8; NONCE_BYTES], ciphertext: &'a [u8] },
    Hmac { envelope: &'a [u8] },
}

impl Token {
    /// Names a token by its module and label.
    pub(crate) fn of(module: &Path, label: &str, pin: &str) -> Result<Self, Failure> {
        // An absolute path: the loader shall not look for it in other places.
        let absolute = std::path::absolute(module).unwrap_or_else(|_| module.to_path_buf());
        if !absolute.is_file() {
            let text = format!(
                "there is no PKCS#11 module at `{}`; name the token's shared library with \
                 --pkcs11-module, such as /usr/lib/softhsm/libsofthsm2.so",
                absolute.display()
            );
            return Err(Failure::new(Exit::Usage, text));
        }
        Ok(Self { module: absolute, label: label.into(), pin: AuthPin::from(pin.to_string()) })
    }

    /// Opens the token, acts, and closes everything again, whatever came of it.
    fn with_session<T>(
        &self,
        write: bool,
        act: impl FnOnce(&Session, &[MechanismType]) -> Result<T, KeeperError>,
    ) -> Result<T, KeeperError> {
        let unusable = |e: Error| {
            let path = self.module.display();
            KeeperError::Unusable(format!(
                "`{path}` is no PKCS#11 module that works here: {}; name another with --pkcs11-module",
                answer(&e)
            ))
        };
        let module = Pkcs11::new(&self.module).map_err(unusable)?;
        let locking = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        module.initialize(locking).map_err(unusable)?;
        let done = self.act_in_session(&module, write, act);
        // What it holds in our memory goes with it; what it did stands all the same.
        let _ = module.finalize();
        done
    }

    fn act_in_session<T>(
        &self,
        module: &Pkcs11,
        write: bool,
        act: impl FnOnce(&Session, &[MechanismType]) -> Result<T, KeeperError>,
    ) -> Result<T, KeeperError> {
        let (slot, info) = self.find(module)?;
        let failed = |e: Error| self.failed("does not open", &e);
        let mechanisms = module.get_mechanism_list(slot).map_err(failed)?;
        let session =
            if write { module.open_rw_session(slot) } else { module.open_ro_session(slot) };
        let session = session.map_err(failed)?;
        self.log_in(&session, &info)?;
        let done = act(&session, &mechanisms);
        // Closing the last session logs out too.
        let _ = session.logout();
        done
    }

    /// Finds the one token of that label.
    fn find(&self, module: &Pkcs11) -> Result<(Slot, TokenInfo), KeeperError> {
        let slots = module.get_slots_with_token().map_err(|e| self.failed("is not found", &e))?;
        let tokens = slots.into_iter().filter_map(|slot| {
            let info = module.get_token_info(slot).ok()?;
            info.token_initialized().then_some((slot, info))
        });
        let (mut named, others): (Vec<_>, Vec<_>) =
            tokens.partition(|(_, info)| info.label() == self.label);
        let (label, path) = (&self.label, self.module.display());
        match (named.pop(), named.len()) {
            (Some(token), 0) => Ok(token),
            (Some(_), n_more) => Err(KeeperError::Unusable(format!(
                "{} tokens behind `{path}` are called `{label}`; give them different labels",
                n_more + 1
            ))),
            (None, _) => {
                let labels = others.iter().map(|(_, info)| format!("`{}`", info.label()));
                let labels = labels.collect::<Vec<_>>().join(", ");
                let advice = match others.is_empty() {
                    true => "it has none: is the token plugged in and set up?".to_string(),
                    false => format!("it has {labels}: name the right one with --pkcs11-token"),
                };
                let text = format!("`{path}` has no token called `{label}`; {advice}");
                Err(KeeperError::Unusable(text))
            }
        }
    }

    /// Gives the PIN, once: tokens lock themselves after a few wrong ones.
    fn log_in(&self, session: &Session, info: &TokenInfo) -> Result<(), KeeperError> {
        let label = &self.label;
        let locked = || {
            KeeperError::Refused(format!(
                "the PIN of token `{label}` is locked; unlock it with the token's own tool \
                 and its security officer's PIN"
            ))
        };
        if info.user_pin_locked() {
            return Err(locked());
        }
        if info.user_pin_final_try() {
            return Err(KeeperError::Refused(format!(
                "token `{label}` locks after one more wrong PIN, so that none is tried; log in \
                 once with the token's own tool, and look at --pkcs11-pin-file"
            )));
        }
        session.login(UserType::User, Some(&self.pin)).map_err(|e| match e {
            Error::Pkcs11(RvError::PinLocked, _) => locked(),
            Error::Pkcs11(
                RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange,
                _,
            ) => KeeperError::Refused(format!(
                "token `{label}` refuses the PIN; mend the file that --pkcs11-pin-file names \
                 before trying again, since tokens lock after a few wrong ones"
            )),
            Error::Pkcs11(RvError::UserPinNotInitialized, _) => KeeperError::Refused(format!(
                "token `{label}` has no user's PIN yet; set one with the token's own tool"
            )),
            e => self.failed("does not let us log in", &e),
        })
    }

    fn wrap_in(
        &self,
        session: &Session,
        mechanisms: &[MechanismType],
        master: &[u8; 32],
    ) -> Result<Vec<u8>, KeeperError> {
        let failed = |e: Error| self.failed("makes no key for us", &e);
        let random = SystemRandom::new();
        let id: [u8; ID_BYTES] = fill(&random)?;
        let has = |kinds: [MechanismType; 2]| kinds.iter().all(|kind| mechanisms.contains(kind));
        let gcm = has([MechanismType::AES_KEY_GEN, MechanismType::AES_GCM]);
        if !gcm && !has([MechanismType::GENERIC_SECRET_KEY_GEN, MechanismType::SHA256_HMAC]) {
            return Err(KeeperError::Unusable(format!(
                "token `{}` has neither AES-GCM nor HMAC-SHA-256; use another token",
                self.label
            )));
        }
        let (how, template) = match gcm {
            true => (Mechanism::AesKeyGen, aes_key(&id)),
            false => (Mechanism::GenericSecretKeyGen, hmac_key(&id)),
        };
        let key = session.generate_key(&how, &template).map_err(failed)?;
        let sealed = self.keeps_secret(session, key).and_then(|()| match gcm {
            true => self.seal_with_gcm(session, key, &id, master),
            false => self.seal_with_hmac(session, key, &id, master),
        });
        if sealed.is_err() {
            // It wraps nothing; that it could not be removed is no second error.
            let _ = session.destroy_object(key);
        }
        let mechanism = if gcm { GCM } else { HMAC };
        Ok([[VERSION, mechanism].as_slice(), &id, &sealed?].concat())
    }

    /// Makes sure that the token took the key as one that it does not give away.
    fn keeps_secret(&self, session: &Session, key: ObjectHandle) -> Result<(), KeeperError> {
        let asked = [AttributeType::Sensitive, AttributeType::Extractable];
        let found = session.get_attributes(key, &asked).map_err(|e| self.failed("fails", &e))?;
        match found.as_slice() {
            [Attribute::Sensitive(true), Attribute::Extractable(false)] => Ok(()),
            _ => Err(KeeperError::Unusable(format!(
                "token `{}` does not keep its keys to itself; use another token",
                self.label
            ))),
        }
    }

    fn seal_with_gcm(
        &self,
        session: &Session,
        key: ObjectHandle,
        id: &[u8; ID_BYTES],
        master: &[u8; 32],
    ) -> Result<Vec<u8>, KeeperError> {
        let failed = |e: Error| self.failed("does not wrap", &e);
        let mut nonce: [u8; NONCE_BYTES] = fill(&SystemRandom::new())?;
        let context = context(id);
        // Some tokens choose the nonce themselves and write it over ours.
        let params = GcmParams::new(&mut nonce, &context, TAG_BITS.into()).map_err(failed)?;
        let ciphertext =
            session.encrypt(&Mechanism::AesGcm(params), key, master).map_err(failed)?;
        Ok([nonce.as_slice(), &ciphertext].concat())
    }

    fn seal_with_hmac(
        &self,
        session: &Session,
        key: ObjectHandle,
        id: &[u8; ID_BYTES],
        master: &[u8; 32],
    ) -> Result<Vec<u8>, KeeperError> {
        let sealing = self.hmac(session, key, id)?;
        let sealed = sealing.seal(LABEL, master, &SystemRandom::new());
        sealed.map_err(|e| KeeperError::Unusable(e.to_string()))
    }

    fn open_in(&self, session: &Session, wrapped: &Wrapped<'_>) -> Result<Vec<u8>, KeeperError> {
        let failed = |e: Error| self.failed("does not open the master key", &e);
        let changed = || {
            KeeperError::Refused(format!(
                "token `{}` has key `{}`, but it does not open the master key, which was changed; \
                 restore `master.key` from a backup",
                self.label,
                name(&wrapped.id)
            ))
        };
        let wanted = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::Token(true),
            Attribute::Id(wrapped.id.to_vec()),
        ];
        let keys = session.find_objects(&wanted).map_err(failed)?;
        let key = keys.first().ok_or_else(|| {
            KeeperError::Refused(format!(
                "token `{}` has no key `{}`, which the master key was wrapped with; this data \
                 folder belongs to another token, or the key was deleted",
                self.label,
                name(&wrapped.id)
            ))
        })?;
        match &wrapped.sealed {
            Sealed::Gcm { nonce, ciphertext } => {
                let (mut nonce, context) = (*nonce, context(&wrapped.id));
                let params =
                    GcmParams::new(&mut nonce, &context, TAG_BITS.into()).map_err(failed)?;
                let opened = session.decrypt(&Mechanism::AesGcm(params), *key, ciphertext);
                opened.map_err(|e| match e {
                    // Tokens differ in what they say of a tag that does not fit.
                    Error::Pkcs11(
                        RvError::EncryptedDataInvalid
                        | RvError::EncryptedDataLenRange
                        | RvError::GeneralError,
                        _,
                    ) => changed(),
                    e => failed(e),
                })
            }
            Sealed::Hmac { envelope } => {
                let opened = self.hmac(session, *key, &wrapped.id)?.open(LABEL, envelope);
                opened.map(|key| key.to_vec()).map_err(|_| changed())
            }
        }
    }

    fn hmac(
        &self,
        session: &Session,
        key: ObjectHandle,
        id: &[u8; ID_BYTES],
    ) -> Result<SealingKey, KeeperError> {
        let made = session.sign(&Mechanism::Sha256Hmac, key, &context(id));
        let made = Zeroizing::new(made.map_err(|e| self.failed("does not wrap", &e))?);
        let secret = <&[u8; 32]>::try_from(made.as_slice()).map_err(|_| {
            let text = format!("token `{}` answers with another length than asked", self.label);
            KeeperError::Unusable(text)
        })?;
        Ok(SealingKey::new(secret))
    }

    fn failed(&self, what: &str, error: &Error) -> KeeperError {
        KeeperError::Unusable(format!("token `{}` {what}: {}", self.label, answer(error)))
    }
}

impl Keeper for Token {
    fn kind(&self) -> Kind {
        Kind::Pkcs11
    }

    fn wrap(&self, key: &[u8; 32]) -> Result<Vec<u8>, KeeperError> {
        self.with_session(true, |session, mechanisms| self.wrap_in(session, mechanisms, key))
    }

    fn open(&self, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeeperError> {
        let wrapped = Wrapped::parse(wrapped).ok_or_else(malformed)?;
        let opened = self.with_session(false, |session, _| self.open_in(session, &wrapped))?;
        let opened = Zeroizing::new(opened);
        let key = <[u8; 32]>::try_from(opened.as_slice()).map_err(|_| malformed())?;
        Ok(Zeroizing::new(key))
    }
}

impl<'a> Wrapped<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let ([version, mechanism], rest) = bytes.split_first_chunk()?;
        let (id, rest) = rest.split_first_chunk()?;
        let sealed = match (*version, *mechanism) {
            (VERSION, GCM) => {
                let (nonce, ciphertext) = rest.split_first_chunk()?;
                // Some tokens add their own nonce to what they give.
                (48..=MAX_CIPHERTEXT_BYTES)
                    .contains(&ciphertext.len())
                    .then_some(Sealed::Gcm { nonce: *nonce, ciphertext })?
            }
            (VERSION, HMAC) => Sealed::Hmac { envelope: rest },
            _ => return None,
        };
        Some(Self { id: *id, sealed })
    }
}

/// Names the key on the token that wrapped the master key.
pub(crate) fn key_name(wrapped: &[u8]) -> Option<String> {
    Some(name(&Wrapped::parse(wrapped)?.id))
}

fn name(id: &[u8; ID_BYTES]) -> String {
    let digits: String = id.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("palisade-{digits}")
}

fn aes_key(id: &[u8; ID_BYTES]) -> Vec<Attribute> {
    let mut template = kept(id, KeyType::AES);
    template.extend([Attribute::Encrypt(true), Attribute::Decrypt(true)]);
    template
}

fn hmac_key(id: &[u8; ID_BYTES]) -> Vec<Attribute> {
    let mut template = kept(id, KeyType::GENERIC_SECRET);
    template.push(Attribute::Sign(true));
    template
}

/// A key of 256 bits that stays on the token and does not leave it.
fn kept(id: &[u8; ID_BYTES], kind: KeyType) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(kind),
        Attribute::ValueLen(32.into()),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Id(id.to_vec()),
        Attribute::Label(name(id).into_bytes()),
    ]
}

/// What the tag covers beside the key, and what the HMAC is asked for.
fn context(id: &[u8; ID_BYTES]) -> Vec<u8> {
    [LABEL.as_bytes(), id].concat()
}

fn fill<const N: usize>(random: &SystemRandom) -> Result<[u8; N], KeeperError> {
    let mut bytes = [0; N];
    let filled = random.fill(&mut bytes);
    filled.map_err(|_| KeeperError::Unusable("the system gives no random numbers".into()))?;
    Ok(bytes)
}

fn malformed() -> KeeperError {
    let text = "`master.key` holds no key that a PKCS#11 token wrapped for this version; \
                restore it from a backup";
    KeeperError::Refused(text.into())
}

/// Says in one short line what a module answered.
fn answer(error: &Error) -> String {
    match error {
        Error::Pkcs11(code, function) => format!("C_{function:?} answers {code:?}"),
        Error::LibraryLoading(e) => e.to_string().replace('\n', " "),
        Error::MissingSymbol(name) => format!("it has no `{name}`"),
        e => e.to_string(),
    }
}

const VERSION: u8 = 1;
const GCM: u8 = 1;
const HMAC: u8 = 2;
const ID_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
const TAG_BITS: u64 = 128;
const MAX_CIPHERTEXT_BYTES: usize = 128;
const LABEL: &str = "palisade master key pkcs11 v1";

#[cfg(test)]
mod tests;
