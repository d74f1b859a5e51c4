//! `token`: credentials for programs.

use std::path::PathBuf;

use clap::Subcommand;
use hyper::Method;
use serde_json::{Value, json};

use super::Context;
use super::operator::Role;
use super::output::{items, moment, plain, text};
use crate::client::encode;
use crate::exit::{Exit, Failure};

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a token and show it this once
    Make {
        /// What it is for
        name: String,
        /// What its holder may do
        #[arg(long, value_enum, default_value = "viewer")]
        role: Role,
        /// How long it works
        #[arg(long, default_value_t = 90, value_name = "DAYS")]
        days: u32,
        /// Write it into this file (0600) instead of showing it
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// List tokens
    List,
    /// Revoke a token
    Revoke {
        /// Its id, as `token list` shows it
        id: String,
    },
}

/// Does it.
pub(crate) async fn run(context: &Context, command: Command) -> Result<Exit, Failure> {
    let client = context.client()?;
    let out = &context.output;
    match command {
        Command::Make { name, role, days, out: file } => {
            let body = json!({ "name": name, "role": role.as_str(), "expires_in_days": days });
            let answer = client.send(Method::POST, "/v1/tokens", Some(body)).await?;
            return made(context, answer, file);
        }
        Command::List => {
            let page = client.get("/v1/tokens").await?;
            if out.is_json() {
                items(&page).iter().try_for_each(|item| out.json(item))?;
                return Ok(Exit::Ok);
            }
            let cell = |item: &Value, pointer: &str| plain(text(item, pointer));
            let row = |item: &Value| {
                let expires = plain(moment(item, "/expires"));
                vec![cell(item, "/id"), cell(item, "/name"), cell(item, "/role"), expires]
            };
            let rows = items(&page).iter().map(row).collect();
            out.table(&["id", "name", "role", "expires"], rows)?;
        }
        Command::Revoke { id } => {
            client.send(Method::DELETE, &format!("/v1/tokens/{}", encode(&id)), None).await?;
            match out.is_json() {
                true => out.json(&json!({ "revoked": id }))?,
                false => out.line(&format!("revoked {id}"))?,
            }
        }
    }
    Ok(Exit::Ok)
}

fn made(context: &Context, mut answer: Value, file: Option<PathBuf>) -> Result<Exit, Failure> {
    let out = &context.output;
    let token = text(&answer, "/text").to_string();
    if let Some(path) = &file {
        crate::folder::replace(path, format!("{token}\n").as_bytes(), 0o600)
            .map_err(|e| anyhow::anyhow!("cannot write `{}`: {e}", path.display()))?;
        if let Some(fields) = answer.as_object_mut() {
            fields.remove("text");
        }
    }
    match (out.is_json(), file) {
        (true, _) => out.json(&answer)?,
        (false, None) => out.line(&token)?,
        (false, Some(path)) => out.note(&format!("the token is in `{}`", path.display())),
    }
    out.note(&format!("it works until {} UTC", moment(&answer, "/token/expires")));
    Ok(Exit::Ok)
}
