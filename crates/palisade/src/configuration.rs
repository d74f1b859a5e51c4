//! Settings: defaults, then `palisade.toml`, then the environment, then flags; each remembers
//! where it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{ErrorKind, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use identity::certificate::ServerName;
use identity::excerpt;

pub(crate) use key::Key;
pub(crate) use unlocking::Unlocking;

mod key;
mod unlocking;

/// What the program was told, each value with its origin.
#[derive(Debug)]
pub(crate) struct Configuration {
    /// The data folder.
    pub(crate) data: Setting<PathBuf>,
    /// The address that the listeners bind.
    pub(crate) listen: Setting<IpAddr>,
    /// The port of console and API.
    pub(crate) https_port: Setting<u16>,
    /// The port of MQTT over TLS.
    pub(crate) mqtt_port: Setting<u16>,
    /// The oldest TLS that devices may speak.
    pub(crate) mqtt_tls: Setting<TlsVersion>,
    /// Where Prometheus may ask for the gateway's counts; none means nowhere.
    pub(crate) metrics: Setting<Option<SocketAddr>>,
    /// The names by which devices and browsers reach this server.
    pub(crate) name: Setting<Vec<ServerName>>,
    /// A PostgreSQL URL; none means SQLite in the data folder.
    pub(crate) store: Setting<Option<String>>,
    /// How the master key is unlocked.
    pub(crate) unlocking: Unlocking,
    /// The server that commands talk to; none means the one on this machine.
    pub(crate) server: Setting<Option<String>>,
    /// The file that holds the API token for that server.
    pub(crate) token_file: Setting<Option<PathBuf>>,
    /// The file that holds that server's root certificate.
    pub(crate) root: Setting<Option<PathBuf>>,
    /// The fingerprint of that server's root certificate.
    pub(crate) root_fingerprint: Setting<Option<identity::Fingerprint>>,
    /// What is logged.
    pub(crate) log: Setting<String>,
    /// How it is logged; none means by whether standard error is a terminal.
    pub(crate) log_format: Setting<Option<LogFormat>>,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsVersion {
    V12,
    V13,
}

impl FromStr for TlsVersion {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "1.2" => Ok(Self::V12),
            "1.3" => Ok(Self::V13),
            _ => Err(()),
        }
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V12 => "1.2",
            Self::V13 => "1.3",
        })
    }
}

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting<T> {
    /// The value.
    pub(crate) value: T,
    /// Where it came from.
    pub(crate) origin: Origin,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody said anything else.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// The command line.
    Flag(String),
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Human,
    /// One JSON object per line.
    Json,
}

/// What was configured cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigurationError {
    /// The file cannot be read.
    #[error("cannot read the configuration `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("`{}` is not TOML: {text}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// What is wrong, on one line.
        text: String,
    },
    /// A key or variable that means nothing.
    #[error("`{found}` in {place} is no setting; did you mean `{nearest}`?")]
    Unknown {
        /// The name.
        found: String,
        /// Where it stands.
        place: String,
        /// The known name that looks most like it.
        nearest: String,
    },
    /// A value of the wrong shape.
    #[error("{origin} gives `{key}` the value `{found}`; {wanted}")]
    Value {
        /// The setting.
        key: &'static str,
        /// Who gave the value.
        origin: Origin,
        /// The value.
        found: String,
        /// What would be right.
        wanted: String,
    },
}

/// The longest configuration file, in bytes.
pub(crate) const MAX_FILE_BYTES: usize = 64 * 1024;

/// Raw values of one or several sources, the later over the earlier.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    values: BTreeMap<Key, (Vec<String>, Origin)>,
}

impl Layers {
    /// Lays a configuration file over what is there; an absent file adds nothing, nor does one in
    /// a folder that may not be entered: nothing else of that folder can be used either.
    pub(crate) fn file(&mut self, path: &Path) -> Result<(), ConfigurationError> {
        let hidden = std::fs::symlink_metadata(path).err();
        if hidden.is_some_and(|e| e.kind() == ErrorKind::PermissionDenied) {
            return Ok(());
        }
        match read(path) {
            Ok(text) => self.toml(&text, path),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(()),
            Err(source) => Err(ConfigurationError::Unreadable { path: path.into(), source }),
        }
    }

