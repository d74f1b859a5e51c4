//! `site`, `zone` and `kind`: where devices stand and what they are.

use clap::Subcommand;
use hyper::Method;
use serde_json::{Value, json};

use super::Context;
use super::output::{items, plain, text};
use crate::exit::{Exit, Failure};

/// What can be done with sites.
#[derive(Debug, Subcommand)]
pub(crate) enum Site {
    /// Add a site
    Add {
        /// Its id
        site: String,
        /// A name for people
        #[arg(long)]
        title: Option<String>,
    },
    /// List sites
    List,
}

/// What can be done with zones.
#[derive(Debug, Subcommand)]
pub(crate) enum Zone {
    /// Add a zone to a site
    Add {
        /// Its id
        zone: String,
        /// The site it is part of
        #[arg(long)]
        site: String,
        /// A name for people
        #[arg(long)]
        title: Option<String>,
    },
    /// List zones
    List,
}

/// What can be done with kinds.
#[derive(Debug, Subcommand)]
pub(crate) enum Kind {
    /// Add a kind of device
    Add {
        /// Its id
        kind: String,
        /// A name for people
        #[arg(long)]
        title: Option<String>,
    },
    /// List kinds
    List,
}

/// Works on sites.
pub(crate) async fn site(context: &Context, command: Site) -> Result<Exit, Failure> {
    match command {
        Site::Add { site, title } => {
            let title = title.unwrap_or_else(|| site.clone());
            add(context, "/v1/sites", json!({ "id": site, "title": title })).await
        }
        Site::List => list(context, "/v1/sites", &["id", "title"]).await,
    }
}

/// Works on zones.
pub(crate) async fn zone(context: &Context, command: Zone) -> Result<Exit, Failure> {
    match command {
        Zone::Add { zone, site, title } => {
            let title = title.unwrap_or_else(|| zone.clone());
            add(context, "/v1/zones", json!({ "id": zone, "site": site, "title": title })).await
        }
        Zone::List => list(context, "/v1/zones", &["id", "site", "title"]).await,
    }
}

/// Works on kinds.
pub(crate) async fn kind(context: &Context, command: Kind) -> Result<Exit, Failure> {
    match command {
        Kind::Add { kind, title } => {
            let title = title.unwrap_or_else(|| kind.clone());
            add(context, "/v1/kinds", json!({ "id": kind, "title": title })).await
        }
        Kind::List => list(context, "/v1/kinds", &["id", "title"]).await,
    }
}

async fn add(context: &Context, path: &str, body: Value) -> Result<Exit, Failure> {
    let id = text(&body, "/id").to_string();
    let answer = context.client()?.send(Method::POST, path, Some(body)).await?;
    match context.output.is_json() {
        true => context.output.json(&answer)?,
        false => context.output.line(&format!("added {id}"))?,
    }
    Ok(Exit::Ok)
}

async fn list(context: &Context, path: &str, columns: &[&str]) -> Result<Exit, Failure> {
    let page = context.client()?.get(path).await?;
    let out = &context.output;
    if out.is_json() {
        items(&page).iter().try_for_each(|item| out.json(item))?;
        return Ok(Exit::Ok);
    }
    let cell = |item: &Value, column: &&str| plain(text(item, &format!("/{column}")));
    let row = |item: &Value| columns.iter().map(|column| cell(item, column)).collect();
    out.table(columns, items(&page).iter().map(row).collect())?;
    Ok(Exit::Ok)
}
