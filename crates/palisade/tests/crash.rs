//! Kills every process of a server at once, again and again: nothing that was acknowledged is lost.
//!
//! `PALISADE_CRASHES=COUNT:SEED` says how often; `cargo xtask soak crash` runs the full count. A
//! tenth of the kills hits a first run in a folder of its own, the others servers whose folder
//! grows. SIGKILL leaves what the kernel has written, so this says nothing of a power cut.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod rig;

#[path = "crash/load.rs"]
mod load;
#[path = "crash/memory.rs"]
mod memory;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ledger::VerifierKey;
use serde_json::Value;

use load::{Scene, Seen, Talk, Talkers};
use memory::{Checked, Memory};
use rig::api::Line;
use rig::device::{Device, Home};
use rig::dice::{Dice, wanted};
use rig::run::Run;

/// How many kills a folder sees before the next one is begun.
const PER_FOLDER: u64 = 250;
/// How long the load goes on at most before the blow falls, in milliseconds.
const LOAD: u64 = 1_200;

#[test]
fn nothing_acknowledged_is_lost_when_everything_is_killed() {
    let (n_kills, seed) = wanted("PALISADE_CRASHES", 7);
    let kept = tempfile::tempdir().unwrap();
    rig::keep_program(kept.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut total = Total::default();
    while total.n_kills < n_kills - n_kills / 10 {
        let n_left = n_kills - n_kills / 10 - total.n_kills;
        let dice = Dice::seeded(seed + total.n_kills);
        runtime.block_on(kill_again_and_again(n_left.min(PER_FOLDER), dice, &mut total));
    }
    println!("{total:#?}");
}

#[test]
fn a_first_run_that_is_killed_leaves_nothing_half_made() {
    let (n_kills, seed) = wanted("PALISADE_CRASHES", 20);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut dice = Dice::seeded(seed);
    let mut stages = [0; 3];
    let mut start = runtime.block_on(first_run(&mut dice));
    for _ in 0..n_kills / 10 {
        // Some blows fall when it is ready.
        let moment = start.mul_f64(1.25 * dice.below(1_000) as f64 / 1_000.0);
        let (stage, took) = runtime.block_on(kill_first_run(moment, &mut dice));
        stages[stage] += 1;
        start = (start + took) / 2;
    }
    let [nothing, whole, ready] = stages;
    println!("killed before there was a folder: {nothing}, after: {whole}, when ready: {ready}");
}

/// What all rounds came to.
#[derive(Debug, Default)]
#[allow(dead_code, reason = "shown at the end")]
struct Total {
    n_kills: u64,
    n_before_ready: u64,
    n_devices_checked: u64,
    n_certificates_checked: u64,
    n_shown_events_checked: u64,
    n_messages_sent: u64,
    n_messages_acknowledged: u64,
    n_acknowledged_under_way: u64,
    n_torn_ends: u64,
    n_events: u64,
    n_devices: u64,
    slowest_start: Duration,
}

/// One folder and what is remembered of it.
struct Place {
    data: PathBuf,
    memory: Memory,
    key: Option<VerifierKey>,
    talkers: Option<Talkers>,
    start: Duration,
    dice: Dice,
}

async fn kill_again_and_again(n_kills: u64, dice: Dice, total: &mut Total) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let memory = Memory::default();
    let start = Duration::from_millis(500);
    let mut place = Place { data, memory, key: None, talkers: None, start, dice };
    for round in 0..n_kills {
        total.n_kills += 1;
        place.round(round, total).await;
        let last = (round + 1 == n_kills).then_some(&mut *total);
        place.verify_offline(last);
    }
    let mut run = Run::start(&place.data, &[]);
    let ready = run.ready().await.unwrap();
    let (home, checked) = place.check(&ready).await;
    total.add_checked(checked);
    total.n_devices += place.memory.check_all(&place.data).await.unwrap();
    drop(home);
    no_errors(&run.stop());
    place.verify_offline(None);
}

impl Place {
    /// Starts the server, lets it work, and kills it.
    async fn round(&mut self, round: u64, total: &mut Total) {
        let started = Instant::now();
        let mut run = Run::start(&self.data, &[]);
        // Every third blow falls while it starts, the first ones apart, which set the scene.
        if round > 0 && self.dice.below(3) == 0 {
            let span = u64::try_from(self.start.as_micros()).unwrap();
            let moment = Duration::from_micros(self.dice.below(span));
            if let Ok(ready) = tokio::time::timeout(moment, run.ready()).await {
                ready.unwrap();
            } else {
                total.n_before_ready += 1;
            }
            total.add_log(&run.kill(self.dice.below(2) == 0));
            return;
        }
        let ready = run.ready().await.unwrap_or_else(|line| panic!("round {round}: {line}"));
        let took = started.elapsed();
        self.start = took;
        total.slowest_start = total.slowest_start.max(took);
        // Sometimes the load begins at once, on what the last blow left behind.
        let home = if round == 0 || self.dice.below(2) == 0 {
            let (home, checked) = self.check(&ready).await;
            total.add_checked(checked);
            home
        } else {
            self.home(&ready).await
        };
        let (data, memory) = (self.data.clone(), self.memory.clone());
        let scene = Scene { data, home, memory, round: format!("r{round}") };
        if self.talkers.is_none() {
            self.talkers = Some(Talkers::enrol(&scene, &mut self.dice).await.unwrap());
        }
        let talkers = self.talkers.as_ref().unwrap();
        let mut tasks = load::start(&scene, talkers, &mut self.dice);
        let moment = Duration::from_millis(self.dice.below(LOAD));
        let ended = tokio::time::timeout(moment, tasks.join_next()).await;
        assert!(ended.is_err(), "round {round}: the server went away by itself");
        total.add_log(&run.kill(self.dice.below(2) == 0));
        let mut seen: Vec<Seen> = Vec::new();
        while let Some(task) = tasks.join_next().await {
            seen.push(task.unwrap());
        }
        total.add_talk(load::check_talk(&seen));
    }