    /// Lays the text of a configuration file over what is there.
    pub(crate) fn toml(&mut self, text: &str, path: &Path) -> Result<(), ConfigurationError> {
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
            ConfigurationError::Toml { path: path.into(), text: place_and_problem(text, &e) }
        })?;
        let origin = Origin::File(path.into());
        for (name, value) in table {
            let key = Key::ALL.into_iter().find(|key| key.name() == name && key.in_file());
            let key = key.ok_or_else(|| ConfigurationError::Unknown {
                nearest: key::nearest(&name, Key::ALL.iter().map(|key| key.name().into())),
                found: excerpt(&name),
                place: origin.to_string(),
            })?;
            let values = match value {
                toml::Value::Array(items) => items.iter().map(plain).collect(),
                value => vec![plain(&value)],
            };
            self.set(key, values, origin.clone());
        }
        Ok(())
    }

    /// Lays environment variables over what is there; those without our prefix are not ours.
    pub(crate) fn environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), ConfigurationError> {
        for (name, value) in variables {
            if !name.starts_with(key::PREFIX) || key::made_by_an_orchestrator(&name) {
                continue;
            }
            let key = Key::ALL.into_iter().find(|key| key.variable() == name);
            let key = key.ok_or_else(|| ConfigurationError::Unknown {
                nearest: key::nearest(&name, Key::ALL.iter().map(|key| key.variable())),
                found: excerpt(&name),
                place: "the environment".into(),
            })?;
            let values = match key.many() {
                true => value.split(',').map(|part| part.trim().to_string()).collect(),
                false => vec![value],
            };
            self.set(key, values, Origin::Environment(name));
        }
        Ok(())
    }

    /// Lays a flag over what is there; an empty one was not given.
    pub(crate) fn flag(&mut self, key: Key, values: Vec<String>) {
        if !values.is_empty() {
            self.set(key, values, Origin::Flag(key.flag()));
        }
    }

    /// Lays a flag over what is there that says how something is to be, not how it is.
    pub(crate) fn target(&mut self, key: Key, values: Vec<String>) {
        if !values.is_empty() {
            self.set(key, values, Origin::Flag(key.target_flag()));
        }
    }

    /// Lays other sources over what is there.
    pub(crate) fn lay(&mut self, over: &Self) {
        self.values.extend(over.values.iter().map(|(key, value)| (*key, value.clone())));
    }

    fn set(&mut self, key: Key, values: Vec<String>, origin: Origin) {
        self.values.insert(key, (values, origin));
    }

    /// Gives the data folder, which says where the configuration file is.
    pub(crate) fn data(&self) -> Option<PathBuf> {
        let (values, _) = self.values.get(&Key::Data)?;
        values.first().map(PathBuf::from)
    }

    /// Reads every value as what it must be.
    pub(crate) fn assemble(&self, data: PathBuf) -> Result<Configuration, ConfigurationError> {
        let port = "a port is a number from 0 to 65535; 0 takes a free one";
        let path = "a path was expected";
        let url = "a text was expected";
        Ok(Configuration {
            data: self.one(Key::Data, path)?.unwrap_or(data),
            listen: self
                .one(Key::Listen, "an address such as `127.0.0.1` or `::` was expected")?
                .unwrap_or(IpAddr::from([127, 0, 0, 1])),
            https_port: self.one(Key::HttpsPort, port)?.unwrap_or(8443),
            mqtt_port: self.one(Key::MqttPort, port)?.unwrap_or(8883),
            mqtt_tls: self
                .one(Key::MqttTls, "`1.3` or `1.2` was expected")?
                .unwrap_or(TlsVersion::V13),
            metrics: self.one(
                Key::Metrics,
                "an address with a port such as `127.0.0.1:9464` was expected",
            )?,
            name: self.names()?,
            store: self.one(Key::Store, url)?,
            unlocking: self.unlocking()?,
            server: self.one(Key::Server, url)?,
            token_file: self.one(Key::TokenFile, path)?,
            root: self.one(Key::Root, path)?,
            root_fingerprint: self
                .one(Key::RootFingerprint, "64 hexadecimal digits were expected")?,
            log: self
                .one(Key::Log, "a filter such as `info` was expected")?
                .unwrap_or("info".into()),
            log_format: self.one(Key::LogFormat, "`human` or `json` was expected")?,
        })
    }

    fn one<T: FromStr>(
        &self,
        key: Key,
        wanted: &str,
    ) -> Result<Setting<Option<T>>, ConfigurationError> {
        let Some((values, origin)) = self.values.get(&key) else {
            return Ok(Setting { value: None, origin: Origin::Default });
        };
        let parsed = match values.as_slice() {
            [value] => value.parse().ok(),
            _ => None,
        };
        let value = parsed.ok_or_else(|| refused(key, origin, values, wanted))?;
        Ok(Setting { value: Some(value), origin: origin.clone() })
    }

    fn names(&self) -> Result<Setting<Vec<ServerName>>, ConfigurationError> {
        let Some((values, origin)) = self.values.get(&Key::Name) else {
            return Ok(Setting { value: Vec::new(), origin: Origin::Default });
        };
        let names = values.iter().map(|value| value.parse()).collect::<Result<_, _>>();
        let wanted = "a host name or an address was expected";
        let value = names.map_err(|_| refused(Key::Name, origin, values, wanted))?;
        Ok(Setting { value, origin: origin.clone() })
    }
}

