//! `up`: what it says when it cannot, that it leaves nothing half made, and that it comes back.
#![allow(clippy::unwrap_used)]

mod rig;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Output;

use rig::{Following, Server, palisade, text, up};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn fails(data: &Path, more: &[&str]) -> Output {
    let mut command = palisade();
    command.args(["up", "--https-port", "0", "--mqtt-port", "0", "--data"]).arg(data).args(more);
    command.output().unwrap()
}

fn assert_refused(output: &Output, code: i32, says: &str) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("error: ") && stderr.contains(says), "{stderr}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_port_that_is_taken_leaves_nothing_made() {
    let place = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut command = palisade();
    command.args(["up", "--https-port", "0", "--mqtt-port", &port, "--data"]);
    let output = command.arg(place.path().join("data")).output().unwrap();
    assert_refused(
        &output,
        10,
        "is taken; stop what listens there or choose another with --mqtt-port",
    );
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_that_cannot_be_made_is_said() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    fs::write(&file, "in the way").unwrap();
    assert_refused(&fails(&file.join("data"), &[]), 11, "cannot write the data folder");
}

#[test]
fn a_database_that_is_not_there_leaves_nothing_made() {
    let place = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://127.0.0.1:{}/x", free.local_addr().unwrap().port());
    drop(free);
    let output = fails(&place.path().join("data"), &["--store", &url]);
    assert_refused(&output, 16, "no PostgreSQL at `127.0.0.1:");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn the_test_listener_speaks_to_everybody_on_this_machine_and_to_no_device() {
    let place = tempfile::tempdir().unwrap();
    let (mut child, ready) = up(&place.path().join("data"), &["--insecure-test-listener", "0"]);
    let address = ready.get("insecure_test_listener").and_then(Value::as_str).unwrap();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let mut stream = TcpStream::connect(address).unwrap();
    let mut heard = |sent: &[u8], n_bytes: usize| {
        stream.write_all(sent).unwrap();
        let mut answer = vec![0; n_bytes];
        stream.read_exact(&mut answer).unwrap();
        answer
    };
    // CONNECT of MQTT 3.1.1 as `a`, SUBSCRIBE to all and to what is always refused, PUBLISH to `t`.
    assert_eq!(heard(b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01a", 4), b"\x20\x02\0\0");
    let subscribe = b"\x82\x19\0\x01\0\x01#\0\0\x10test/nosubscribe\0";
    assert_eq!(heard(subscribe, 6), b"\x90\x04\0\x01\0\x80");
    assert_eq!(heard(b"\x30\x05\0\x01t42", 7), b"\x30\x05\0\x01t42");
    // None of it is seen where devices are.
    let command =
        palisade().args(["events", "--json", "--data"]).arg(place.path().join("data")).output();
    let events = text(&command.unwrap().stdout);
    rig::stop(&mut child);
    assert!(events.contains("system.started") && !events.contains("device.connected"), "{events}");
}

#[test]
fn the_gateways_counts_can_be_had_where_it_was_said() {
    let place = tempfile::tempdir().unwrap();
    let (mut child, ready) = up(&place.path().join("data"), &["--metrics", "127.0.0.1:0"]);
    let url = ready.get("metrics").and_then(Value::as_str).unwrap();
    let address = url.strip_prefix("http://").and_then(|url| url.strip_suffix("/metrics"));
    let mut stream = TcpStream::connect(address.unwrap()).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    rig::stop(&mut child);
    assert!(answer.contains("palisade_gateway_standing_sequence"), "{answer}");
}

#[test]
fn a_wrong_flag_and_a_wrong_setting_are_usage_errors() {
    let place = tempfile::tempdir().unwrap();
    assert_eq!(fails(place.path(), &["--https-prot", "1"]).status.code(), Some(2));
    fs::write(place.path().join("palisade.toml"), "https-port = 1").unwrap();
    assert_refused(&fails(place.path(), &[]), 2, "did you mean `https_port`?");
}

#[test]
fn a_second_up_a_newer_folder_and_an_open_key_are_refused() {
    let mut server = Server::start();
    let data = &server.data();
    assert_refused(&fails(data, &[]), 14, "already runs on");
    server.stop();
    let key = data.join("master.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert_refused(&fails(data, &[]), 13, "chmod 600");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(data, fs::Permissions::from_mode(0o755)).unwrap();
    assert_refused(&fails(data, &[]), 13, "chmod 700");
    fs::set_permissions(data, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(data.join("version"), "99\n").unwrap();
    assert_refused(&fails(data, &[]), 12, "run the version that wrote it");
}

#[test]
fn a_wrong_passphrase_is_refused_and_the_right_one_opens() {
    let place = tempfile::tempdir().unwrap();
    let (data, right, wrong) =
        (place.path().join("data"), place.path().join("right"), place.path().join("wrong"));
    fs::write(&right, "correct horse battery staple\n").unwrap();
    fs::write(&wrong, "incorrect horse battery staple\n").unwrap();
    let (right, wrong) = (right.to_str().unwrap(), wrong.to_str().unwrap());
    let (mut child, _) = up(&data, &["--passphrase-file", right]);
    assert!(rig::stop(&mut child).success());
    let refused = fails(&data, &["--passphrase-file", wrong]);
    assert_refused(&refused, 15, "does not unlock");
    assert_eq!(fails(&data, &[]).status.code(), Some(15));
    let (mut child, _) = up(&data, &["--passphrase-file", right]);
    assert!(rig::stop(&mut child).success());
}

#[test]
fn a_later_run_resumes_with_the_same_root_and_devices() {
    let mut server = Server::start();
    server.add("pump-7");
    let root = server.said("root").to_string();
    server.restart();
    assert_eq!(server.said("root"), root);
    assert_eq!(server.json("device show pump-7").get("id"), Some(&Value::from("pump-7")));
}

#[test]
fn every_role_stands_in_its_sandbox_and_custody_is_closed_to_its_own_user() {
    let server = Server::start();
    for role in ["custody", "control", "gateway"] {
        let pid = pid_of(&server, role).as_raw_nonzero();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let is = |line: &str| status.lines().any(|found| found == line);
        assert!(is("NoNewPrivs:\t1"), "{role}: {status}");
        assert!(is("Seccomp:\t2") && is("Seccomp_filters:\t2"), "{role}: {status}");
        assert!(is("CapEff:\t0000000000000000") && is("CapPrm:\t0000000000000000"), "{role}");
        // What may not be dumped belongs to root in /proc, whoever runs it.
        let owner = fs::metadata(format!("/proc/{pid}/mem")).unwrap().uid();
        assert_eq!(owner, 0, "{role}");
    }
}

#[test]
fn memory_is_held_only_where_there_is_room_for_all_of_it() {
    let server = Server::start();
    let pid = pid_of(&server, "custody").as_raw_nonzero();
    let field = |text: &str, name: &str, idx: usize| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        let rest = line[name.len()..].split_whitespace();
        rest.clone().nth(idx).unwrap().to_string()
    };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let held: u64 = field(&status, "VmLck:", 0).parse().unwrap();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let limit = field(&limits, "Max locked memory", 0);
    let room = limit.parse::<u64>().unwrap_or(u64::MAX);
    // With less room, memory that is asked for later is refused, and custody ends.
    assert!(held == 0 || room >= 256 * 1024 * 1024, "{held} KiB held, limit {limit}");
}

#[test]
fn when_a_role_is_killed_all_come_back() {
    let server = Server::start();
    server.add("pump-7");
    for role in ["gateway", "custody", "control"] {
        let following = Following::start(&server, "");
        let pid = pid_of(&server, role);
        kill_process(pid, Signal::KILL).unwrap();
        // Control ends with the others, and with it the stream.
        assert_eq!(following.end(), Some(5));
        let device = (0..600).find_map(|_| {
            let output = server.run("device show pump-7 --json");
            output.status.success().then_some(output)
        });
        assert!(device.is_some(), "after {role} was killed nothing came back");
    }
}

#[test]
fn when_roles_keep_dying_it_gives_up_with_a_code_of_its_own() {
    let mut server = Server::start();
    let code = loop {
        if let Some(code) = server.ended() {
            break code;
        }
        if let Some(pid) = find(&server, "gateway") {
            // It may have ended meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
    };
    assert_eq!(code, 17);
}

fn pid_of(server: &Server, role: &str) -> Pid {
    find(server, role).unwrap()
}

/// Finds a role's process now, by its name, among the children of `up`.
fn find(server: &Server, role: &str) -> Option<Pid> {
    let up = server.ready.get("pid").and_then(Value::as_u64).unwrap();
    let name = format!("palisade-{}", &role.replace("control", "ctrl")[..4]);
    let children = fs::read_to_string(format!("/proc/{up}/task/{up}/children")).ok()?;
    let found = children.split_whitespace().find(|pid| {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        comm.trim() == name
    });
    Pid::from_raw(found?.parse().unwrap())
}
