//! The settings there are, under their three names: in the file, the environment and as a flag.

/// What every environment variable of ours starts with.
pub(crate) const PREFIX: &str = "PALISADE_";

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// The data folder.
    Data,
    /// The address to bind.
    Listen,
    /// The port of console and API.
    HttpsPort,
    /// The port of MQTT over TLS.
    MqttPort,
    /// The oldest TLS that devices may speak.
    MqttTls,
    /// Where the gateway's metrics are served.
    Metrics,
    /// The server's names.
    Name,
    /// A PostgreSQL URL.
    Store,
    /// The file with the passphrase.
    PassphraseFile,
    /// The PKCS#11 module.
    Pkcs11Module,
    /// The label of the token.
    Pkcs11Token,
    /// The file with the token's PIN.
    Pkcs11PinFile,
    /// The TPM.
    Tpm,
    /// The PCRs that the TPM asks for.
    TpmPcrs,
    /// The server to talk to.
    Server,
    /// The file with the token.
    TokenFile,
    /// The file with the server's root.
    Root,
    /// The fingerprint of the server's root.
    RootFingerprint,
    /// What is logged.
    Log,
    /// How it is logged.
    LogFormat,
}

impl Key {
    /// Every setting, in the order they are shown.
    pub(crate) const ALL: [Self; 20] = [
        Self::Data,
        Self::Listen,
        Self::HttpsPort,
        Self::MqttPort,
        Self::MqttTls,
        Self::Metrics,
        Self::Name,
        Self::Store,
        Self::PassphraseFile,
        Self::Pkcs11Module,
        Self::Pkcs11Token,
        Self::Pkcs11PinFile,
        Self::Tpm,
        Self::TpmPcrs,
        Self::Server,
        Self::TokenFile,
        Self::Root,
        Self::RootFingerprint,
        Self::Log,
        Self::LogFormat,
    ];

    /// Gives the name in the configuration file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Listen => "listen",
            Self::HttpsPort => "https_port",
            Self::MqttPort => "mqtt_port",
            Self::MqttTls => "mqtt_tls",
            Self::Metrics => "metrics",
            Self::Name => "name",
            Self::Store => "store",
            Self::PassphraseFile => "passphrase_file",
            Self::Pkcs11Module => "pkcs11_module",
            Self::Pkcs11Token => "pkcs11_token",
            Self::Pkcs11PinFile => "pkcs11_pin_file",
            Self::Tpm => "tpm",
            Self::TpmPcrs => "tpm_pcrs",
            Self::Server => "server",
            Self::TokenFile => "token_file",
            Self::Root => "root",
            Self::RootFingerprint => "root_fingerprint",
            Self::Log => "log",
            Self::LogFormat => "log_format",
        }
    }

    /// Gives the environment variable.
    pub(crate) fn variable(self) -> String {
        format!("{PREFIX}{}", self.name().to_uppercase())
    }

    /// Gives the flag.
    pub(crate) fn flag(self) -> String {
        match self {
            Self::LogFormat => "--log".into(),
            key => format!("--{}", key.name().replace('_', "-")),
        }
    }

    /// Gives the flag that says how it is to be from now on.
    pub(crate) fn target_flag(self) -> String {
        self.flag().replacen("--", "--to-", 1)
    }

    /// Says whether it may stand in the file, which lies in the data folder.
    pub(crate) fn in_file(self) -> bool {
        self != Self::Data
    }

    /// Says whether it takes several values.
    pub(crate) fn many(self) -> bool {
        matches!(self, Self::Name | Self::TpmPcrs)
    }
}

/// Says whether a container platform made the variable by itself, for a service of our name.
pub(crate) fn made_by_an_orchestrator(variable: &str) -> bool {
    let rest = variable.strip_prefix(PREFIX).unwrap_or_default();
    rest.starts_with("SERVICE_") || rest == "PORT" || rest.starts_with("PORT_")
}

/// Finds the known name that looks most like an unknown one.
pub(crate) fn nearest(found: &str, known: impl Iterator<Item = String>) -> String {
    known.min_by_key(|name| distance(found, name)).unwrap_or_default()
}

/// Counts the letters to insert, drop or change to get from one text to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (n_done, letter) in from.chars().enumerate() {
        let mut next = vec![n_done + 1];
        for (wanted, above) in to.iter().zip(row.windows(2)) {
            let (diagonal, up) = (above[0], above[1]);
            let left = next.last().copied().unwrap_or(usize::MAX);
            let change = diagonal + usize::from(*wanted != letter);
            next.push(change.min(up + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_letters() {
        let cases = [("", "", 0), ("port", "port", 0), ("prot", "port", 2), ("", "abc", 3)];
        for (from, to, n) in cases {
            assert_eq!(distance(from, to), n, "{from} → {to}");
        }
    }

    #[test]
    fn variables_of_container_platforms_are_not_settings() {
        for name in ["PALISADE_SERVICE_HOST", "PALISADE_PORT", "PALISADE_PORT_8443_TCP"] {
            assert!(made_by_an_orchestrator(name), "{name}");
        }
        assert!(!made_by_an_orchestrator("PALISADE_HTTPS_PORT"));
    }
}