impl<T> Setting<Option<T>> {
    fn unwrap_or(self, default: T) -> Setting<T> {
        Setting { value: self.value.unwrap_or(default), origin: self.origin }
    }
}

fn refused(key: Key, origin: &Origin, values: &[String], wanted: &str) -> ConfigurationError {
    let (found, origin) = (excerpt(&values.join(", ")), origin.clone());
    ConfigurationError::Value { key: key.name(), origin, found, wanted: wanted.into() }
}

/// Reads a configuration file, up to a bound.
fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    let most = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX);
    if file.take(most.saturating_add(1)).read_to_string(&mut text)? > MAX_FILE_BYTES {
        let why = format!("it has more than {MAX_FILE_BYTES} bytes");
        return Err(std::io::Error::new(ErrorKind::FileTooLarge, why));
    }
    Ok(text)
}

/// Says where a text is no TOML and why; the line itself may hold a password and is not shown.
fn place_and_problem(text: &str, error: &toml::de::Error) -> String {
    let start = error.span().map_or(0, |span| span.start);
    let n_before = text.bytes().take(start).filter(|byte| *byte == b'\n').count();
    format!("line {}: {}", n_before.saturating_add(1), excerpt(error.message()))
}

fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// Reads the environment once: the variables that are text.
pub(crate) fn environment() -> Vec<(String, String)> {
    let pairs = std::env::vars_os();
    pairs.filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect()
}

/// Says whether the person asked for text without colours (<https://no-color.org>).
pub(crate) fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Says whether somebody asked the TPM's library for its log, which goes to standard error.
#[cfg(feature = "tpm")]
pub(crate) fn tpm_library_may_talk() -> bool {
    std::env::var_os("TSS2_LOG").is_some()
}

/// Gives the folder where this platform keeps such data.
pub(crate) fn default_data() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/palisade");
    }
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let home = || absolute("HOME").map(|home| home.join(".local/share"));
    let base = absolute("XDG_DATA_HOME").or_else(home);
    base.unwrap_or_else(|| PathBuf::from(".")).join("palisade")
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "`{}`", path.display()),
            Self::Environment(name) => write!(f, "${name}"),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        clap::ValueEnum::from_str(text, false)
    }
}

#[cfg(test)]
mod tests;
