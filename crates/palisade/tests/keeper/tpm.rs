//! A TPM 2.0, with swtpm.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use base64ct::{Base64, Encoding};
use tss_esapi::Context;
use tss_esapi::handles::{AuthHandle, PcrHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Auth, Digest, DigestValues};
use tss_esapi::tcti_ldr::TctiNameConf;

use super::{Machine, installed, skipped};

/// A machine with a TPM of its own.
struct WithTpm {
    machine: Machine,
    port: u16,
    swtpm: Child,
}

impl WithTpm {
    fn new() -> Option<Self> {
        if !installed("swtpm") {
            skipped("swtpm");
            return None;
        }
        let machine = Machine::new();
        fs::create_dir(machine.path("tpm")).unwrap();
        let (port, swtpm) = begin(&machine);
        Some(Self { machine, port, swtpm })
    }

    fn flags(&self) -> String {
        format!("--tpm={}", name(self.port))
    }

    /// Cuts the power and gives it back.
    fn power_cycle(&mut self) {
        self.swtpm.kill().unwrap();
        self.swtpm.wait().unwrap();
        (self.port, self.swtpm) = begin(&self.machine);
    }

    /// Does something to the TPM that its owner may do.
    fn own<T>(&self, act: impl FnOnce(&mut Context) -> tss_esapi::Result<T>) -> T {
        let name: TctiNameConf = name(self.port).parse().unwrap();
        let mut context = Context::new(name).unwrap();
        context.execute_with_session(Some(AuthSession::Password), act).unwrap()
    }
}

impl Drop for WithTpm {
    fn drop(&mut self) {
        self.swtpm.kill().unwrap();
        self.swtpm.wait().unwrap();
    }
}

fn name(port: u16) -> String {
    format!("swtpm:host=127.0.0.1,port={port}")
}

