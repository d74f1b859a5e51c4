//! A token behind PKCS#11, with SoftHSM.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Machine, installed, skipped};

const MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

/// A machine with a token of its own, called `palisade`, and the flags that name it.
struct WithToken {
    machine: Machine,
    module: &'static str,
    flags: String,
}

impl WithToken {
    fn new(mechanisms: &str) -> Option<Self> {
        let module = MODULES.into_iter().find(|module| Path::new(module).exists());
        let (Some(module), true) = (module, installed("softhsm2-util")) else {
            skipped("SoftHSM (softhsm2)");
            return None;
        };
        let mut machine = Machine::new();
        let tokens = machine.path("tokens");
        fs::create_dir(&tokens).unwrap();
        let text = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nslots.mechanisms = {mechanisms}\n",
            tokens.display()
        );
        machine.write("softhsm2.conf", &text);
        machine.environment.push(("SOFTHSM2_CONF", machine.path("softhsm2.conf")));
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", "palisade"])
            .args(["--pin", "123456", "--so-pin", "87654321"])
            .envs(machine.environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success());
        let pin = machine.write("pin", "123456\n");
        let flags = flags(module, "palisade", &pin);
        Some(Self { machine, module, flags })
    }
}

fn flags(module: &str, token: &str, pin: &str) -> String {
    format!("--pkcs11-module {module} --pkcs11-token {token} --pkcs11-pin-file {pin}")
}

#[test]
fn a_token_unlocks_from_the_first_run_on() {
    let Some(WithToken { machine, flags, .. }) = WithToken::new("ALL") else { return };
    let server = machine.up(&flags);
    assert!(machine.master_key().starts_with("palisade master key v1\npkcs11 AQ"));
    // Nothing of the module is left in the process that holds the master key.
    let maps = fs::read_to_string(format!("/proc/{}/maps", server.pid())).unwrap();
    assert!(!maps.contains("softhsm"));
    let root = server.stop();
    assert_eq!(machine.up(&flags).stop(), root);
    let shown: Value = serde_json::from_str(&machine.run("key show --json")).unwrap();
    assert_eq!(shown.get("unlock"), Some(&Value::from("pkcs11")));
    let key = shown.get("token_key").and_then(Value::as_str).unwrap();
    assert!(key.starts_with("palisade-") && key.len() == 25, "{key}");
    machine.up_refused("", 15, "name the token with --pkcs11-module");
}

#[test]
fn settings_may_come_from_the_file() {
    let Some(WithToken { machine, module, .. }) = WithToken::new("ALL") else { return };
    fs::create_dir(machine.path("data")).unwrap();
    let pin = machine.path("pin").display().to_string();
    machine.write(
        "data/palisade.toml",
        &format!(
            "pkcs11_module = \"{module}\"\npkcs11_token = \"palisade\"\npkcs11_pin_file = \"{pin}\"\n"
        ),
    );
    machine.make("");
    machine.open("");
    machine.up_refused("--tpm", 2, "both say what unlocks the master key; leave one out");
    let shown = machine.run("config show --origin");
    let line = shown.lines().find(|line| line.starts_with("pkcs11_token")).unwrap();
    assert!(line.contains("palisade") && line.contains("palisade.toml"), "{line}");
}

#[test]
fn a_wrong_pin_is_refused_and_a_first_run_with_one_makes_nothing() {
    let Some(WithToken { machine, module, flags: right }) = WithToken::new("ALL") else { return };
    let wrong = machine.write("wrong", "654321\n");
    let wrong = flags(module, "palisade", &wrong);
    machine.up_refused(&wrong, 15, "token `palisade` refuses the PIN");
    assert!(!machine.path("data").exists());
    machine.make(&right);
    machine.up_refused(&wrong, 15, "token `palisade` refuses the PIN");
    machine.open(&right);
}

