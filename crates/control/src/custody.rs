//! Custody of the signing keys: a process of its own that holds them and does nothing but sign.
//!
//! It reads no stranger's bytes, only [`protocol`] messages from control, and it does not believe
//! those: what it is asked to certify is linted here, a standing is decoded before it is signed,
//! and a checkpoint of the record is signed only if it continues the last one that was.

mod client;
pub(crate) mod fuzz;
mod keys;
mod protocol;

use std::fs;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use identity::certificate::CertificateError;
use identity::chain::{Anchor, Chain, ChainError, Usage};
use identity::issue::{Intent, IssueError, Issuer};
use identity::{Certificate, Holder, PublicKey, Serial, Signer, Time};
use journal::vault::{SealingKey, SecureRandom, VaultError};
use ledger::{Checkpoint, VerifierKey};
use policy::standing::{Changes, Snapshot};
use zeroize::Zeroizing;

pub use client::{AskError, Custody};
use keys::{Ed25519Signer, P256Signer};
use protocol::{Answer, Ask};

/// What the supervisor hands to the custody process.
pub struct Setup {
    /// The folder that only custody may open.
    pub folder: PathBuf,
    /// What its keys are sealed under.
    pub secret: Zeroizing<[u8; 32]>,
    /// The other end is control's.
    pub link: UnixStream,
}

/// What is public of the keys in custody.
#[derive(Debug, Clone, minicbor::Encode, minicbor::Decode)]
pub struct Authorities {
    /// The root authority's certificate, in DER.
    #[n(0)]
    pub root: minicbor::bytes::ByteVec,
    /// The issuing authority's certificate, in DER.
    #[n(1)]
    pub issuing: minicbor::bytes::ByteVec,
    /// The key that signs standings.
    #[n(2)]
    pub standing: PublicKey,
    /// The name and key of the record, as a verifier key of a signed note.
    #[n(3)]
    pub record: String,
}

