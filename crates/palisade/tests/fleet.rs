//! A large fleet is seen at once: pages, filters, counts, the command line, the start, the console.
//!
//! `PALISADE_FLEET=COUNT:SEED` says how large; `cargo xtask soak fleet` runs the full count. The
//! devices are added and enrolled through the API, as an operator and devices do it.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod rig;

#[path = "fleet/make.rs"]
mod make;
#[path = "../../control/src/store/tests/postgres.rs"]
mod postgres;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::Value;

use make::Plan;
use rig::api::Line;
use rig::dice::wanted;
use rig::measure::{Times, show_weights};
use rig::run::Run;

/// From how many devices on it is measured, not only tried.
const LARGE: usize = 1_000;
/// Within what a page of a large fleet must be there, the machine's other work included.
const BOUND: Duration = Duration::from_secs(1);

#[test]
fn a_large_fleet_is_seen_at_once() {
    let (n_devices, seed) = wanted("PALISADE_FLEET", 300);
    let n_devices = usize::try_from(n_devices).unwrap();
    let kept = tempfile::tempdir().unwrap();
    rig::keep_program(kept.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(see(Plan { n_devices, seed }, &[]));
    if n_devices >= LARGE
        && let Some(url) = postgres::database()
    {
        println!("\nthe store is PostgreSQL:");
        let plan = Plan { n_devices: n_devices / 5, seed };
        runtime.block_on(see(plan, &["--store", &url]));
    }
}

async fn see(plan: Plan, more: &[&str]) {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let mut run = Run::start(&data, more);
    run.ready().await.unwrap();
    plan.make(&data).await;
    run.stop();

    let started = Instant::now();
    let mut run = Run::start(&data, more);
    let ready = run.ready().await.unwrap();
    println!("ready after {:.2} s", started.elapsed().as_secs_f64());
    show_weights("right after", &run.pids());
    let n_runs = if plan.n_devices >= LARGE { 200 } else { 2 };
    ask_all(&plan, &data, n_runs).await;
    walk(&plan, &data).await;
    command_line(&plan, &data);
    show_weights("after all that was asked", &run.pids());
    if plan.n_devices >= LARGE && more.is_empty() {
        console(&ready);
        show_weights("after the console", &run.pids());
    }
    let log = run.stop();
    for line in log.lines().filter(|line| line.contains("standing ")) {
        println!("{line}");
    }
}

/// Asks what people ask, each so many times, and holds the answers against the plan.
async fn ask_all(plan: &Plan, data: &Path, n_runs: usize) {
    let n = |wanted: fn(&Plan, usize) -> bool| {
        (0..plan.n_devices).filter(|idx| wanted(plan, *idx)).count()
    };
    let last = plan.n_devices.saturating_sub(100);
    let pages = [
        ("first page", "?limit=100".to_owned(), n(|_, _| true)),
        ("first page, 500 rows", "?limit=500".to_owned(), n(|_, _| true)),
        ("by id", "?sort=id".to_owned(), n(|_, _| true)),
        ("by id, from the end", "?sort=id&order=desc".to_owned(), n(|_, _| true)),
        ("by last seen", "?sort=seen".to_owned(), n(|_, _| true)),
        ("by creation", "?sort=created".to_owned(), n(|_, _| true)),
        ("a kind", "?kind=meter".to_owned(), n(|_, idx| make::kind(idx) == "meter")),
        ("a zone", "?zone=zone-07".to_owned(), n(|_, idx| make::zone(idx) == "zone-07")),
        ("a site", "?site=north".to_owned(), n(|_, idx| make::site(idx) == "north")),
        ("a stage", "?stage=manufactured".to_owned(), n(|_, idx| !make::enrols(idx))),
        ("never connected", "?connection=never".to_owned(), n(|_, _| true)),
        ("attention red", "?attention=red".to_owned(), n(|_, idx| make::needs_a_person(idx))),
        ("attention any", "?attention=any".to_owned(), n(|_, idx| make::needs_a_person(idx))),
        ("a text that many have", "?q=pump".to_owned(), n(|_, idx| make::kind(idx) == "pump")),
        (
            "a text that few have",
            "?q=00017".to_owned(),
            n(|_, idx| make::id(idx).contains("00017")),
        ),
        ("a text that none has", "?q=nobody".to_owned(), 0),
        (
            "a text, a kind and a zone",
            "?q=0&kind=meter&zone=zone-07".to_owned(),
            n(|_, idx| {
                make::kind(idx) == "meter"
                    && make::zone(idx) == "zone-07"
                    && make::id(idx).contains('0')
            }),
        ),
        ("jump to the end", format!("?skip={last}&limit=100"), n(|_, _| true)),
        ("jump to the middle", format!("?skip={}&limit=100", plan.n_devices / 2), n(|_, _| true)),
        (
            "jump to a text's end",
            format!("?q=pump&skip={}", n(|_, idx| make::kind(idx) == "pump").saturating_sub(9)),
            n(|_, idx| make::kind(idx) == "pump"),
        ),
    ];
    for (what, query, total) in &pages {
        let page = ask(data, what, &format!("/v1/devices{query}"), n_runs).await;
        let found = page.get("total").and_then(Value::as_u64);
        assert_eq!(found, u64::try_from(*total).ok(), "{what}");
    }
    for sort in ["attention", "id", "seen"] {
        let cursor = last_cursor(plan, data, sort).await;
        let path = format!("/v1/devices?sort={sort}&limit=100&after={cursor}");
        ask(data, &format!("last page by {sort}"), &path, n_runs).await;
    }
    let fleet = ask(data, "the fleet in numbers", "/v1/fleet", n_runs).await;
    assert_eq!(fleet.get("total").and_then(Value::as_u64), u64::try_from(plan.n_devices).ok());
    let red = fleet.pointer("/attention/red").and_then(Value::as_u64);
    assert_eq!(red, u64::try_from(n(|_, idx| make::needs_a_person(idx))).ok());
    let id = make::id(plan.n_devices / 2);
    ask(data, "one device", &format!("/v1/devices/{id}"), n_runs).await;
    ask(data, "events, first page", "/v1/events", n_runs).await;
    ask(data, "events of one device", &format!("/v1/devices/{id}/events"), n_runs.min(20)).await;
}

async fn ask(data: &Path, what: &str, path: &str, n_runs: usize) -> Value {
    let mut line = Line::local(data).await.unwrap();
    let mut times = Times::default();
    let mut last = Value::Null;
    for _ in 0..n_runs {
        let started = Instant::now();
        let answer = line.ask(Method::GET, path, None).await.unwrap();
        times.add(started.elapsed());
        last = answer.json();
    }
    times.show(what);
    assert!(times.of_thousand(990) < BOUND || what.starts_with("events of"), "{what} is too slow");
    last
}

/// Walks the pages and gives the cursor of the last one.
async fn last_cursor(plan: &Plan, data: &Path, sort: &str) -> String {
    let mut line = Line::local(data).await.unwrap();
    let (mut cursor, mut n_seen) = (None::<String>, 0);
    loop {
        let after = cursor.as_ref().map(|cursor| format!("&after={cursor}")).unwrap_or_default();
        let limit = plan.n_devices.div_ceil(5).min(500);
        let path = format!("/v1/devices?sort={sort}&limit={limit}{after}");
        let page = line.get(&path).await.unwrap();
        n_seen += page.get("items").and_then(Value::as_array).unwrap().len();
        match page.get("next").and_then(Value::as_str) {
            Some(next) if n_seen < plan.n_devices => cursor = Some(next.to_owned()),
            Some(_) | None => break,
        }
    }
    assert_eq!(n_seen, plan.n_devices, "by {sort}, not every device is on one page");
    cursor.unwrap()
}

/// Every device is on exactly one page, whichever way one goes, and in order.
async fn walk(plan: &Plan, data: &Path) {
    let mut line = Line::local(data).await.unwrap();
    let queries = [
        "sort=id",
        "sort=id&order=desc",
        "sort=attention",
        "sort=attention&order=asc",
        "sort=created&order=asc",
    ];
    for query in queries {
        let mut seen = BTreeSet::new();
        let (mut after, mut n_rows) = (String::new(), 0);
        loop {
            let limit = if plan.n_devices >= LARGE { 500 } else { 37 };
            let path = format!("/v1/devices?{query}&limit={limit}{after}");
            let page = line.get(&path).await.unwrap();
            for device in page.get("items").and_then(Value::as_array).unwrap() {
                seen.insert(device.get("id").and_then(Value::as_str).unwrap().to_owned());
                n_rows += 1;
            }
            match page.get("next").and_then(Value::as_str) {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        assert_eq!((seen.len(), n_rows), (plan.n_devices, plan.n_devices), "{query}");
    }
}

fn command_line(plan: &Plan, data: &Path) {
    for (line, n_rows) in [
        ("device list --json", plan.n_devices.min(100)),
        ("device list --limit 0 --json", plan.n_devices),
        ("device list --kind meter --limit 10 --json", plan.n_devices.min(10)),
    ] {
        let mut command = rig::palisade();
        command.args(line.split_whitespace()).arg("--data").arg(data);
        let started = Instant::now();
        let output = command.output().unwrap();
        let took = started.elapsed().as_secs_f64();
        assert!(output.status.success(), "{}", rig::text(&output.stderr));
        assert_eq!(output.stdout.split(|byte| *byte == b'\n').count() - 1, n_rows, "{line}");
        println!("`palisade {line}`: {n_rows} rows in {took:.2} s");
    }
}

/// Drives the console in a browser, where there is one.
fn console(ready: &Value) {
    let console = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../console");
    if !console.join("node_modules/playwright-core").exists() {
        println!("the console was not driven: run `npm ci` in `console` first");
        return;
    }
    let said = |key: &str| ready.get(key).and_then(Value::as_str).unwrap();
    let status = Command::new("node")
        .arg("tests/large.mjs")
        .current_dir(console)
        .env("PALISADE_URL", said("console").replace("127.0.0.1", "localhost"))
        .env("PALISADE_LINK", said("sign_in").replace("127.0.0.1", "localhost"))
        .status();
    assert!(status.unwrap().success());
}
