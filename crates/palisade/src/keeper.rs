//! How the master key is unlocked, as it was configured: by its file alone, a passphrase, a
//! PKCS#11 token or a TPM. The hardware is opened for one act, closed after it, and never kept.

use std::path::Path;

use journal::vault::{KeeperError, Kind, MasterKey, Unlock, VaultError, Way};
use zeroize::Zeroizing;

use crate::cli;
use crate::configuration::{Key, Origin, Unlocking};
use crate::exit::{Exit, Failure};

pub(crate) mod pkcs11;
pub(crate) mod sealed;
#[cfg(feature = "tpm")]
mod tpm;

/// The one way that the settings choose, with the secret that it takes.
pub(crate) enum Choice {
    /// The file is the key.
    KeyFile,
    /// A passphrase.
    Passphrase(Zeroizing<String>),
    /// A key on a PKCS#11 token.
    Pkcs11(pkcs11::Token),
    /// A TPM.
    #[cfg(feature = "tpm")]
    Tpm(tpm::Tpm),
}

impl Choice {
    /// Chooses, and reads the passphrase or PIN; refuses settings that contradict each other.
    pub(crate) fn of(settings: &Unlocking) -> Result<Self, Failure> {
        let usage = |text| Err(Failure::new(Exit::Usage, text));
        let s = settings;
        let ways = [
            (Key::PassphraseFile, &s.passphrase_file.origin, s.passphrase_file.value.is_some()),
            (Key::Pkcs11Module, &s.pkcs11_module.origin, s.pkcs11_module.value.is_some()),
            (Key::Tpm, &s.tpm.origin, s.tpm.value.is_some()),
        ];
        let mut chosen = ways.iter().filter(|(.., said)| *said);
        if let (Some(one), Some(other)) = (chosen.next(), chosen.next()) {
            return usage(format!(
                "{} and {} both say what unlocks the master key; leave one out",
                named(one.0, one.1),
                named(other.0, other.1)
            ));
        }
        let depend = [
            (Key::Pkcs11Token, &s.pkcs11_token.origin, Key::Pkcs11Module),
            (Key::Pkcs11PinFile, &s.pkcs11_pin_file.origin, Key::Pkcs11Module),
            (Key::TpmPcrs, &s.tpm_pcrs.origin, Key::Tpm),
        ];
        for (key, origin, needed) in depend {
            let said = ways.iter().any(|(way, _, said)| *way == needed && *said);
            if *origin != Origin::Default && !said {
                let text =
                    format!("{} means nothing without `{}`", named(key, origin), needed.name());
                return usage(text);
            }
        }
        if let Some(path) = &s.passphrase_file.value {
            return Ok(Self::Passphrase(cli::secret_line(path)?));
        }
        if let Some(module) = &s.pkcs11_module.value {
            let (Some(token), Some(pin)) = (&s.pkcs11_token.value, &s.pkcs11_pin_file.value) else {
                return usage(format!(
                    "{} needs the label of a token (`{}`) and the file of its PIN (`{}`)",
                    named(Key::Pkcs11Module, &s.pkcs11_module.origin),
                    Key::Pkcs11Token.name(),
                    Key::Pkcs11PinFile.name()
                ));
            };
            return pkcs11::Token::of(module, token, &cli::secret_line(pin)?).map(Self::Pkcs11);
        }
        match &s.tpm.value {
            Some(name) => tpm(name, settings),
            None => Ok(Self::KeyFile),
        }
    }

    /// Lends what unlocks.
    pub(crate) fn unlock(&self) -> Unlock<'_> {
        match self {
            Self::KeyFile => Unlock::KeyFile,
            Self::Passphrase(passphrase) => Unlock::Passphrase(passphrase),
            Self::Pkcs11(token) => Unlock::Keeper(token),
            #[cfg(feature = "tpm")]
            Self::Tpm(tpm) => Unlock::Keeper(tpm),
        }
    }

    /// Reads the master key from its file.
    pub(crate) fn load(&self, path: &Path) -> Result<MasterKey, Failure> {
        MasterKey::load(path, &self.unlock()).map_err(failure)
    }
}

#[cfg(feature = "tpm")]
fn tpm(name: &str, settings: &Unlocking) -> Result<Choice, Failure> {
    tpm::Tpm::of(name, &settings.tpm_pcrs.value).map(Choice::Tpm)
}

#[cfg(not(feature = "tpm"))]
fn tpm(_: &str, settings: &Unlocking) -> Result<Choice, Failure> {
    let text = format!(
        "{} needs a build with TPM support, which this is not: install libtss2-dev and \
         `cargo build --release -p palisade --features tpm`",
        named(Key::Tpm, &settings.tpm.origin)
    );
    Err(Failure::new(Exit::Usage, text))
}

fn named(key: Key, origin: &Origin) -> String {
    match origin {
        Origin::Flag(_) => origin.to_string(),
        _ => format!("`{}` ({origin})", key.name()),
    }
}

/// Gives an error of the vault its exit code, and says which flag mends it.
pub(crate) fn failure(error: VaultError) -> Failure {
    let exit = match &error {
        VaultError::Permissions { .. } | VaultError::Owner { .. } => Exit::Permissions,
        VaultError::WrongPassphrase(_)
        | VaultError::OtherUnlock { .. }
        | VaultError::Keeper(KeeperError::Refused(_)) => Exit::Passphrase,
        VaultError::ShortPassphrase(_) => Exit::Usage,
        _ => Exit::Failed,
    };
    let advice = match &error {
        VaultError::WrongPassphrase(_) => "; name the right one with --passphrase-file",
        VaultError::OtherUnlock { found, .. } => match found {
            Way::KeyFile => {
                "; leave --passphrase-file, --pkcs11-module and --tpm out, \
                 or change it first with `palisade key rewrap`"
            }
            Way::Passphrase => "; name the passphrase with --passphrase-file",
            Way::Keeper(Kind::Pkcs11) => {
                "; name the token with --pkcs11-module, --pkcs11-token and --pkcs11-pin-file"
            }
            Way::Keeper(Kind::Tpm) => "; name the TPM with --tpm",
        },
        _ => "",
    };
    Failure::new(exit, format!("{error}{advice}"))
}

#[cfg(test)]
mod tests;
