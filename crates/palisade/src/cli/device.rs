//! `device`: add, look at, cut off, bring back, retire.

use std::io::BufRead;

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Map, Value, json};

use super::Context;
use super::events;
use super::output::{Tone, counted, items, moment, number, plain, text};
use crate::client::{Client, encode, query};
use crate::exit::{Exit, Failure};

/// What can be done with devices.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add a device and print the claim that lets it in
    Add(Add),
    /// List devices, those that need attention first
    List(List),
    /// Show everything known of a device
    Show {
        /// The device
        device: String,
    },
    /// Make a new claim for a device; the old one ends
    Claim {
        /// The device
        device: String,
    },
    /// Revoke the certificates of one device or many, and end their sessions
    Revoke(Revoke),
    /// Cut it off while it keeps its identity
    Quarantine(Reasoned),
    /// End its quarantine
    Recover(Reasoned),
    /// Take it out of service for good
    Retire(Reasoned),
    /// What happened to it, newest first
    Events {
        /// The device
        device: String,
        /// How many events
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: u16,
    },
}

/// A new device.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// Its id: 1 to 64 of a-z 0-9 - _ .
    device: String,
    /// Its kind
    #[arg(long)]
    kind: String,
    /// The zone it stands in
    #[arg(long)]
    zone: String,
    /// A name for people
    #[arg(long)]
    title: Option<String>,
    /// Who answers for it
    #[arg(long)]
    owner: Option<String>,
    /// A label, as KEY=VALUE; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// Write the claim into this file (0600) instead of showing it
    #[arg(long, value_name = "FILE")]
    claim_file: Option<std::path::PathBuf>,
}

/// Which devices.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Words in id, title, owner or labels
    text: Option<String>,
    /// manufactured, claimed, active or retired
    #[arg(long)]
    stage: Option<String>,
    /// Only this kind
    #[arg(long)]
    kind: Option<String>,
    /// Only this zone
    #[arg(long)]
    zone: Option<String>,
    /// Only this site
    #[arg(long)]
    site: Option<String>,
    /// connected, away or never
    #[arg(long)]
    connection: Option<String>,
    /// any, red or amber
    #[arg(long)]
    attention: Option<String>,
    /// At most so many; 0 lists all
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: usize,
}

/// Which devices lose their certificates, and why.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The devices; `-` reads their ids from standard input, one a line
    #[arg(required_unless_present_any = ["kind", "zone", "site"])]
    #[arg(conflicts_with_all = ["kind", "zone", "site"])]
    devices: Vec<String>,
    /// Every device of this kind
    #[arg(long)]
    kind: Option<String>,
    /// Every device in this zone
    #[arg(long)]
    zone: Option<String>,
    /// Every device at this site
    #[arg(long)]
    site: Option<String>,
    /// Why; it stands in the record
    #[arg(long, default_value = "no reason given")]
    reason: String,
}

/// A device and why something is done to it.
#[derive(Debug, Args)]
pub(crate) struct Reasoned {
    /// The device
    device: String,
    /// Why; it stands in the record
    #[arg(long, default_value = "no reason given")]
    reason: String,
}

/// Does it.
pub(crate) async fn run(context: &Context, command: Command) -> Result<Exit, Failure> {
    let client = context.client()?;
    match command {
        Command::Add(add) => add_device(context, &client, add).await,
        Command::List(list) => list_devices(context, &client, &list).await,
        Command::Show { device } => show(context, &client, &device).await,
        Command::Claim { device } => {
            let path = format!("/v1/devices/{}/claim", encode(&device));
            let answer = client.send(Method::POST, &path, None).await?;
            print_claim(context, &answer, &device, None)
        }
        Command::Revoke(which) => revoke(context, &client, which).await,
        Command::Quarantine(reasoned) => act(context, &client, "quarantine", &reasoned).await,
        Command::Recover(reasoned) => act(context, &client, "recover", &reasoned).await,
        Command::Retire(reasoned) => act(context, &client, "retire", &reasoned).await,
        Command::Events { device, limit } => {
            let limit = limit.to_string();
            let query = query(&[("limit", Some(&limit))]);
            let path = format!("/v1/devices/{}/events{query}", encode(&device));
            events::print(context, &client.get(&path).await?)
        }
    }
}

