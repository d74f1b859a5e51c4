//! Ordinary clients with enrolled files just work: Debian's `mosquitto_pub` and `mosquitto_sub`.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use policy::Delta;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::rig::house::pem;
use crate::rig::{Rig, start, within};

const FILTER: &str = "plant-a/pump/+/telemetry/#";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_goes_from_one_to_the_other_in_both_versions() {
    if !is_there() {
        return;
    }
    let rig = start().await;
    let folder = tempfile::tempdir().unwrap();
    for (version, other) in [("mqttv311", "mqttv5"), ("mqttv5", "mqttv311")] {
        let mut hearing = client(&rig, folder.path(), "mosquitto_sub", "panel");
        hearing.args(["-V", version, "-q", "1", "-t", FILTER, "-C", "1", "-v", "-d"]);
        let mut hearing = hearing.spawn().unwrap();
        let mut heard = lines_of(&mut hearing);
        wait_line(&mut heard, "SUBACK").await;
        let mut telling = client(&rig, folder.path(), "mosquitto_pub", "pump-7");
        telling.args([
            "-V",
            other,
            "-q",
            "1",
            "-t",
            "plant-a/pump/pump-7/telemetry/flow",
            "-m",
            "12.5",
        ]);
        let told = within(telling.spawn().unwrap().wait_with_output()).await.unwrap();
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        wait_line(&mut heard, "plant-a/pump/pump-7/telemetry/flow 12.5").await;
        assert!(within(hearing.wait()).await.unwrap().success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_publish_is_shown_with_its_decision() {
    if !is_there() {
        return;
    }
    let rig = start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut telling = client(&rig, folder.path(), "mosquitto_pub", "pump-7");
    telling.args([
        "-V",
        "mqttv5",
        "-q",
        "1",
        "-d",
        "-t",
        "plant-a/pump/pump-8/telemetry/flow",
        "-m",
        "1",
    ]);
    let told = within(telling.spawn().unwrap().wait_with_output()).await.unwrap();
    let text = String::from_utf8_lossy(&told.stderr) + String::from_utf8_lossy(&told.stdout);
    assert!(text.contains("Not authorized") || text.contains("RC:135"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_subscriber_ends_within_a_second_and_cannot_return() {
    if !is_there() {
        return;
    }
    let rig = start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut hearing = client(&rig, folder.path(), "mosquitto_sub", "panel");
    hearing.args(["-V", "mqttv5", "-d", "-t", FILTER]);
    let mut hearing = hearing.spawn().unwrap();
    let mut heard = lines_of(&mut hearing);
    wait_line(&mut heard, "SUBACK").await;

    let started = Instant::now();
    rig.control.change(vec![Delta::Revoked(vec![rig.house.device("panel").fingerprint])]);
    // It is told, says so, and ends.
    within(hearing.wait()).await.unwrap();
    let elapsed = started.elapsed();
    println!("revoked to the end of mosquitto_sub: {elapsed:?}");
    assert!(elapsed < Duration::from_secs(1), "{elapsed:?}");

    let mut telling = client(&rig, folder.path(), "mosquitto_pub", "panel");
    telling.args(["-V", "mqttv5", "-t", "plant-a/pump/pump-7/command/x", "-m", "1"]);
    let told = within(telling.spawn().unwrap().wait_with_output()).await.unwrap();
    assert!(!told.status.success());
}

fn is_there() -> bool {
    let there = std::process::Command::new("mosquitto_sub").arg("--help").output().is_ok();
    if !there {
        println!("skipped: no mosquitto clients on this machine");
    }
    there
}

fn client(rig: &Rig, folder: &Path, program: &str, device: &str) -> Command {
    let credential = rig.house.device(device);
    let write = |name: &str, text: &str| {
        let path = folder.join(format!("{device}-{name}"));
        std::fs::write(&path, text).unwrap();
        path
    };
    // Lines are to come as they are written, not when a buffer is full.
    let mut command = Command::new("stdbuf");
    command.args([
        "-oL",
        program,
        "-h",
        "localhost",
        "-p",
        &rig.address.port().to_string(),
        "-i",
        device,
    ]);
    command.arg("--cafile").arg(write("root.pem", &pem(&rig.house.root.der)));
    command.arg("--cert").arg(write("cert.pem", &credential.pem.0));
    command.arg("--key").arg(write("key.pem", &credential.pem.1));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

fn lines_of(child: &mut Child) -> Lines<BufReader<ChildStdout>> {
    BufReader::new(child.stdout.take().unwrap()).lines()
}

async fn wait_line(lines: &mut Lines<BufReader<ChildStdout>>, wanted: &str) {
    within(async {
        loop {
            let line = lines.next_line().await.unwrap().expect("the program ended before");
            if line.contains(wanted) {
                return;
            }
        }
    })
    .await;
}
