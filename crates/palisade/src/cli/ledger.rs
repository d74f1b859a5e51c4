//! `ledger`: the record's head, its verification offline, and a witness on another machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use clap::{Args, Subcommand};
use hyper::Method;
use identity::{Ed25519Key, Signer};
use ledger::witness::Witness as Watch;
use ledger::{Checkpoint, Hash, Note, VerifierKey};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::Context;
use super::output::counted;
use crate::client::Client;
use crate::exit::{Exit, Failure, OrExit};
use crate::{clock, folder};

/// What can be done with the record.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Verify a copy of the record offline, with nothing but its public key
    Verify(Verify),
    /// Show the record's head
    Show,
    /// Print the newest signed checkpoint
    Checkpoint,
    /// Print the public key that checkpoints are signed with
    Key,
    /// Cosign the server's checkpoints while each continues the one before
    Witness(Witness),
}

/// What to verify.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The record's folder, such as DATA/control/ledger
    folder: PathBuf,
    /// The record's public key, or a file that holds it (`palisade ledger key`)
    #[arg(long)]
    key: String,
    /// A checkpoint that was kept elsewhere, which the record must continue; may be repeated
    #[arg(long, value_name = "FILE")]
    witness: Vec<PathBuf>,
}

/// Whom to watch, and where to remember what was seen.
#[derive(Debug, Args)]
pub(crate) struct Witness {
    /// The folder for the witness's key and the last checkpoint it saw
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// The record's public key, or a file that holds it
    #[arg(long)]
    key: String,
    /// The witness's name
    #[arg(long, default_value = "witness")]
    name: String,
    /// Look again after so many seconds, until stopped
    #[arg(long, value_name = "SECONDS")]
    every: Option<u64>,
}

/// Does what asks a server.
pub(crate) async fn run(context: &Context, command: Command) -> Result<Exit, Failure> {
    let client = context.client()?;
    let out = &context.output;
    match command {
        Command::Verify(what) => return verify(context, &what),
        Command::Checkpoint => {
            let note = client.bytes("/v1/ledger/checkpoint").await?;
            out.text(&String::from_utf8_lossy(&note))?;
        }
        Command::Key => {
            let key = client.bytes("/v1/ledger/key").await?;
            out.line(String::from_utf8_lossy(&key).trim())?;
        }
        Command::Show => show(context, &client).await?,
        Command::Witness(witness) => loop {
            watch(context, &client, &witness).await?;
            let Some(seconds) = witness.every else { break };
            tokio::time::sleep(Duration::from_secs(seconds.max(1))).await;
        },
    }
    Ok(Exit::Ok)
}

async fn show(context: &Context, client: &Client) -> Result<(), Failure> {
    let key = client.bytes("/v1/ledger/key").await?;
    let key = String::from_utf8_lossy(&key).trim().to_string();
    let bytes = client.bytes("/v1/ledger/checkpoint").await?;
    let verifier: VerifierKey = key.parse().or_exit(Exit::Unverified)?;
    let checkpoint = Checkpoint::open(&bytes, &verifier).or_exit(Exit::Unverified)?;
    let note = Note::parse(&bytes).or_exit(Exit::Unverified)?;
    let others = note.signatures.iter().filter(|signature| signature.name != verifier.name());
    let mut witnesses: Vec<_> = others.map(|signature| signature.name.clone()).collect();
    // One who cosigned twice saw it twice, which is no more than once.
    witnesses.sort();
    witnesses.dedup();
    let out = &context.output;
    if out.is_json() {
        return out.json(&json!({
            "origin": checkpoint.origin, "size": checkpoint.size,
            "root": checkpoint.root.to_string(), "witnesses": witnesses, "key": key,
        }));
    }
    let seen = if witnesses.is_empty() { "nobody yet".into() } else { witnesses.join(", ") };
    out.pairs(&[
        ("record", checkpoint.origin),
        ("events", checkpoint.size.to_string()),
        ("root", checkpoint.root.to_string()),
        ("cosigned by", seen),
        ("key", key),
    ])
}

/// Verifies a folder and says what is wrong first.
pub(crate) fn verify(context: &Context, what: &Verify) -> Result<Exit, Failure> {
    let key = verifier_key(&what.key)?;
    let remembered = what.witness.iter().map(|path| read(path)).collect::<Result<_, _>>()?;
    let options = journal::verify::Options { remembered, threads: 0 };
    let out = &context.output;
    let summary = match journal::verify::verify(&what.folder, &key, &options) {
        Ok(summary) => summary,
        Err(journal::verify::VerifyError::Bad(finding)) => {
            if out.is_json() {
                out.json(&json!({
                    "ok": false, "event": finding.event, "until": finding.until,
                    "place": finding.path.display().to_string(), "text": finding.to_string(),
                }))?;
            }
            return Err(Failure::new(Exit::Unverified, finding));
        }
        Err(error) => return Err(error.into()),
    };
    let n_signed = summary.last.as_ref().map_or(0, |checkpoint| checkpoint.size);
    if out.is_json() {
        let root = summary.last.as_ref().map(|checkpoint| checkpoint.root.to_string());
        out.json(&json!({
            "ok": true, "events": summary.n_events, "signed": n_signed, "root": root,
            "checkpoints": summary.n_checkpoints, "torn_bytes": summary.n_torn_bytes,
        }))?;
        return Ok(Exit::Ok);
    }
    let events = counted(summary.n_events, "event");
    let checkpoints = counted(summary.n_checkpoints, "checkpoint");
    out.line(&format!("{events} verify; {n_signed} stand under {checkpoints}"))?;
    if summary.n_torn_bytes > 0 {
        out.note(&format!("{} bytes at the end are of a write under way", summary.n_torn_bytes));
    }
    Ok(Exit::Ok)
}