#[test]
fn the_data_alone_does_not_open_at_another_token() {
    let Some(ours) = WithToken::new("ALL") else { return };
    let Some(theirs) = WithToken::new("ALL") else { return };
    ours.machine.make(&ours.flags);
    theirs.machine.take_data_of(&ours.machine);
    let says = "token `palisade` has no key `palisade-";
    theirs.machine.up_refused(&theirs.flags, 15, says);
    let pin = ours.machine.path("pin").display().to_string();
    let other = flags(ours.module, "other", &pin);
    ours.machine.up_refused(&other, 1, "it has `palisade`: name the right one");
    fs::remove_dir_all(ours.machine.path("tokens")).unwrap();
    fs::create_dir(ours.machine.path("tokens")).unwrap();
    ours.machine.up_refused(&ours.flags, 1, "is the token plugged in and set up?");
}

#[test]
fn what_is_no_module_is_refused() {
    let machine = Machine::new();
    let pin = machine.write("pin", "123456\n");
    let absent = flags("/no/such/module.so", "palisade", &pin);
    machine.up_refused(&absent, 2, "there is no PKCS#11 module at `/no/such/module.so`");
    let text = flags(&pin, "palisade", &pin);
    machine.up_refused(&text, 1, "is no PKCS#11 module that works here");
    assert!(!machine.path("data").exists());
}

#[test]
fn what_a_token_wrapped_opens_only_unchanged_with_and_without_gcm() {
    let without = "CKM_AES_KEY_GEN,CKM_AES_CBC,CKM_GENERIC_SECRET_KEY_GEN,CKM_SHA256_HMAC";
    for (mechanisms, mechanism) in [("ALL", 1), (without, 2)] {
        let Some(WithToken { machine, flags, .. }) = WithToken::new(mechanisms) else { return };
        machine.make(&flags);
        let key = machine.open(&flags);
        assert_eq!(machine.wrapped_key()[..2], [1, mechanism]);
        // The id, the nonce or what stands for it, and what is under the tag.
        for (byte, says) in [(2, "has no key"), (20, "was changed"), (77, "was changed")] {
            machine.change_wrapped_key(byte);
            machine.open_refused(&flags, 15, says);
            machine.change_wrapped_key(byte);
        }
        machine.change_wrapped_key(0);
        machine.open_refused(&flags, 15, "holds no key that a PKCS#11 token wrapped");
        machine.change_wrapped_key(0);
        assert_eq!(machine.open(&flags), key);
    }
}

#[test]
fn a_token_with_neither_is_refused() {
    let mechanisms = "CKM_AES_KEY_GEN,CKM_AES_CBC";
    let Some(WithToken { machine, flags, .. }) = WithToken::new(mechanisms) else { return };
    machine.up_refused(&flags, 1, "has neither AES-GCM nor HMAC-SHA-256");
    assert!(!machine.path("data").exists());
}

#[test]
fn a_backup_of_a_tokens_machine_comes_back_without_a_token_and_under_another() {
    let (Some(ours), Some(theirs)) = (WithToken::new("ALL"), WithToken::new("ALL")) else { return };
    let root = ours.machine.up(&ours.flags).stop();
    // No server runs: the command opens the master key by itself.
    let backup = ours.machine.back_up(&ours.flags);
    let bare = Machine::new();
    bare.restore(&backup, "");
    assert_eq!(bare.up("").stop(), root);
    theirs.machine.restore(&backup, &theirs.flags);
    assert_eq!(theirs.machine.up(&theirs.flags).stop(), root);
}

#[test]
fn a_key_file_goes_to_a_token_and_back() {
    let Some(WithToken { machine, flags, .. }) = WithToken::new("ALL") else { return };
    let root = machine.up("").stop();
    let bare = machine.master_key();
    machine.run(&format!("key rewrap {}", flags.replace("--", "--to-")));
    machine.up_refused("", 15, "name the token with --pkcs11-module");
    assert_eq!(machine.up(&flags).stop(), root);
    machine.run(&format!("key rewrap {flags} --to-key-file"));
    assert_eq!(machine.master_key(), bare);
    machine.up_refused(&flags, 15, "is the bare key; leave");
    assert_eq!(machine.up("").stop(), root);
}
