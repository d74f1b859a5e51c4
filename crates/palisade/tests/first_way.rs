//! The first way through: a device is claimed, gets its certificate, is allowed and denied, is
//! revoked while it is connected, and all of it stands in a record that verifies elsewhere.
#![allow(clippy::unwrap_used)]

mod rig;

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::process::{ChildStdout, Stdio};
use std::time::{Duration, Instant};

use rig::{Following, Server, text};
use serde_json::Value;

const OWN: &str = "main/pump/pump-7/telemetry/pressure";
const FOREIGN: &str = "main/pump/pump-8/telemetry/pressure";

#[test]
fn a_device_goes_from_claim_to_revocation_and_the_record_tells() {
    let server = Server::start();
    let claim = server.add("pump-7");
    enrolls_once(&server, &claim);
    let decision = is_allowed_and_denied(&server);
    explains(&server, &decision);
    loses_its_session(&server);
    stands_in_the_record(&server);
}

fn enrolls_once(server: &Server, claim: &str) {
    let output = server.enroll(claim, "pump-7");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let certificate = fs::read(server.path("pump-7/device.crt")).unwrap();

    // The answer was lost: the same claim with the same key gets the same certificate.
    fs::remove_file(server.path("pump-7/device.crt")).unwrap();
    assert!(server.enroll(claim, "pump-7").status.success());
    assert_eq!(fs::read(server.path("pump-7/device.crt")).unwrap(), certificate);

    let thief = server.enroll(claim, "thief");
    assert_eq!(thief.status.code(), Some(3), "{}", text(&thief.stderr));
    assert!(!server.path("thief/device.crt").exists());
}

fn is_allowed_and_denied(server: &Server) -> String {
    let publish = |topic: &str| {
        let mut command = server.mosquitto("mosquitto_pub", "pump-7");
        let output = command.args(["-q", "1", "-t", topic, "-m", "2.7 bar"]).output().unwrap();
        text(&output.stdout) + &text(&output.stderr)
    };
    let mut following = Following::start(server, "--kind access.denied");
    let allowed = publish(OWN);
    assert!(allowed.contains("PUBACK (Mid: 1, RC:0)"), "{allowed}");
    let denied = publish(FOREIGN);
    assert!(denied.contains("RC:135"), "{denied}");
    let event = following.next();
    let (_, decision) = event.rsplit_once('[').unwrap();
    let decision = decision.trim_end_matches(']').to_string();
    assert!(denied.contains(&decision), "the wire carries another decision: {denied}");
    assert!(!denied.contains("devices-report"), "the wire names a policy: {denied}");
    decision
}

fn explains(server: &Server, decision: &str) {
    let before = server.run(&format!("why pump-7 publish {OWN}"));
    assert_eq!(before.status.code(), Some(0), "{}", text(&before.stderr));
    let before = server.run(&format!("why pump-7 publish {FOREIGN}"));
    assert_eq!(before.status.code(), Some(3));
    assert!(text(&before.stdout).starts_with("denied: pump-7 publish"), "{}", text(&before.stdout));
    let after = server.run(&format!("why {decision}"));
    assert_eq!(after.status.code(), Some(3), "{}", text(&after.stderr));
    assert!(text(&after.stdout).contains(decision));
    assert_eq!(server.run("why d-0000000000000000").status.code(), Some(4));
}

fn loses_its_session(server: &Server) {
    let mut subscriber = server
        .mosquitto("mosquitto_sub", "pump-7")
        .args(["-t", "main/pump/pump-7/command/#"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(subscriber.stdout.take().unwrap()).lines();
    wait_for(&mut lines, "SUBACK");

    let start = Instant::now();
    let revoked = server.json("device revoke pump-7 --reason stolen");
    wait_for(&mut lines, "DISCONNECT");
    let elapsed = start.elapsed();
    assert_eq!(revoked.get("certificates"), Some(&Value::from(1)));
    assert!(elapsed < Duration::from_secs(1), "the session lived for another {elapsed:?}");
    subscriber.kill().unwrap();
    subscriber.wait().unwrap();

    let mut again = server.mosquitto("mosquitto_pub", "pump-7");
    let again = again.args(["-t", OWN, "-m", "x"]).output().unwrap();
    assert!(!again.status.success(), "a revoked device came in again");
}

fn stands_in_the_record(server: &Server) {
    let key = server.said("record");
    let state = server.path("witness").display().to_string();
    let look = format!("ledger witness --state {state} --key {key} --name eye");
    let stranger = server.json(&look);
    assert_eq!(stranger.get("kept"), Some(&Value::from(false)));
    let eye = stranger.get("key").and_then(Value::as_str).unwrap();
    server.json(&format!("witness add {eye}"));
    let cosigned = server.json(&look);
    assert_eq!(cosigned.get("kept"), Some(&Value::from(true)));
    let shown = server.json("ledger show");
    assert_eq!(shown.pointer("/witnesses/0"), Some(&Value::from("eye")));

    // Another machine has a copy, the public key and what the witness saw.
    let ledger = server.data().join("control/ledger").display().to_string();
    let line = format!("ledger verify {ledger} --key {key} --witness {state}/checkpoint");
    let verified = server.json(&line);
    assert_eq!(verified.get("ok"), Some(&Value::from(true)));
    assert!(verified.get("signed").unwrap().as_u64() >= cosigned.get("size").unwrap().as_u64());

    let segment =
        fs::read_dir(format!("{ledger}/segments")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 4;
    bytes[middle] ^= 1;
    let copy = server.path("copy");
    let copied = std::process::Command::new("cp").arg("-r").arg(&ledger).arg(&copy).status();
    assert!(copied.unwrap().success());
    fs::write(copy.join("segments").join(segment.file_name().unwrap()), bytes).unwrap();
    let line = format!("ledger verify {} --key {key}", copy.display());
    let spoilt = server.run(&line);
    assert_eq!(spoilt.status.code(), Some(6), "{}", text(&spoilt.stderr));
    assert!(text(&spoilt.stderr).contains("event"), "{}", text(&spoilt.stderr));
}

fn wait_for(lines: &mut Lines<BufReader<ChildStdout>>, word: &str) {
    for line in lines {
        if line.unwrap().contains(word) {
            return;
        }
    }
    panic!("the client ended without `{word}`");
}