/// Looks once: takes the newest checkpoint if it continues the last, and cosigns it.
async fn watch(context: &Context, client: &Client, witness: &Witness) -> Result<(), Failure> {
    let key = verifier_key(&witness.key)?;
    let signer = signer(&witness.state)?;
    let last_path = witness.state.join("checkpoint");
    let mut watch = match std::fs::read(&last_path) {
        Ok(note) => Watch::resume(key.clone(), &note).or_exit(Exit::Unverified)?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Watch::new(key.clone()),
        Err(e) => return Err(e.into()),
    };
    let note = client.bytes("/v1/ledger/checkpoint").await?;
    let offered = Checkpoint::open(&note, &key).or_exit(Exit::Unverified)?;
    let proof = match watch.last() {
        Some(last) if 0 < last.size && last.size < offered.size => {
            proof(client, last.size, offered.size).await?
        }
        Some(_) | None => Vec::new(),
    };
    let checkpoint = match watch.handle_checkpoint(&note, &proof) {
        Ok(checkpoint) => checkpoint,
        Err(refusal) => {
            // The evidence of a fork is kept beside what was seen before.
            folder::replace(&witness.state.join("refused"), &note, 0o600)?;
            return Err(refusal).or_exit(Exit::Unverified);
        }
    };
    // Remembered durably before the cosignature goes out: a crash between loses only the latter.
    folder::replace(&last_path, &note, 0o600)?;
    let mut note = Note::parse(&note).or_exit(Exit::Unverified)?;
    note.signatures.push(note.cosign(&witness.name, clock::now(), &signer)?);
    let own = VerifierKey::witness(&witness.name, signer.public_key())?.to_string();
    let body = json!({ "note": note.to_string() });
    let left = client.send(Method::POST, "/v1/ledger/cosignatures", Some(body)).await;
    let out = &context.output;
    let is_kept = match left {
        Ok(_) => true,
        // What it saw is remembered here all the same; that is what tells a fork.
        Err(failure) if failure.exit == Exit::Conflict => {
            out.note("the server keeps no cosignature of this witness yet; an administrator says:");
            out.note(&format!("  palisade witness add {own}"));
            false
        }
        Err(failure) => return Err(failure),
    };
    let (size, root) = (checkpoint.size, checkpoint.root.to_string());
    let verb = if is_kept { "cosigned" } else { "saw" };
    match out.is_json() {
        true => out.json(&json!({ "size": size, "root": root, "key": own, "kept": is_kept })),
        false => out.line(&format!("{verb} {size} events with root {root}")),
    }
}

async fn proof(client: &Client, from: u64, to: u64) -> Result<Vec<Hash>, Failure> {
    let answer = client.get(&format!("/v1/ledger/consistency?from={from}&to={to}")).await?;
    hashes(answer.get("hashes"))
}

/// Reads the hashes of a proof.
pub(super) fn hashes(answer: Option<&Value>) -> Result<Vec<Hash>, Failure> {
    let hashes = answer.and_then(Value::as_array);
    let hashes = hashes.ok_or_else(|| Failure::new(Exit::Unverified, "the proof has no hashes"))?;
    let parse = |hash: &Value| hash.as_str().unwrap_or_default().parse();
    hashes.iter().map(parse).collect::<Result<_, _>>().or_exit(Exit::Unverified)
}

/// Reads the witness's key, or makes it on the first look.
fn signer(state: &Path) -> Result<Ed25519Key, Failure> {
    if !state.exists() {
        folder::make_private(state)
            .map_err(|e| anyhow::anyhow!("cannot make `{}`: {e}", state.display()))?;
    }
    let path = state.join("witness.key");
    if !path.exists() {
        let mut seed = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(seed.as_mut()).map_err(|_| anyhow::anyhow!("no randomness"))?;
        folder::replace(&path, seed.as_ref(), 0o600)?;
    }
    folder::private(&path, 0o600).or_exit(Exit::Permissions)?;
    let bytes = Zeroizing::new(std::fs::read(&path)?);
    let seed = bytes.as_slice().try_into().map_err(|_| {
        anyhow::anyhow!("`{}` is not a witness's key; restore it from a backup", path.display())
    })?;
    Ok(Ed25519Key::from_seed(&Zeroizing::new(seed))?)
}

/// Reads a verifier key, written out or in a file.
fn verifier_key(text: &str) -> Result<VerifierKey, Failure> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    let content = read(Path::new(text))?;
    String::from_utf8_lossy(&content).trim().parse().or_exit(Exit::Usage)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path)
        .map_err(|e| anyhow::anyhow!("cannot read `{}`: {e}", path.display()))
        .or_exit(Exit::Usage)
}