    async fn home(&mut self, ready: &Value) -> Home {
        let mut line = Line::local(&self.data).await.unwrap();
        let key = ready.get("record").and_then(Value::as_str).unwrap().parse().unwrap();
        assert!(self.key.is_none() || self.key.as_ref() == Some(&key), "the record's key changed");
        self.key = Some(key);
        Home::of(ready, &mut line).await.unwrap()
    }

    async fn check(&mut self, ready: &Value) -> (Home, Checked) {
        let home = self.home(ready).await;
        let key = self.key.as_ref().unwrap();
        let checked = self.memory.check(&self.data, &home, key).await.unwrap();
        (home, checked)
    }

    /// Verifies the record as it lies there, against the last checkpoint that was shown.
    fn verify_offline(&self, total: Option<&mut Total>) {
        let Some(key) = &self.key else { return };
        let record = self.data.join("control/ledger");
        let mut command = rig::palisade();
        command.args(["ledger", "verify", "--json", "--key", &key.to_string()]).arg(record);
        if let Some(note) = self.memory.note() {
            let path = self.data.with_extension("note");
            fs::write(&path, note).unwrap();
            command.arg("--witness").arg(path);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", rig::text(&output.stderr));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        if let Some(total) = total {
            total.n_events += said.get("events").and_then(Value::as_u64).unwrap();
        }
    }
}

impl Total {
    fn add_checked(&mut self, checked: Checked) {
        self.n_devices_checked += checked.n_devices;
        self.n_certificates_checked += checked.n_certificates;
        self.n_shown_events_checked += checked.n_events;
    }

    fn add_talk(&mut self, talk: Talk) {
        self.n_messages_sent += talk.n_sent;
        self.n_messages_acknowledged += talk.n_acknowledged;
        self.n_acknowledged_under_way += talk.n_under_way;
    }

    fn add_log(&mut self, log: &str) {
        let is_torn = |line: &&str| line.contains("ended in the middle of an event");
        self.n_torn_ends += u64::try_from(log.lines().filter(is_torn).count()).unwrap();
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// Lets a first run come to its end, and gives how long it takes until it is ready.
async fn first_run(dice: &mut Dice) -> Duration {
    let place = tempfile::tempdir().unwrap();
    works(&place.path().join("data"), dice).await
}

/// Gives how far it had come (nothing there, all of it there, ready), and how long the run after
/// it took.
async fn kill_first_run(moment: Duration, dice: &mut Dice) -> (usize, Duration) {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    if dice.below(2) == 0 {
        // As a service manager makes it.
        fs::create_dir(&data).unwrap();
    }
    let mut run = Run::start(&data, &[]);
    let was_ready = tokio::time::timeout(moment, run.ready()).await.is_ok();
    run.kill(dice.below(2) == 0);
    let is_made = whole_or_nothing(&data);
    let took = works(&data, dice).await;
    let beside: Vec<_> = fs::read_dir(place.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(beside, [data], "something half made is left");
    match (is_made, was_ready) {
        (_, true) => (2, took),
        (true, false) => (1, took),
        (false, false) => (0, took),
    }
}

/// Runs on a folder, and lets a device in and speak.
async fn works(data: &Path, dice: &mut Dice) -> Duration {
    let started = Instant::now();
    let mut run = Run::start(data, &[]);
    let ready = run.ready().await.unwrap();
    let took = started.elapsed();
    // Nobody chose a password yet: a new link is there for the administrator.
    assert!(ready.get("sign_in").is_some_and(Value::is_string));
    let mut line = Line::local(data).await.unwrap();
    let home = Home::of(&ready, &mut line).await.unwrap();
    let mut device = Device::add(&mut line, "pump-7", "pump", dice).await.unwrap();
    device.enrol(&mut line).await.unwrap();
    let mut session = device.connect(&home).await.unwrap();
    session.publish(&device.topic("pump"), b"1").await.unwrap();
    session.receive().await.unwrap();
    drop(session);
    no_errors(&run.stop());
    took
}

/// Looks at what a first run that was killed left: nothing that counts, or all of it.
fn whole_or_nothing(data: &Path) -> bool {
    let Ok(entries) = fs::read_dir(data) else { return false };
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    if names.iter().all(|name| name.starts_with('.')) {
        return names.iter().any(|name| name == ".moving");
    }
    if !names.iter().any(|name| name == ".moving") {
        for name in ["control", "custody", "gateway", "master.key", "run", "version"] {
            assert!(names.iter().any(|found| found == name), "{name} is missing in {names:?}");
        }
    }
    true
}

fn no_errors(log: &str) {
    let errors: Vec<_> = log.lines().filter(|line| line.contains("\"level\":\"ERROR\"")).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}