async fn add_device(context: &Context, client: &Client, add: Add) -> Result<Exit, Failure> {
    let mut body = Map::new();
    body.insert("id".into(), add.device.clone().into());
    body.insert("kind".into(), add.kind.into());
    body.insert("zone".into(), add.zone.into());
    body.extend(add.title.map(|title| ("title".into(), title.into())));
    body.extend(add.owner.map(|owner| ("owner".into(), owner.into())));
    if !add.label.is_empty() {
        let labels: Map<_, _> = add.label.into_iter().map(|(k, v)| (k, v.into())).collect();
        body.insert("labels".into(), labels.into());
    }
    let answer = client.send(Method::POST, "/v1/devices", Some(body.into())).await?;
    print_claim(context, &answer, &add.device, add.claim_file.as_deref())
}

fn print_claim(
    context: &Context,
    answer: &Value,
    device: &str,
    file: Option<&std::path::Path>,
) -> Result<Exit, Failure> {
    let out = &context.output;
    let claim = text(answer, "/claim/text");
    let shown = match file {
        Some(path) => {
            crate::folder::replace(path, format!("{claim}\n").as_bytes(), 0o600)
                .map_err(|e| anyhow::anyhow!("cannot write `{}`: {e}", path.display()))?;
            path.display().to_string()
        }
        None => "CLAIM".into(),
    };
    if out.is_json() {
        out.json(answer)?;
        return Ok(Exit::Ok);
    }
    if file.is_none() {
        out.line(claim)?;
    }
    out.note(&format!(
        "\u{2191} the claim of `{device}`: it works once and until {} UTC. On the device:",
        moment(answer, "/claim/expires")
    ));
    let server = text(answer, "/claim/server");
    out.note(&format!("  palisade enroll --server {server} --claim {shown} --out {device}"));
    Ok(Exit::Ok)
}

async fn list_devices(context: &Context, client: &Client, list: &List) -> Result<Exit, Failure> {
    let mut rows: Vec<Value> = Vec::new();
    let mut after: Option<String> = None;
    let wanted = if list.limit == 0 { usize::MAX } else { list.limit };
    let total = loop {
        let limit = (wanted - rows.len()).min(500).to_string();
        let query = query(&[
            ("q", list.text.as_deref()),
            ("stage", list.stage.as_deref()),
            ("kind", list.kind.as_deref()),
            ("zone", list.zone.as_deref()),
            ("site", list.site.as_deref()),
            ("connection", list.connection.as_deref()),
            ("attention", list.attention.as_deref()),
            ("after", after.as_deref()),
            ("limit", Some(&limit)),
        ]);
        let page = client.get(&format!("/v1/devices{query}")).await?;
        rows.extend(items(&page).iter().cloned());
        after = page.get("next").and_then(Value::as_str).map(str::to_string);
        if after.is_none() || rows.len() >= wanted {
            break number(&page, "/total");
        }
    };
    let out = &context.output;
    if out.is_json() {
        rows.iter().try_for_each(|row| out.json(row))?;
        return Ok(Exit::Ok);
    }
    let headings = ["device", "kind", "zone", "stage", "connection", "attention"];
    out.table(&headings, rows.iter().map(row).collect())?;
    if u64::try_from(rows.len()).is_ok_and(|n| n < total) {
        out.note(&format!("{} of {total}; --limit 0 lists all", rows.len()));
    }
    Ok(Exit::Ok)
}

fn row(device: &Value) -> Vec<(String, Tone)> {
    let connection = text(device, "/connection/state");
    let tone = match connection {
        "connected" => Tone::Good,
        _ => Tone::Faint,
    };
    let attention = device.get("attention").and_then(Value::as_array);
    let first = attention.and_then(|list| list.first());
    let attention = match first {
        Some(first) if text(first, "/severity") == "red" => {
            (text(first, "/text").into(), Tone::Bad)
        }
        Some(first) => (text(first, "/text").into(), Tone::Amber),
        None => plain(""),
    };
    vec![
        plain(text(device, "/id")),
        plain(text(device, "/kind")),
        plain(format!("{}/{}", text(device, "/site"), text(device, "/zone"))),
        plain(text(device, "/stage")),
        (connection.into(), tone),
        attention,
    ]
}

async fn show(context: &Context, client: &Client, device: &str) -> Result<Exit, Failure> {
    let device = client.get(&format!("/v1/devices/{}", encode(device))).await?;
    print_device(context, &device)
}

