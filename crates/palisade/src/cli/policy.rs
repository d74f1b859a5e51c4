//! `policy`: what is granted, as Cedar text and declared namespaces.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Map, Value, json};

use super::Context;
use super::events;
use super::output::{number, text};
use crate::exit::{Exit, Failure};

/// What can be done with the policy.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the policy in force
    Show {
        /// Print the namespaces instead, as `set --namespaces` reads them
        #[arg(long)]
        namespaces: bool,
    },
    /// Check a policy without putting it in force
    Check(Proposal),
    /// Put a policy in force; what is not given stays as it is
    Set(Proposal),
    /// Who changed the policy when
    History,
}

/// A policy on disk; `-` reads standard input.
#[derive(Debug, Args)]
pub(crate) struct Proposal {
    /// Cedar text
    policy: Option<PathBuf>,
    /// Namespaces in TOML: NAME = "TEMPLATE"
    #[arg(long, value_name = "FILE")]
    namespaces: Option<PathBuf>,
}

/// Does it.
pub(crate) async fn run(context: &Context, command: Command) -> Result<Exit, Failure> {
    let client = context.client()?;
    let out = &context.output;
    match command {
        Command::Show { namespaces } => {
            let policy = client.get("/v1/policy").await?;
            match (out.is_json(), namespaces) {
                (true, _) => out.json(&policy)?,
                (false, true) => out.text(&write_namespaces(&policy))?,
                (false, false) => out.text(text(&policy, "/source"))?,
            }
            Ok(Exit::Ok)
        }
        Command::Check(proposal) => {
            let (source, namespaces, _) = read(context, &proposal).await?;
            let body = json!({ "source": source, "namespaces": namespaces });
            let checked = client.send(Method::POST, "/v1/policy/check", Some(body)).await?;
            report(context, &checked)
        }
        Command::Set(proposal) => {
            let (source, namespaces, version) = read(context, &proposal).await?;
            let body = json!({
                "source": source, "namespaces": namespaces, "expected_version": version,
            });
            let policy = client.send(Method::PUT, "/v1/policy", Some(body)).await?;
            let version = number(&policy, "/version");
            match out.is_json() {
                true => out.json(&policy)?,
                false => out.line(&format!("version {version} is in force"))?,
            }
            Ok(Exit::Ok)
        }
        Command::History => {
            events::print(context, &client.get("/v1/events?kind=policy.changed&limit=100").await?)
        }
    }
}

/// Reads a proposal over the policy in force, and that one's version.
async fn read(context: &Context, proposal: &Proposal) -> Result<(String, Value, u64), Failure> {
    if proposal.policy.is_none() && proposal.namespaces.is_none() {
        return Err(Failure::new(Exit::Usage, "name a policy file, --namespaces, or both"));
    }
    let current = context.client()?.get("/v1/policy").await?;
    let source = match &proposal.policy {
        Some(path) => read_text(path)?,
        None => text(&current, "/source").to_string(),
    };
    let namespaces = match &proposal.namespaces {
        Some(path) => read_namespaces(&read_text(path)?)?,
        None => current.get("namespaces").cloned().unwrap_or_default(),
    };
    Ok((source, namespaces, number(&current, "/version")))
}

fn report(context: &Context, checked: &Value) -> Result<Exit, Failure> {
    let out = &context.output;
    let ok = checked.get("ok").and_then(Value::as_bool).unwrap_or(false);
    if out.is_json() {
        out.json(checked)?;
    } else {
        for (key, word) in [("problems", "problem"), ("warnings", "warning")] {
            let list = checked.get(key).and_then(Value::as_array);
            for item in list.into_iter().flatten() {
                let place = match (number(item, "/line"), number(item, "/column")) {
                    (0, _) => "namespaces".to_owned(),
                    (line, column) => format!("{line}:{column}"),
                };
                out.line(&format!("{place} {word}: {}", text(item, "/text")))?;
            }
        }
        if ok {
            out.note("the policy can be put in force");
        }
    }
    Ok(if ok { Exit::Ok } else { Exit::Failed })
}

fn read_text(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = match path == Path::new("-") {
        true => std::io::stdin().lock().read_to_string(&mut text).map(|_| text),
        false => std::fs::read_to_string(path),
    };
    read.map_err(|e| Failure::new(Exit::Usage, format!("cannot read `{}`: {e}", path.display())))
}

fn read_namespaces(text: &str) -> Result<Value, Failure> {
    let wrong = "namespaces are lines such as `telemetry = \"{site}/{kind}/{device}/telemetry/#\"`";
    let table: Map<String, Value> =
        toml::from_str(text).map_err(|_| Failure::new(Exit::Usage, wrong))?;
    let namespace = |(name, template): (String, Value)| match template {
        Value::String(template) => Ok(json!({ "name": name, "template": template })),
        _ => Err(Failure::new(Exit::Usage, wrong)),
    };
    Ok(Value::Array(table.into_iter().map(namespace).collect::<Result<_, _>>()?))
}

fn write_namespaces(policy: &Value) -> String {
    let namespaces = policy.get("namespaces").and_then(Value::as_array);
    let line = |namespace: &Value| {
        let template = toml::Value::String(text(namespace, "/template").into());
        format!("{} = {template}", text(namespace, "/name"))
    };
    namespaces.into_iter().flatten().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_written_as_they_are_read() {
        let namespaces = json!([
            {"name": "command", "template": "{site}/{kind}/{device}/command/#"},
            {"name": "telemetry", "template": "{site}/{kind}/{device}/telemetry/#"},
        ]);
        let text = write_namespaces(&json!({ "namespaces": namespaces }));
        assert_eq!(read_namespaces(&text).unwrap(), namespaces);
        for wrong in ["telemetry", "telemetry = 1", "[telemetry]\na = 1"] {
            assert_eq!(read_namespaces(wrong).unwrap_err().exit, Exit::Usage, "{wrong}");
        }
    }
}
