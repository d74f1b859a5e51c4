//! Keys and envelopes: what opens, what does not, and golden bytes from another implementation.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn key() -> SealingKey {
    SealingKey::new(&[7; 32])
}

fn passphrase(text: &str) -> Unlock {
    Unlock::Passphrase(Zeroizing::new(text.into()))
}

#[test]
fn what_was_sealed_opens_in_its_context_only() {
    let random = SystemRandom::new();
    let sealed = key().seal("custody/issuing-key", b"secret", &random).unwrap();
    assert_eq!(&**key().open("custody/issuing-key", &sealed).unwrap(), b"secret");
    assert!(matches!(key().open("custody/root-key", &sealed), Err(VaultError::Changed)));
    assert_ne!(sealed, key().seal("custody/issuing-key", b"secret", &random).unwrap());
    assert!(!sealed.windows(6).any(|window| window == b"secret"));
}

#[test]
fn every_changed_bit_and_every_cut_is_noticed() {
    let sealed = key().seal("here", b"secret", &SystemRandom::new()).unwrap();
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(key().open("here", &changed).is_err(), "bit {bit}");
    }
    for end in 0..sealed.len() {
        assert!(key().open("here", &sealed[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn another_key_is_named() {
    let sealed = key().seal("here", b"secret", &SystemRandom::new()).unwrap();
    let other = SealingKey::new(&[8; 32]);
    let Err(VaultError::OtherKey { found, .. }) = other.open("here", &sealed) else { panic!() };
    assert_eq!(found, key().id().iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    assert_eq!(key_id(&sealed), Some(key().id()));
    assert_eq!(key_id(b"short"), None);
}

#[test]
fn an_envelope_made_elsewhere_opens() {
    // Python: hmac for HKDF, cryptography for AES-256-GCM.
    let sealed: &[u8] = &include!("../../tests/vectors/envelope.in");
    let master = MasterKey::from_bytes(Zeroizing::new([3; 32]));
    assert_eq!(&**master.derive("custody").open("here", sealed).unwrap(), b"made elsewhere");
}

#[test]
fn roles_have_different_keys() {
    let master = MasterKey::from_bytes(Zeroizing::new([3; 32]));
    assert_ne!(master.derive("custody").id(), master.derive("control").id());
    assert_eq!(
        master.derive("custody").id(),
        SealingKey::new(&master.derive_secret("custody")).id()
    );
}

#[test]
fn a_key_file_is_made_once_and_read_by_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.key");
    let random = SystemRandom::new();
    let made = MasterKey::create(&path, &Unlock::KeyFile, &random).unwrap();
    let loaded = MasterKey::load(&path, &Unlock::KeyFile).unwrap();
    assert_eq!(made.derive("a").id(), loaded.derive("a").id());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert!(matches!(
        MasterKey::create(&path, &Unlock::KeyFile, &random),
        Err(VaultError::Exists(_))
    ));

    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let Err(e) = MasterKey::load(&path, &Unlock::KeyFile) else { panic!() };
    let expected = format!(
        "`{0}` has permissions `0640`, so that others may read it; run `chmod 600 {0}`",
        path.display()
    );
    assert_eq!(e.to_string(), expected);
}

#[test]
fn a_passphrase_unlocks_and_a_wrong_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.key");
    let unlock = passphrase("correct horse battery");
    let made = MasterKey::create(&path, &unlock, &SystemRandom::new()).unwrap();
    assert_eq!(MasterKey::load(&path, &unlock).unwrap().derive("a").id(), made.derive("a").id());
    let wrong = MasterKey::load(&path, &passphrase("correct horse batterx"));
    assert!(matches!(wrong, Err(VaultError::WrongPassphrase(_))));
    assert!(matches!(
        MasterKey::load(&path, &Unlock::KeyFile),
        Err(VaultError::OtherUnlock { .. })
    ));
    let short =
        MasterKey::create(&dir.path().join("other"), &passphrase("short"), &SystemRandom::new());
    assert!(matches!(short, Err(VaultError::ShortPassphrase(5))));
    assert!(!dir.path().join("other").exists());
}

#[test]
fn broken_key_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.key");
    for text in [
        "",
        "palisade master key v1\n",
        "palisade master key v1\nkey \n",
        "palisade master key v1\nkey AAAA\n",
        "palisade master key v2\nkey AAAA\n",
        "palisade master key v1\ntpm AAAA\n",
        "palisade master key v1\nkey BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
    ] {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let loaded = MasterKey::load(&path, &Unlock::KeyFile);
        assert!(matches!(loaded, Err(VaultError::Malformed { .. })), "{text:?}");
    }
    // Costs that would hold up a start for ever are refused before they are paid.
    fs::write(
        &path,
        "palisade master key v1\nargon2id 4294967295 9 1 AAAAAAAAAAAAAAAAAAAAAA== AAAA\n",
    )
    .unwrap();
    let loaded = MasterKey::load(&path, &passphrase("correct horse battery"));
    assert!(matches!(loaded, Err(VaultError::Malformed { .. })));
}
