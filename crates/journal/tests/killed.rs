//! Kills a process that appends and signs, again and again: no acknowledged event may be lost.
//!
//! The process is this same program, run with `append DIR`; it prints a line for each
//! acknowledgement. How many times: `PALISADE_KILLS=1000` (by default 25).
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use identity::{Ed25519Key, Signer, Time};
use journal::verify::{Options as VerifyOptions, verify};
use journal::{Options, Record};
use ledger::{Actor, Event, Kind, VerifierKey};
use zeroize::Zeroizing;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [verb, dir] if verb == "append" => append(Path::new(dir)),
        _ => kill_again_and_again(n_kills()),
    }
}

fn n_kills() -> u64 {
    #[allow(
        clippy::disallowed_methods,
        reason = "a test has no configuration, and the full count is run by hand"
    )]
    let text = std::env::var("PALISADE_KILLS").unwrap_or_default();
    text.parse().unwrap_or(25)
}

fn kill_again_and_again(n_kills: u64) {
    let dir = tempfile::tempdir().unwrap();
    let (mut n_cut, mut n_rehashed) = (0, 0);
    for round in 0..n_kills {
        // A different number of lines each time, so that the blow falls in different places.
        let n_lines = usize::try_from(round * 7919 % 97).unwrap();
        let acknowledged = run_and_kill(dir.path(), n_lines);
        let (record, recovery) = open(dir.path());
        assert!(
            record.n_events() >= acknowledged,
            "round {round}: {acknowledged} acknowledged, {recovery:?}"
        );
        n_cut += u64::from(recovery.n_cut_bytes > 0);
        n_rehashed += recovery.n_rehashed;
        for entry in record.newest(None, 200).unwrap() {
            assert_eq!(entry.event().unwrap(), event(entry.index), "round {round}");
        }
        let n_events = record.n_events();
        record.close();
        let summary = verify(dir.path(), &key(), &VerifyOptions::default()).unwrap();
        assert_eq!(summary.n_events, n_events, "round {round}");
        if round + 1 == n_kills {
            println!(
                "{n_kills} kills, {n_events} events, {n_cut} torn writes cut, {n_rehashed} events hashed again: none lost"
            );
        }
    }
}

/// Lets the process run until it has acknowledged so often; gives how many events it said are safe.
fn run_and_kill(dir: &Path, n_lines: usize) -> u64 {
    let program = std::env::current_exe().unwrap();
    let mut process =
        Command::new(program).arg("append").arg(dir).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut acknowledged = 0;
    for line in lines.by_ref().take(n_lines + 1) {
        acknowledged = line.unwrap().parse().unwrap();
    }
    process.kill().unwrap();
    // What it could still write before it died counts too.
    for line in lines.map_while(Result::ok) {
        acknowledged = line.parse().unwrap_or(acknowledged);
    }
    process.wait().unwrap();
    acknowledged
}

/// Appends in threes, several at once, and signs now and then, until it is killed.
fn append(dir: &Path) {
    let (record, _) = open(dir);
    let (send, receive) = mpsc::sync_channel(8);
    println!("{}", record.n_events());
    for round in 0_u64.. {
        let first = record.n_events();
        let send = send.clone();
        record.append((first..first + 3).map(event).collect(), move |range| {
            send.send(range.unwrap().end).unwrap()
        });
        let end: u64 = receive.recv().unwrap();
        // A line in one write: a cut number must not pass for another.
        std::io::stdout().write_all(format!("{end}\n").as_bytes()).unwrap();
        if round.is_multiple_of(5) {
            let pending = record.pending_checkpoint().unwrap().unwrap();
            let note = pending.checkpoint.sign(&signer()).unwrap().to_string();
            record.store_checkpoint(note.as_bytes()).unwrap();
        }
    }
}

fn open(dir: &Path) -> (Record, journal::Recovery) {
    let options = Options { segment_bytes: 8192, queue_events: 100, tail_events: 10 };
    Record::open(dir, key(), options).unwrap()
}

fn signer() -> Ed25519Key {
    Ed25519Key::from_seed(&Zeroizing::new([1; 32])).unwrap()
}

fn key() -> VerifierKey {
    VerifierKey::new("example.com/log", signer().public_key()).unwrap()
}

fn event(number: u64) -> Event {
    let at = Time::from_millis(i64::try_from(number).unwrap());
    Event::new(at, Kind::known("device.added"), Actor::system("test"))
}
