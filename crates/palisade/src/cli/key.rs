//! `key`: what unlocks the master key, and how to change that. The key itself stays the same.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, Subcommand};
use journal::vault::{Kind, MasterKey, SystemRandom, Way};
use serde_json::json;

use super::Context;
use crate::configuration::{Key, Layers};
use crate::exit::{Exit, Failure, OrExit};
use crate::folder::{self, FolderError, State};
use crate::keeper::{self, Choice, pkcs11};

/// What `--tpm` means without a value: the kernel's own resource manager.
const TPM: &str = "device:/dev/tpmrm0";

/// What can be done with the master key.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say what unlocks it, without unlocking it
    Show,
    /// Change what unlocks it, while the server is stopped
    Rewrap(Box<Rewrap>),
}

/// Says what unlocks the master key.
#[derive(Debug, Args)]
#[command(next_help_heading = "What unlocks the master key")]
pub(crate) struct Unlock {
    /// The file that holds a passphrase
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// The PKCS#11 module (a shared library) of a token
    #[arg(long, value_name = "FILE")]
    pkcs11_module: Option<PathBuf>,
    /// The label of the token
    #[arg(long, value_name = "LABEL")]
    pkcs11_token: Option<String>,
    /// The file that holds the PIN of the token
    #[arg(long, value_name = "FILE")]
    pkcs11_pin_file: Option<PathBuf>,
    /// A TPM 2.0, alone the one of this machine
    #[arg(
        long,
        value_name = "TCTI",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = TPM
    )]
    tpm: Option<String>,
    /// PCRs that must then be as they were when the key was sealed, such as 7,11
    #[arg(long, value_name = "PCRS", value_delimiter = ',')]
    tpm_pcrs: Vec<String>,
}

/// Changes what unlocks the master key.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("to").required(true).multiple(false))]
pub(crate) struct Rewrap {
    #[command(flatten)]
    pub(crate) unlock: Unlock,
    #[command(flatten)]
    target: Target,
    /// Write it into this new file and leave the data folder as it is: a copy that opens in
    /// another way, to be kept elsewhere
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Says what shall unlock the master key from now on.
#[derive(Debug, Args)]
#[command(next_help_heading = "What shall unlock it from now on")]
struct Target {
    /// Nothing: whoever can read the file has the key
    #[arg(long, group = "to")]
    to_key_file: bool,
    /// The passphrase in this file
    #[arg(long, value_name = "FILE", group = "to")]
    to_passphrase_file: Option<PathBuf>,
    /// A new key on a token behind this PKCS#11 module
    #[arg(long, value_name = "FILE", group = "to")]
    to_pkcs11_module: Option<PathBuf>,
    /// The label of that token
    #[arg(long, value_name = "LABEL", requires = "to_pkcs11_module")]
    to_pkcs11_token: Option<String>,
    /// The file that holds its PIN
    #[arg(long, value_name = "FILE", requires = "to_pkcs11_module")]
    to_pkcs11_pin_file: Option<PathBuf>,
    /// A TPM 2.0, alone the one of this machine
    #[arg(
        long,
        value_name = "TCTI",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = TPM,
        group = "to"
    )]
    to_tpm: Option<String>,
    /// PCRs that must then be as they are now, such as 7,11
    #[arg(long, value_name = "PCRS", value_delimiter = ',', requires = "to_tpm")]
    to_tpm_pcrs: Vec<String>,
}

impl Unlock {
    /// Lays these flags over what is there.
    pub(crate) fn lay(&self, layers: &mut Layers) {
        let text = |value: &Option<String>| value.clone().into_iter().collect();
        layers.flag(Key::PassphraseFile, path(&self.passphrase_file));
        layers.flag(Key::Pkcs11Module, path(&self.pkcs11_module));
        layers.flag(Key::Pkcs11Token, text(&self.pkcs11_token));
        layers.flag(Key::Pkcs11PinFile, path(&self.pkcs11_pin_file));
        layers.flag(Key::Tpm, text(&self.tpm));
        layers.flag(Key::TpmPcrs, self.tpm_pcrs.clone());
    }
}

impl Target {
    fn choice(&self) -> Result<Choice, Failure> {
        let mut layers = Layers::default();
        for (key, values) in self.settings() {
            layers.target(key, values);
        }
        Choice::of(&layers.unlocking().or_exit(Exit::Usage)?)
    }

    fn settings(&self) -> [(Key, Vec<String>); 6] {
        let text = |value: &Option<String>| value.clone().into_iter().collect();
        [
            (Key::PassphraseFile, path(&self.to_passphrase_file)),
            (Key::Pkcs11Module, path(&self.to_pkcs11_module)),
            (Key::Pkcs11Token, text(&self.to_pkcs11_token)),
            (Key::Pkcs11PinFile, path(&self.to_pkcs11_pin_file)),
            (Key::Tpm, text(&self.to_tpm)),
            (Key::TpmPcrs, self.to_tpm_pcrs.clone()),
        ]
    }
}

/// Does it.
pub(crate) fn run(context: &Context, command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Show => show(context),
        Command::Rewrap(command) => rewrap(context, command),
    }
}