/// Starts the machine's TPM on two free ports, of which the second is always the next one.
fn begin(machine: &Machine) -> (u16, Child) {
    loop {
        let (first, second) = two_ports();
        let port = first.local_addr().unwrap().port();
        drop((first, second));
        let mut swtpm = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .args(["--tpmstate", &format!("dir={}", machine.path("tpm").display())])
            .args(["--server", &format!("type=tcp,port={port}")])
            .args(["--ctrl", &format!("type=tcp,port={}", port + 1)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // It listens on both, or it has ended because somebody else took one meanwhile.
        while swtpm.try_wait().unwrap().is_none() {
            if [port, port + 1].iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
            {
                return (port, swtpm);
            }
        }
    }
}

/// Two ports, the second next to the first, that no other test is given.
///
/// They lie below those that systems give to whoever asks for any: between letting go of them and
/// a TPM's taking them, nobody else is given them.
fn two_ports() -> (TcpListener, TcpListener) {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    loop {
        let port = NEXT.fetch_add(2, Ordering::Relaxed);
        let [first, second] =
            [port, port + 1].map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
        if let (Some(first), Some(second)) = (first, second) {
            return (first, second);
        }
    }
}

#[test]
fn a_tpm_unlocks_from_the_first_run_on_and_after_power_was_lost() {
    let Some(mut tpm) = WithTpm::new() else { return };
    let root = tpm.machine.up(&tpm.flags()).stop();
    assert!(tpm.machine.master_key().starts_with("palisade master key v1\ntpm AQ"));
    // A TPM has room for three objects: more starts than that show that none is left behind.
    for _ in 0..4 {
        tpm.machine.open(&tpm.flags());
    }
    tpm.power_cycle();
    let server = tpm.machine.up(&tpm.flags());
    assert_eq!(server.root(), root);
    // It speaks to one at a time, so that whoever holds the master key has let go of it.
    tpm.own(|context| context.execute_without_session(|context| context.get_random(8)));
    drop(server);
    tpm.machine.up_refused("", 15, "is sealed by a TPM; name the TPM with --tpm");
    let shown = tpm.machine.run("key show");
    assert!(shown.contains("unlocked by  a TPM"), "{shown}");
}

#[test]
fn the_data_alone_does_not_open_at_another_tpm_or_after_a_clear() {
    let (Some(ours), Some(theirs)) = (WithTpm::new(), WithTpm::new()) else { return };
    ours.machine.make(&ours.flags());
    theirs.machine.take_data_of(&ours.machine);
    let says = "did not seal the master key, or was cleared since";
    theirs.machine.up_refused(&theirs.flags(), 15, says);
    ours.own(|context| context.clear(AuthHandle::Lockout));
    ours.machine.up_refused(&ours.flags(), 15, says);
}

#[test]
fn a_copy_with_a_passphrase_opens_where_the_tpm_is_lost() {
    let Some(tpm) = WithTpm::new() else { return };
    let passphrase = tpm.machine.write("passphrase", "correct horse battery\n");
    let root = tpm.machine.up(&tpm.flags()).stop();
    let copy = tpm.machine.path("recovery").display().to_string();
    let to = format!("--to-passphrase-file {passphrase} --out {copy}");
    tpm.machine.run(&format!("key rewrap {} {to}", tpm.flags()));
    let elsewhere = Machine::new();
    elsewhere.take_data_of(&tpm.machine);
    fs::copy(copy, elsewhere.path("data/master.key")).unwrap();
    assert_eq!(elsewhere.up(&format!("--passphrase-file {passphrase}")).stop(), root);
}

#[test]
fn a_backup_of_one_tpms_machine_comes_back_under_another_tpm() {
    let (Some(ours), Some(theirs)) = (WithTpm::new(), WithTpm::new()) else { return };
    let server = ours.machine.up(&ours.flags());
    let backup = ours.machine.back_up(&ours.flags());
    let root = server.stop();
    theirs.machine.restore(&backup, &theirs.flags());
    assert!(theirs.machine.master_key().starts_with("palisade master key v1\ntpm AQ"));
    assert_eq!(theirs.machine.up(&theirs.flags()).stop(), root);
}

#[test]
fn a_key_file_goes_to_a_tpm_and_back() {
    let Some(tpm) = WithTpm::new() else { return };
    let root = tpm.machine.up("").stop();
    let bare = tpm.machine.master_key();
    tpm.machine.run(&format!("key rewrap --to-tpm={}", name(tpm.port)));
    assert_eq!(tpm.machine.up(&tpm.flags()).stop(), root);
    tpm.machine.run(&format!("key rewrap {} --to-key-file", tpm.flags()));
    assert_eq!(tpm.machine.master_key(), bare);
    tpm.machine.up_refused(&tpm.flags(), 15, "is the bare key; leave");
}

#[test]
fn a_key_sealed_to_pcrs_opens_only_while_they_are_as_they_were() {
    let Some(tpm) = WithTpm::new() else { return };
    let first = format!("{} --tpm-pcrs 0,16", tpm.flags());
    tpm.machine.make(&first);
    let key = tpm.machine.open(&tpm.flags());
    let other = format!("{} --tpm-pcrs 7", tpm.flags());
    tpm.machine.open_refused(&other, 15, "is sealed to PCRs 0, 16, the setting says PCR 7");
    tpm.own(|context| {
        let mut digests = DigestValues::new();
        digests.set(HashingAlgorithm::Sha256, Digest::try_from([1; 32].as_slice())?);
        context.pcr_extend(PcrHandle::Pcr16, digests)
    });
    tpm.machine.up_refused(&tpm.flags(), 15, "because PCRs 0, 16 changed since it was sealed");
    tpm.own(|context| context.pcr_reset(PcrHandle::Pcr16));
    assert_eq!(tpm.machine.open(&tpm.flags()), key);
}

#[test]
fn a_sealed_key_that_was_changed_does_not_open() {
    let Some(tpm) = WithTpm::new() else { return };
    tpm.machine.make(&tpm.flags());
    let key = tpm.machine.open(&tpm.flags());
    // The name of the storage key, the object's unique part, its private part.
    let cases = [(10, "did not seal"), (45, "was changed since"), (120, "was changed since")];
    for (byte, says) in cases {
        tpm.machine.change_wrapped_key(byte);
        tpm.machine.open_refused(&tpm.flags(), 15, says);
        tpm.machine.change_wrapped_key(byte);
    }
    assert_eq!(tpm.machine.open(&tpm.flags()), key);
}

#[test]
fn a_tpm_that_is_not_there_or_not_ours_is_refused_in_one_line() {
    let Some(tpm) = WithTpm::new() else { return };
    let machine = &tpm.machine;
    machine.up_refused("--tpm=device:/no/such/tpm", 1, "cannot open the TPM `/no/such/tpm`");
    machine.up_refused("--tpm=device:/dev/null", 1, "no TPM answers at `device:/dev/null`");
    machine.up_refused("--tpm=/dev/tpmrm0", 2, "names no TPM");
    let password = Auth::try_from(b"owned".as_slice()).unwrap();
    tpm.own(|context| context.hierarchy_change_auth(AuthHandle::Owner, password));
    machine.up_refused(&tpm.flags(), 15, "has a password; take it away");
    assert!(!machine.path("data").exists());
}

#[test]
fn the_bus_never_shows_the_master_key() {
    let Some(tpm) = WithTpm::new() else { return };
    tpm.machine.make("");
    for pcrs in ["", " --to-tpm-pcrs 16"] {
        let text = tpm.machine.master_key();
        let (_, key) = text.trim_end().rsplit_once(' ').unwrap();
        let key = Base64::decode_vec(key).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let port = listen_in(tpm.port, &heard);
        tpm.machine.run(&format!("key rewrap --to-tpm={}{pcrs}", name(port)));
        tpm.machine.run(&format!("key rewrap --tpm={} --to-key-file", name(port)));
        let heard = heard.lock().unwrap();
        // Both ways were heard: a command and an answer begin with these tags.
        assert!(heard.windows(2).filter(|two| *two == [0x80, 0x02]).count() > 8);
        for part in key.chunks(8) {
            assert!(!heard.windows(8).any(|window| window == part), "a part of the key{pcrs}");
        }
    }
}

/// Puts itself on the wire between, and hears all that passes.
fn listen_in(to: u16, heard: &Arc<Mutex<Vec<u8>>>) -> u16 {
    let (data, control) = two_ports();
    let port = data.local_addr().unwrap().port();
    for (listener, to) in [(data, to), (control, to + 1)] {
        let heard = Arc::clone(heard);
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
                let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                for (from, to) in [(client, server), back] {
                    let heard = Arc::clone(&heard);
                    thread::spawn(move || relay(from, to, &heard));
                }
            }
        });
    }
    port
}

fn relay(mut from: TcpStream, mut to: TcpStream, heard: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(n_bytes @ 1..) = from.read(&mut buffer) {
        heard.lock().unwrap().extend_from_slice(&buffer[..n_bytes]);
        if to.write_all(&buffer[..n_bytes]).is_err() {
            break;
        }
    }
    // The other side may have gone already.
    let _ = to.shutdown(Shutdown::Write);
}
