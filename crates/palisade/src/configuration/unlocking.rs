//! The settings that say how the master key is unlocked.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{ConfigurationError, Key, Layers, Origin, Setting, refused};

/// What was said about unlocking, which may still contradict itself (`keeper::Choice`).
#[derive(Debug)]
pub(crate) struct Unlocking {
    /// The file that holds a passphrase.
    pub(crate) passphrase_file: Setting<Option<PathBuf>>,
    /// The PKCS#11 module, a shared library.
    pub(crate) pkcs11_module: Setting<Option<PathBuf>>,
    /// The label of the token.
    pub(crate) pkcs11_token: Setting<Option<String>>,
    /// The file that holds the PIN of the token.
    pub(crate) pkcs11_pin_file: Setting<Option<PathBuf>>,
    /// How the TPM is reached, as the TPM's own library words it.
    pub(crate) tpm: Setting<Option<String>>,
    /// The PCRs whose present values the TPM asks for when it opens.
    pub(crate) tpm_pcrs: Setting<BTreeSet<u8>>,
}

/// The highest PCR that every TPM has.
const LAST_PCR: u8 = 23;

impl Layers {
    /// Reads the settings that say how the master key is unlocked.
    pub(crate) fn unlocking(&self) -> Result<Unlocking, ConfigurationError> {
        let path = "a path was expected";
        Ok(Unlocking {
            passphrase_file: self.one(Key::PassphraseFile, path)?,
            pkcs11_module: self.one(Key::Pkcs11Module, path)?,
            pkcs11_token: self.one(Key::Pkcs11Token, "the label of a token was expected")?,
            pkcs11_pin_file: self.one(Key::Pkcs11PinFile, path)?,
            tpm: self.one(Key::Tpm, "a TPM such as `device:/dev/tpmrm0` was expected")?,
            tpm_pcrs: self.pcrs()?,
        })
    }

    fn pcrs(&self) -> Result<Setting<BTreeSet<u8>>, ConfigurationError> {
        let Some((values, origin)) = self.values.get(&Key::TpmPcrs) else {
            return Ok(Setting { value: BTreeSet::new(), origin: Origin::Default });
        };
        let pcr = |text: &String| text.parse().ok().filter(|pcr| *pcr <= LAST_PCR);
        let wanted = "numbers from 0 to 23 were expected";
        let value = values.iter().map(pcr).collect::<Option<_>>();
        let value = value.ok_or_else(|| refused(Key::TpmPcrs, origin, values, wanted))?;
        Ok(Setting { value, origin: origin.clone() })
    }
}
