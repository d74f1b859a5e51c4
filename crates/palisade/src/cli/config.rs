//! `config`: the settings and where each came from.

use std::fmt::Display;

use clap::Subcommand;
use serde_json::json;

use super::Context;
use super::output::{Tone, plain};
use crate::configuration::{Configuration, Key, Origin, Setting};
use crate::exit::{Exit, Failure};

/// What can be done with the settings.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print every setting
    Show {
        /// Say where each came from
        #[arg(long)]
        origin: bool,
    },
}

/// Prints them.
pub(crate) fn run(context: &Context, command: Command) -> Result<Exit, Failure> {
    let Command::Show { origin } = command;
    let out = &context.output;
    let settings = Key::ALL.map(|key| (key, value(&context.configuration, key)));
    if out.is_json() {
        for (key, (value, origin)) in settings {
            let origin = origin.to_string().replace('`', "");
            out.json(&json!({ "name": key.name(), "value": value, "origin": origin }))?;
        }
        return Ok(Exit::Ok);
    }
    let rows = settings.into_iter().map(|(key, (value, from))| {
        let tone = if from == Origin::Default { Tone::Faint } else { Tone::Plain };
        let mut row = vec![plain(key.name()), (value.unwrap_or_else(|| "-".into()), tone)];
        row.extend(origin.then(|| (from.to_string(), tone)));
        row
    });
    let headings: &[&str] =
        if origin { &["setting", "value", "origin"] } else { &["setting", "value"] };
    out.table(headings, rows.collect())?;
    Ok(Exit::Ok)
}

/// Writes one setting for people; a password in a URL is not shown.
fn value(configuration: &Configuration, key: Key) -> (Option<String>, Origin) {
    let c = configuration;
    match key {
        Key::Data => (Some(c.data.value.display().to_string()), c.data.origin.clone()),
        Key::Listen => one(&c.listen),
        Key::HttpsPort => one(&c.https_port),
        Key::MqttPort => one(&c.mqtt_port),
        Key::MqttTls => one(&c.mqtt_tls),
        Key::Metrics => {
            (c.metrics.value.map(|address| address.to_string()), c.metrics.origin.clone())
        }
        Key::Name => {
            let names: Vec<_> = c.name.value.iter().map(ToString::to_string).collect();
            (Some(names.join(", ")).filter(|names| !names.is_empty()), c.name.origin.clone())
        }
        Key::Store => {
            let url = c.store.value.as_deref().map(without_password);
            (url.or_else(|| Some("sqlite".into())), c.store.origin.clone())
        }
        Key::PassphraseFile => path(&c.unlocking.passphrase_file),
        Key::Pkcs11Module => path(&c.unlocking.pkcs11_module),
        Key::Pkcs11Token => text(&c.unlocking.pkcs11_token),
        Key::Pkcs11PinFile => path(&c.unlocking.pkcs11_pin_file),
        Key::Tpm => text(&c.unlocking.tpm),
        Key::TpmPcrs => {
            let pcrs: Vec<_> = c.unlocking.tpm_pcrs.value.iter().map(u8::to_string).collect();
            let origin = c.unlocking.tpm_pcrs.origin.clone();
            (Some(pcrs.join(", ")).filter(|pcrs| !pcrs.is_empty()), origin)
        }
        Key::Server => text(&c.server),
        Key::TokenFile => path(&c.token_file),
        Key::Root => path(&c.root),
        Key::RootFingerprint => {
            (c.root_fingerprint.value.map(|f| f.to_string()), c.root_fingerprint.origin.clone())
        }
        Key::Log => one(&c.log),
        Key::LogFormat => {
            let format = c.log_format.value.and_then(|f| clap::ValueEnum::to_possible_value(&f));
            (format.map(|value| value.get_name().to_string()), c.log_format.origin.clone())
        }
    }
}

fn one<T: Display>(setting: &Setting<T>) -> (Option<String>, Origin) {
    (Some(setting.value.to_string()), setting.origin.clone())
}

fn text(setting: &Setting<Option<String>>) -> (Option<String>, Origin) {
    (setting.value.clone(), setting.origin.clone())
}

fn path(setting: &Setting<Option<std::path::PathBuf>>) -> (Option<String>, Origin) {
    (setting.value.as_ref().map(|path| path.display().to_string()), setting.origin.clone())
}

fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "(not a URL)".into() };
    let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    let path = path.split('?').next().unwrap_or_default();
    let authority = match authority.rsplit_once('@') {
        Some((user, host)) => {
            format!("{}@{host}", user.split(':').next().unwrap_or_default())
        }
        None => authority.to_string(),
    };
    format!("{scheme}://{authority}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        let cases = [
            ("postgres://palisade:s3cret@db:5432/palisade", "postgres://palisade@db:5432/palisade"),
            ("postgres://palisade:p@ss@db/x?password=y", "postgres://palisade@db/x"),
            ("postgres://db/palisade", "postgres://db/palisade"),
            ("s3cret", "(not a URL)"),
        ];
        for (url, shown) in cases {
            assert_eq!(without_password(url), shown);
        }
    }
}
