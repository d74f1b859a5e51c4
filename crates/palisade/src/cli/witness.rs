//! `witness`: who else watches the record, as an administrator declares it.

use clap::Subcommand;
use hyper::Method;
use serde_json::{Value, json};

use super::Context;
use super::output::{items, moment, plain, text};
use crate::client::encode;
use crate::exit::{Exit, Failure};

/// What can be done with witnesses.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Declare a witness: its cosignatures are kept from now on
    Add {
        /// Its key, as `palisade ledger witness` shows it on the witness's machine
        key: String,
    },
    /// List the witnesses and what each saw last
    List,
    /// Remove a witness
    Remove {
        /// Its name
        name: String,
    },
}

/// Does it.
pub(crate) async fn run(context: &Context, command: Command) -> Result<Exit, Failure> {
    let client = context.client()?;
    let out = &context.output;
    match command {
        Command::Add { key } => {
            let body = Some(json!({ "key": key }));
            let answer = client.send(Method::POST, "/v1/ledger/witnesses", body).await?;
            match out.is_json() {
                true => out.json(&answer)?,
                false => out.line(&format!("added {}", text(&answer, "/name")))?,
            }
        }
        Command::List => {
            let page = client.get("/v1/ledger/witnesses").await?;
            if out.is_json() {
                items(&page).iter().try_for_each(|item| out.json(item))?;
                return Ok(Exit::Ok);
            }
            let row = |item: &Value| {
                let size = item.get("size").and_then(Value::as_u64);
                let saw = size.map_or("nothing yet".to_owned(), |size| format!("{size} events"));
                let seen = moment(item, "/seen");
                vec![plain(text(item, "/name")), plain(saw), plain(seen), plain(text(item, "/key"))]
            };
            let rows = items(&page).iter().map(row).collect();
            out.table(&["name", "cosigned", "when", "key"], rows)?;
        }
        Command::Remove { name } => {
            let path = format!("/v1/ledger/witnesses/{}", encode(&name));
            client.send(Method::DELETE, &path, None).await?;
            match out.is_json() {
                true => out.json(&json!({ "removed": name }))?,
                false => out.line(&format!("removed {name}"))?,
            }
        }
    }
    Ok(Exit::Ok)
}