fn print_device(context: &Context, device: &Value) -> Result<Exit, Failure> {
    let out = &context.output;
    if out.is_json() {
        out.json(device)?;
        return Ok(Exit::Ok);
    }
    let mut pairs = vec![
        ("device", text(device, "/id").to_string()),
        ("title", text(device, "/title").to_string()),
        ("kind", text(device, "/kind").to_string()),
        ("zone", format!("{} in {}", text(device, "/zone"), text(device, "/site"))),
        ("owner", text(device, "/owner").to_string()),
        ("stage", text(device, "/stage").to_string()),
        ("connection", connection(device)),
        ("quarantined", quarantine(device)),
        ("certificate", certificate(device)),
        ("claim", claim(device)),
    ];
    let facts = device.pointer("/posture/facts").and_then(Value::as_array);
    for fact in facts.into_iter().flatten() {
        let since = moment(fact, "/since");
        let (name, value, source) =
            (text(fact, "/name"), text(fact, "/value"), text(fact, "/source"));
        pairs.push(("fact", format!("{name} is {value}, says {source} since {since}")));
    }
    let attention = device.get("attention").and_then(Value::as_array);
    for item in attention.into_iter().flatten() {
        let since = moment(item, "/since");
        let (severity, what) = (text(item, "/severity"), text(item, "/text"));
        pairs.push(("attention", format!("{severity}: {what} (since {since})")));
    }
    pairs.retain(|(_, value)| !value.is_empty());
    out.pairs(&pairs)?;
    Ok(Exit::Ok)
}

fn connection(device: &Value) -> String {
    let since = moment(device, "/connection/since");
    match text(device, "/connection/state") {
        "connected" => {
            let (peer, protocol) =
                (text(device, "/connection/peer"), text(device, "/connection/protocol"));
            format!("connected since {since} from {peer} ({protocol})")
        }
        "away" => format!("away since {since}"),
        state => state.to_string(),
    }
}

fn quarantine(device: &Value) -> String {
    match device.get("quarantined") {
        Some(Value::Object(_)) => {
            let since = moment(device, "/quarantined/since");
            let (by, reason) =
                (text(device, "/quarantined/by"), text(device, "/quarantined/reason"));
            format!("since {since} by {by}: {reason}")
        }
        _ => String::new(),
    }
}

fn certificate(device: &Value) -> String {
    if !device.get("certificate").is_some_and(Value::is_object) {
        return "none".into();
    }
    let until = moment(device, "/certificate/not_after");
    let fingerprint = text(device, "/certificate/fingerprint");
    match text(device, "/certificate/revoked/reason") {
        "" => format!("{fingerprint}, valid until {until}"),
        reason => format!("{fingerprint}, revoked: {reason}"),
    }
}

fn claim(device: &Value) -> String {
    if !device.get("claim").is_some_and(Value::is_object) {
        return String::new();
    }
    match moment(device, "/claim/used") {
        used if used.is_empty() => format!("open until {}", moment(device, "/claim/expires")),
        used => format!("used {used}"),
    }
}

async fn revoke(context: &Context, client: &Client, which: Revoke) -> Result<Exit, Failure> {
    let Revoke { devices, kind, zone, site, reason } = which;
    let ids = match devices.as_slice() {
        [dash] if dash == "-" => listed(std::io::stdin().lock())?,
        _ => devices,
    };
    let body = json!({
        "ids": ids, "kind": kind, "zone": zone, "site": site, "reason": reason,
    });
    let answer = client.send(Method::POST, "/v1/devices/revoke", Some(body)).await?;
    let out = &context.output;
    if out.is_json() {
        out.json(&answer)?;
        return Ok(Exit::Ok);
    }
    let whose = match ids.as_slice() {
        [device] => device.clone(),
        _ => counted(number(&answer, "/devices"), "device"),
    };
    out.line(&format!(
        "revoked {} and ended {} of {whose}",
        counted(number(&answer, "/certificates"), "certificate"),
        counted(number(&answer, "/sessions"), "session"),
    ))?;
    Ok(Exit::Ok)
}

/// Reads ids, one a line; empty lines are passed over.
fn listed(lines: impl BufRead) -> Result<Vec<String>, Failure> {
    let mut ids = Vec::new();
    for line in lines.lines() {
        let line = line.map_err(|e| anyhow::anyhow!("cannot read the devices: {e}"))?;
        let id = line.trim();
        if !id.is_empty() {
            ids.push(id.to_owned());
        }
    }
    match ids.is_empty() {
        true => Err(Failure::new(Exit::Usage, "standard input names no device")),
        false => Ok(ids),
    }
}

async fn act(
    context: &Context,
    client: &Client,
    verb: &str,
    reasoned: &Reasoned,
) -> Result<Exit, Failure> {
    let path = format!("/v1/devices/{}/{verb}", encode(&reasoned.device));
    let body = json!({ "reason": reasoned.reason });
    print_device(context, &client.send(Method::POST, &path, Some(body)).await?)
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a label looks like `line=3`")?;
    Ok((key.to_string(), value.to_string()))
}
