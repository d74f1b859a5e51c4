//! `operator`: people who may sign in.

use clap::{Subcommand, ValueEnum};
use hyper::Method;
use serde_json::{Value, json};

use super::Context;
use super::output::{Tone, items, moment, plain, text};
use crate::client::encode;
use crate::exit::{Exit, Failure};

/// What can be done with operators.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add an operator and print the link for the first sign-in
    Add {
        /// The name to sign in with
        name: String,
        /// What they may do
        #[arg(long, value_enum, default_value = "viewer")]
        role: Role,
    },
    /// List operators
    List,
    /// Remove an operator; their sessions end
    Remove {
        /// The name
        name: String,
    },
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Look
    Viewer,
    /// Look, and act on devices
    Operator,
    /// Everything
    Administrator,
}

impl Role {
    /// Gives the word that the API uses.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Administrator => "administrator",
        }
    }
}

/// Does it.
pub(crate) async fn run(context: &Context, command: Command) -> Result<Exit, Failure> {
    let client = context.client()?;
    let out = &context.output;
    match command {
        Command::Add { name, role } => {
            let body = json!({ "name": name, "role": role.as_str() });
            let answer = client.send(Method::POST, "/v1/operators", Some(body)).await?;
            if out.is_json() {
                out.json(&answer)?;
                return Ok(Exit::Ok);
            }
            out.line(text(&answer, "/link"))?;
            out.note(&format!(
                "\u{2191} put this behind the console's address and hand it to {name}: \
                 it works once, to choose a password"
            ));
        }
        Command::List => {
            let page = client.get("/v1/operators").await?;
            if out.is_json() {
                items(&page).iter().try_for_each(|item| out.json(item))?;
                return Ok(Exit::Ok);
            }
            out.table(
                &["name", "role", "created", "state"],
                items(&page).iter().map(row).collect(),
            )?;
        }
        Command::Remove { name } => {
            let path = format!("/v1/operators/{}", encode(&name));
            client.send(Method::DELETE, &path, None).await?;
            match out.is_json() {
                true => out.json(&json!({ "removed": name }))?,
                false => out.line(&format!("removed {name}"))?,
            }
        }
    }
    Ok(Exit::Ok)
}

fn row(item: &Value) -> Vec<(String, Tone)> {
    let state = match (item.get("active"), moment(item, "/locked_until")) {
        (_, until) if !until.is_empty() => (format!("locked until {until}"), Tone::Amber),
        (Some(Value::Bool(false)), _) => ("has not signed in yet".into(), Tone::Faint),
        _ => plain(""),
    };
    vec![
        plain(text(item, "/name")),
        plain(text(item, "/role")),
        plain(moment(item, "/created")),
        state,
    ]
}