fn show(context: &Context) -> Result<Exit, Failure> {
    let path = context.folder().master_key();
    inspect(context)?;
    let (way, wrapped) = MasterKey::inspect(&path).map_err(keeper::failure)?;
    let token_key = match way {
        Way::Keeper(Kind::Pkcs11) => wrapped.as_deref().and_then(pkcs11::key_name),
        Way::Keeper(Kind::Tpm) | Way::KeyFile | Way::Passphrase => None,
    };
    let out = &context.output;
    if out.is_json() {
        let file = path.display().to_string();
        out.json(&json!({ "file": file, "unlock": word(way), "token_key": token_key }))?;
        return Ok(Exit::Ok);
    }
    let meaning = match way {
        Way::KeyFile => "nothing: whoever can read the file has the key",
        Way::Passphrase => "a passphrase",
        Way::Keeper(Kind::Pkcs11) => "a key on a PKCS#11 token",
        Way::Keeper(Kind::Tpm) => "a TPM",
    };
    let mut pairs = vec![("file", path.display().to_string()), ("unlocked by", meaning.into())];
    pairs.extend(token_key.map(|name| ("key on token", name)));
    out.pairs(&pairs)?;
    Ok(Exit::Ok)
}

fn rewrap(context: &Context, command: &Rewrap) -> Result<Exit, Failure> {
    inspect(context)?;
    let folder = context.folder();
    let path = folder.master_key();
    // A copy changes nothing, so that it may be made beside a running server.
    let lock = match command.out {
        None => Some(folder.lock().map_err(folder_failure)?),
        Some(_) => None,
    };
    let from = Choice::of(&context.configuration.unlocking)?;
    let to = command.target.choice()?;
    let key = from.load(&path)?;
    let text = key.to_text(&to.unlock(), &SystemRandom::new()).map_err(keeper::failure)?;
    // Nothing is replaced before the new file has opened once.
    let again = MasterKey::parse(&text, &path, &to.unlock()).map_err(keeper::failure)?;
    if again.derive("same").id() != key.derive("same").id() {
        return Err(Failure::new(Exit::Failed, "what was wrapped opens as another key"));
    }
    let file = command.out.as_deref().unwrap_or(&path);
    match &command.out {
        Some(out) => folder::write_private(out, text.as_bytes()).map_err(|e| {
            let text = format!("cannot write `{}`: {e}", out.display());
            Failure::new(Exit::Unwritable, text)
        })?,
        None => folder::replace(&path, text.as_bytes(), 0o600).or_exit(Exit::Unwritable)?,
    }
    drop(lock);
    let way = MasterKey::inspect(file).map_err(keeper::failure)?.0;
    told(context, command, file, way)
}

fn told(context: &Context, command: &Rewrap, file: &Path, way: Way) -> Result<Exit, Failure> {
    let out = &context.output;
    if out.is_json() {
        let file = file.display().to_string();
        out.json(&json!({ "file": file, "unlock": word(way) }))?;
        return Ok(Exit::Ok);
    }
    out.line(&format!("`{}` {way}", file.display()))?;
    if command.out.is_some() {
        out.note("to use it, put it in the place of `master.key`, as its owner and with mode 0600");
        return Ok(Exit::Ok);
    }
    let flags = command.target.flags();
    let settings = context.folder().configuration();
    out.note(&match flags.is_empty() {
        true => format!("start without what unlocked it, also in {}", settings.display()),
        false => format!("start with{flags}, or say so in {}", settings.display()),
    });
    out.note("copies of the old file still open as before: backups, and what the disk has not overwritten");
    Ok(Exit::Ok)
}

impl Target {
    /// Writes the flags that `up` needs from now on.
    fn flags(&self) -> String {
        let given = self.settings().into_iter().filter(|(_, values)| !values.is_empty());
        // The TPM finds with the key what it was sealed to.
        let given = given.filter(|(key, _)| *key != Key::TpmPcrs);
        let flags = given.map(|(key, values)| match (key, values.join(",").as_str()) {
            (Key::Tpm, TPM) => format!(" {}", key.flag()),
            (Key::Tpm, name) => format!(" {}={name}", key.flag()),
            (key, value) => format!(" {} {value}", key.flag()),
        });
        flags.collect()
    }
}

/// Makes sure that there is a data folder, and that it may be used.
fn inspect(context: &Context) -> Result<(), Failure> {
    let folder = context.folder();
    match folder.inspect().map_err(folder_failure)? {
        State::Made => Ok(()),
        State::Empty => {
            let text = format!("there is no data folder at `{}` yet", folder.path().display());
            Err(Failure::new(Exit::NotFound, text))
        }
    }
}

fn folder_failure(error: FolderError) -> Failure {
    Failure { exit: error.exit(), error: error.into() }
}

fn path(path: &Option<PathBuf>) -> Vec<String> {
    path.iter().map(|path| path.display().to_string()).collect()
}

fn word(way: Way) -> &'static str {
    match way {
        Way::KeyFile => "key-file",
        Way::Passphrase => "passphrase",
        Way::Keeper(kind) => kind.word(),
    }
}
