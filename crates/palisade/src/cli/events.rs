//! `events`: what happened, newest first or as it comes.

use clap::Args;
use serde_json::Value;

use super::Context;
use super::output::{Tone, items, moment, number, plain, text};
use crate::client::query;
use crate::exit::{Exit, Failure};

/// Which events.
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Show what comes, until stopped
    #[arg(long, short)]
    follow: bool,
    /// Only about this device
    #[arg(long)]
    device: Option<String>,
    /// Only of this kind, such as device.revoked
    #[arg(long)]
    kind: Option<String>,
    /// Only since this time (RFC 3339, UTC)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// How many
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: u16,
}

/// Shows them.
pub(crate) async fn run(context: &Context, events: &Events) -> Result<Exit, Failure> {
    let client = context.client()?;
    if events.follow {
        let mut messages = client.follow("/v1/events/stream").await?;
        context.output.note("following; Ctrl-C ends it");
        while let Some(message) = messages.next().await? {
            if message.name != "event" {
                continue;
            }
            let event: Value = serde_json::from_str(&message.data)?;
            let of_device =
                events.device.as_deref().is_none_or(|id| text(&event, "/subject/name") == id);
            let of_kind = events.kind.as_deref().is_none_or(|kind| text(&event, "/kind") == kind);
            if of_device && of_kind {
                show(context, &event)?;
            }
        }
        return Err(Failure::new(Exit::Unreachable, "the server ended the stream"));
    }
    let limit = events.limit.to_string();
    let query = query(&[
        ("device", events.device.as_deref()),
        ("kind", events.kind.as_deref()),
        ("since", events.since.as_deref()),
        ("limit", Some(&limit)),
    ]);
    print(context, &client.get(&format!("/v1/events{query}")).await?)
}

/// Prints a page of events.
pub(crate) fn print(context: &Context, page: &Value) -> Result<Exit, Failure> {
    let out = &context.output;
    if out.is_json() {
        items(page).iter().try_for_each(|event| out.json(event))?;
        return Ok(Exit::Ok);
    }
    let row = |event: &Value| {
        let tone = match text(event, "/kind") {
            "access.denied" | "claim.refused" | "operator.refused" | "device.revoked" => Tone::Bad,
            "device.quarantined" => Tone::Amber,
            _ => Tone::Plain,
        };
        vec![
            (number(event, "/index").to_string(), Tone::Faint),
            plain(moment(event, "/at")),
            (text(event, "/kind").to_string(), tone),
            plain(sentence(event)),
        ]
    };
    out.table(&["#", "at (UTC)", "kind", "what"], items(page).iter().map(row).collect())?;
    Ok(Exit::Ok)
}

fn show(context: &Context, event: &Value) -> Result<(), Failure> {
    if context.output.is_json() {
        return context.output.json(event);
    }
    let (at, kind) = (moment(event, "/at"), text(event, "/kind"));
    context.output.line(&format!("{at}  {kind}  {}", sentence(event)))
}

fn sentence(event: &Value) -> String {
    let decision = text(event, "/decision");
    let mut what = text(event, "/text").to_string();
    if number(event, "/count") > 1 {
        what.push_str(&format!(" ({} times)", number(event, "/count")));
    }
    if !decision.is_empty() && !what.contains(decision) {
        what.push_str(&format!(" [{decision}]"));
    }
    what
}