/// Why custody cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum CustodyError {
    /// A file could not be read or written.
    #[error("custody cannot use `{path}`: {error}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// What is in a file is not what was written there.
    #[error("custody's `{0}` is damaged; restore it from a backup")]
    Damaged(&'static str),
    /// A key does not open.
    #[error("custody cannot open its keys: {0}")]
    Sealed(#[from] VaultError),
    /// A key could not be made or used.
    #[error("custody cannot make a key: {0}")]
    Key(&'static str),
    /// A certificate of its own could not be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// A certificate of its own could not be read.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The link to control broke.
    #[error("the link to control broke: {0}")]
    Link(#[from] io::Error),
}

/// Holds the keys and answers what it is asked.
pub struct Custodian {
    issuing: P256Signer,
    /// The issuing authority's.
    certificate: Certificate,
    issuer: Issuer,
    standing: Ed25519Signer,
    record: Ed25519Signer,
    origin: String,
    authorities: Authorities,
    signed: Option<Checkpoint>,
    folder: PathBuf,
}

const ROOT: &str = "root.crt";
const ROOT_KEY: &str = "root.key";
const ISSUING: &str = "issuing.crt";
const ISSUING_KEY: &str = "issuing.key";
const STANDING_KEY: &str = "standing.key";
const RECORD_KEY: &str = "record.key";
const SIGNED: &str = "signed";

const DAY: u64 = 24 * 3600;
const ROOT_VALIDITY: std::time::Duration = std::time::Duration::from_secs(20 * 365 * DAY);
const ISSUING_VALIDITY: std::time::Duration = std::time::Duration::from_secs(5 * 365 * DAY);
/// How far into the past a certificate may begin, for devices whose clocks are behind.
const BACKDATING: std::time::Duration = std::time::Duration::from_secs(3600);

/// Makes the root and issuing authorities and the signing keys in an empty folder.
pub fn create(
    folder: &Path,
    secret: &Zeroizing<[u8; 32]>,
    now: Time,
    random: &dyn SecureRandom,
) -> Result<Authorities, CustodyError> {
    let sealing = SealingKey::new(secret);
    let root = P256Signer::generate()?;
    let issuing = P256Signer::generate()?;
    let tag: String =
        root.public_key().digest().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let root_issuer =
        Issuer { common_name: format!("Palisade root {tag}"), key: root.public_key().clone() };
    let intent =
        |holder, common_name: &str, key: &PublicKey, validity| -> Result<Intent, CustodyError> {
            Ok(Intent {
                serial: serial(random)?,
                holder,
                common_name: common_name.to_owned(),
                key: key.clone(),
                not_before: now.minus(BACKDATING).whole_seconds(),
                not_after: now.plus(validity).whole_seconds(),
            })
        };
    let holder = Holder::Authority { path_len: 1 };
    let root_der = intent(holder, &root_issuer.common_name, root.public_key(), ROOT_VALIDITY)?
        .build(&root_issuer)?
        .sign(&root)?;
    let holder = Holder::Authority { path_len: 0 };
    let name = format!("Palisade issuing {tag}");
    let issuing_der = intent(holder, &name, issuing.public_key(), ISSUING_VALIDITY)?
        .build(&root_issuer)?
        .sign(&root)?;
    let write_key = |name: &str, secret: &[u8]| -> Result<(), CustodyError> {
        write(&folder.join(name), &sealing.seal(name, secret, random)?)
    };
    write_key(ROOT_KEY, &root.to_pkcs8()?)?;
    write_key(ISSUING_KEY, &issuing.to_pkcs8()?)?;
    for name in [STANDING_KEY, RECORD_KEY] {
        let mut seed = Zeroizing::new([0; 32]);
        random.fill(seed.as_mut()).map_err(|_| CustodyError::Key("no randomness"))?;
        write_key(name, seed.as_ref())?;
    }
    write(&folder.join(ROOT), &root_der)?;
    write(&folder.join(ISSUING), &issuing_der)?;
    Ok(Custodian::open(folder, &sealing)?.authorities)
}

/// Opens the keys; after this nothing but the folder's `signed` file is needed from disk.
pub fn load(setup: &Setup) -> Result<Custodian, CustodyError> {
    Custodian::open(&setup.folder, &SealingKey::new(&setup.secret))
}

/// Answers control until it closes the link.
pub fn serve(mut custodian: Custodian, link: UnixStream) -> Result<(), CustodyError> {
    let mut reader = BufReader::new(link.try_clone()?);
    let mut writer = BufWriter::new(link);
    while let Some(ask) = protocol::read(&mut reader)? {
        let answer = match ask {
            Ok(ask) => custodian.answer(ask, crate::clock::now()),
            Err(error) => Answer::Refused(format!("the question is malformed: {error}")),
        };
        protocol::write(&mut writer, &answer)?;
        // Questions that wait already are answered in the same write.
        if reader.buffer().is_empty() {
            writer.flush()?;
        }
    }
    Ok(())
}

impl Custodian {
    fn open(folder: &Path, sealing: &SealingKey) -> Result<Self, CustodyError> {
        let key = |name: &str| -> Result<Zeroizing<Vec<u8>>, CustodyError> {
            Ok(sealing.open(name, &read(&folder.join(name))?)?)
        };
        let root = read(&folder.join(ROOT))?;
        let issuing_der = read(&folder.join(ISSUING))?;
        let certificate = Certificate::parse(&issuing_der)?;
        let issuing = P256Signer::from_pkcs8(&key(ISSUING_KEY)?)?;
        if certificate.key() != issuing.public_key() {
            return Err(CustodyError::Damaged(ISSUING));
        }
        let standing = Ed25519Signer::from_seed(&key(STANDING_KEY)?)?;
        let record = Ed25519Signer::from_seed(&key(RECORD_KEY)?)?;
        let root_fingerprint = identity::Fingerprint::of_der(&root).to_string();
        let origin = format!("palisade.record/{}", &root_fingerprint[..16]);
        let verifier = VerifierKey::new(&origin, record.public_key())
            .map_err(|_| CustodyError::Key("the record's key has no verifier form"))?;
        let common_name = certificate.subject().strip_prefix("CN=").unwrap_or_default().to_owned();
        let custodian = Self {
            issuer: Issuer { common_name, key: issuing.public_key().clone() },
            authorities: Authorities {
                root: root.into(),
                issuing: issuing_der.into(),
                standing: standing.public_key().clone(),
                record: verifier.to_string(),
            },
            issuing,
            certificate,
            standing,
            record,
            origin,
            signed: signed(folder, &verifier)?,
            folder: folder.to_owned(),
        };
        custodian.check()?;
        Ok(custodian)
    }

    /// Sees whether what it would issue is believed under its root: that a certificate of its own is
    /// damaged is found at the start, and not by devices.
    fn check(&self) -> Result<(), CustodyError> {
        let at = self.certificate.not_before();
        let name = "palisade";
        let intent = Intent {
            serial: Serial::from_random([1; 20]),
            holder: Holder::Device(name.parse().map_err(|_| CustodyError::Damaged(ISSUING))?),
            common_name: name.to_owned(),
            key: self.issuer.key.clone(),
            not_before: at,
            not_after: at.plus(BACKDATING),
        };
        let leaf = intent.build(&self.issuer)?.sign(&self.issuing)?;
        let damaged = |_: ChainError| CustodyError::Damaged(ISSUING);
        let root = Anchor::trust(&self.authorities.root).map_err(damaged)?;
        let chain = Chain::parse([leaf.as_slice(), &self.authorities.issuing]).map_err(damaged)?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let algorithms = provider.signature_verification_algorithms.all;
        let verified = chain.verify(&[root], |_| false, Usage::Client, at, algorithms);
        verified.map(|_| ()).map_err(damaged)
    }

    /// Lends what is public of the keys.
    pub fn authorities(&self) -> &Authorities {
        &self.authorities
    }

    /// Tells how many events stand under the last checkpoint that it signed.
    pub fn n_signed(&self) -> u64 {
        self.signed.as_ref().map_or(0, |signed| signed.size)
    }

    fn answer(&mut self, ask: Ask, now: Time) -> Answer {
        let answer = match ask {
            Ask::Describe => Ok(Answer::Authorities(self.authorities.clone())),
            Ask::Issue(intent) => self.issue(&intent, now).map(|der| Answer::Bytes(der.into())),
            Ask::Snapshot(bytes) => self
                .sign_document::<Snapshot>(&bytes, now)
                .map(|signed| Answer::Bytes(signed.into())),
            Ask::Changes(bytes) => self
                .sign_document::<Changes>(&bytes, now)
                .map(|signed| Answer::Bytes(signed.into())),
            Ask::Signed => Ok(Answer::Size(self.n_signed())),
            Ask::Checkpoint { text, proof } => {
                self.sign_checkpoint(&text, &proof).map(Answer::Text)
            }
        };
        answer.unwrap_or_else(Answer::Refused)
    }

    fn issue(&self, intent: &Intent, now: Time) -> Result<Vec<u8>, String> {
        match intent.holder {
            Holder::Device(_) | Holder::Server(_) => (),
            Holder::Authority { .. } | Holder::Stranger => {
                return Err("custody certifies devices and servers only".to_owned());
            }
        }
        // A certificate that begins long ago would be valid for what it never saw.
        if intent.not_before < now.minus(BACKDATING * 2) || intent.not_before > now.plus(BACKDATING)
        {
            return Err("the certificate would not begin now; check the clocks".to_owned());
        }
        if ![intent.not_before, intent.not_after].iter().all(|time| self.certificate.covers(*time))
        {
            return Err(
                "the certificate would be valid when its authority is not; check the clocks"
                    .to_owned(),
            );
        }
        let tbs = intent.build(&self.issuer).map_err(|e| e.to_string())?;
        tbs.sign(&self.issuing).map_err(|e| e.to_string())
    }

    fn sign_document<T: identity::Document>(
        &self,
        bytes: &[u8],
        now: Time,
    ) -> Result<Vec<u8>, String> {
        let document: T = minicbor::decode(bytes).map_err(|e| e.to_string())?;
        let expires = now.plus(STANDING_VALIDITY);
        identity::Signed::sign(&document, Some(expires), &[&self.standing])
            .map_err(|e| e.to_string())
    }

    /// Signs a checkpoint only if it continues the last one: not even control can have history
    /// rewritten through here.
    fn sign_checkpoint(&mut self, text: &str, proof: &[[u8; 32]]) -> Result<String, String> {
        let checkpoint = Checkpoint::parse(text).map_err(|e| e.to_string())?;
        if checkpoint.origin != self.origin {
            return Err(format!("custody signs checkpoints of `{}` only", self.origin));
        }
        let proof: Vec<_> = proof.iter().map(|hash| ledger::Hash(*hash)).collect();
        ledger::witness::consistent(self.signed.as_ref(), &checkpoint, &proof)
            .map_err(|e| e.to_string())?;
        let note = checkpoint.sign(&self.record).map_err(|e| e.to_string())?;
        // Kept before it is given away, so that no crash lets a second history be signed.
        let note = note.to_string();
        write(&self.folder.join(SIGNED), note.as_bytes()).map_err(|e| e.to_string())?;
        self.signed = Some(checkpoint);
        Ok(note)
    }
}

/// How long a signed standing may be acted on. A gateway that hears nothing for longer goes on
/// with what it holds; what it may not do is begin with an older one.
const STANDING_VALIDITY: std::time::Duration = std::time::Duration::from_secs(DAY);

/// Reads the last checkpoint that was signed, which its own signature guards.
fn signed(folder: &Path, key: &VerifierKey) -> Result<Option<Checkpoint>, CustodyError> {
    let path = folder.join(SIGNED);
    match fs::read(&path) {
        Ok(note) => {
            Checkpoint::open(&note, key).map(Some).map_err(|_| CustodyError::Damaged(SIGNED))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CustodyError::File { path, error }),
    }
}

fn serial(random: &dyn SecureRandom) -> Result<Serial, CustodyError> {
    let mut bytes = [0; 20];
    random.fill(&mut bytes).map_err(|_| CustodyError::Key("no randomness"))?;
    Ok(Serial::from_random(bytes))
}

fn read(path: &Path) -> Result<Vec<u8>, CustodyError> {
    fs::read(path).map_err(|error| CustodyError::File { path: path.to_owned(), error })
}

/// Writes a file whole or not at all, readable by its owner only.
fn write(path: &Path, bytes: &[u8]) -> Result<(), CustodyError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let temporary = path.with_extension("new");
    let attempt = || -> io::Result<()> {
        let mut options = fs::OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
    };
    attempt().map_err(|error| CustodyError::File { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests;
