//! Keys and envelopes: what opens, what does not, and golden bytes from another implementation.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

/// A keeper that only the tests have: what it wraps says which one it was.
struct Drawer {
    kind: Kind,
    mark: u8,
    n_extra: usize,
}

impl Keeper for Drawer {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn wrap(&self, key: &[u8; 32]) -> Result<Vec<u8>, KeeperError> {
        let mut wrapped: Vec<u8> = key.iter().map(|byte| byte ^ self.mark).collect();
        wrapped.push(self.mark);
        wrapped.resize(wrapped.len() + self.n_extra, 0);
        Ok(wrapped)
    }

    fn open(&self, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeeperError> {
        match wrapped.split_first_chunk::<32>() {
            Some((key, [mark])) if *mark == self.mark => {
                Ok(Zeroizing::new(key.map(|byte| byte ^ self.mark)))
            }
            _ => Err(KeeperError::Refused("another drawer made this; try that one".into())),
        }
    }
}

fn token() -> Drawer {
    Drawer { kind: Kind::Pkcs11, mark: 0x5a, n_extra: 0 }
}

fn tpm() -> Drawer {
    Drawer { kind: Kind::Tpm, ..token() }
}

fn key() -> SealingKey {
    SealingKey::new(&[7; 32])
}

fn passphrase(text: &str) -> Unlock<'_> {
    Unlock::Passphrase(text)
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
fn files_of_the_first_version_are_read() {
    // Both were written before there were keepers; the ids are those of what they sealed.
    let old = [
        (
            "key IN54Pe9/OU6H82X6UGy/Liu/CpmgKn9BefnPz9SnqDo=",
            Unlock::KeyFile,
            [226, 213, 40, 239, 189, 132, 148, 3],
        ),
        (
            "argon2id 65536 3 4 /zqFxvUemvPN5R5A8Z5Zlw== AYkti5Xha6Jtmui7fN5o0ZImEJjTDDSWX0h6T8BN\
             ouXA0/Je7Aorm2jIvVP6VN/V0M/7A/e8IDTtvJEx5YkqOODL/BhllqVLlD5c954mTUq2",
            passphrase("correct horse battery"),
            [90, 74, 186, 88, 3, 30, 141, 208],
        ),
    ];
    for (line, unlock, id) in old {
        let text = format!("palisade master key v1\n{line}\n");
        let key = MasterKey::parse(&text, Path::new("master.key"), &unlock).unwrap();
        assert_eq!(key.derive("custody").id(), id, "{line}");
    }
}

#[test]
fn a_keeper_opens_what_it_wrapped_and_no_other_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.key");
    let token = token();
    let made = MasterKey::create(&path, &Unlock::Keeper(&token), &SystemRandom::new()).unwrap();
    let loaded = MasterKey::load(&path, &Unlock::Keeper(&token)).unwrap();
    assert_eq!(loaded.derive("a").id(), made.derive("a").id());
    let (way, wrapped) = MasterKey::inspect(&path).unwrap();
    assert_eq!((way, wrapped.unwrap().len()), (Way::Keeper(Kind::Pkcs11), 33));
    let other = Drawer { mark: 1, ..self::token() };
    let Err(e) = MasterKey::load(&path, &Unlock::Keeper(&other)) else { panic!() };
    assert_eq!(e.to_string(), "another drawer made this; try that one");
}

#[test]
fn a_file_of_one_way_is_not_opened_in_another() {
    let (token, tpm, path) = (token(), tpm(), Path::new("master.key"));
    let ways = || {
        [
            (Way::KeyFile, Unlock::KeyFile),
            (Way::Passphrase, passphrase("correct horse battery")),
            (Way::Keeper(Kind::Pkcs11), Unlock::Keeper(&token)),
            (Way::Keeper(Kind::Tpm), Unlock::Keeper(&tpm)),
        ]
    };
    let master = MasterKey::from_bytes(Zeroizing::new([3; 32]));
    for (way, unlock) in ways() {
        let text = master.to_text(&unlock, &SystemRandom::new()).unwrap();
        for (other, unlock) in ways() {
            match MasterKey::parse(&text, path, &unlock) {
                Ok(key) => {
                    assert_eq!(way, other);
                    assert_eq!(key.derive("a").id(), master.derive("a").id());
                }
                Err(VaultError::OtherUnlock { found, .. }) => {
                    assert!(way != other && found == way, "{way:?}, {other:?}: {found:?}");
                }
                Err(e) => panic!("{way:?}, {other:?}: {e}"),
            }
        }
    }
}

#[test]
fn a_wrapped_key_has_a_longest_length_both_ways() {
    let master = MasterKey::from_bytes(Zeroizing::new([3; 32]));
    let path = Path::new("master.key");
    let longest = Drawer { n_extra: 1024 - 33, ..token() };
    let text = master.to_text(&Unlock::Keeper(&longest), &SystemRandom::new()).unwrap();
    assert!(MasterKey::parse(&text, path, &Unlock::KeyFile).is_err_and(|e| matches!(
        e,
        VaultError::OtherUnlock { found: Way::Keeper(Kind::Pkcs11), .. }
    )));
    let longer = Drawer { n_extra: 1024 - 32, ..token() };
    assert!(matches!(
        master.to_text(&Unlock::Keeper(&longer), &SystemRandom::new()),
        Err(VaultError::Keeper(KeeperError::Unusable(_)))
    ));
    let text = format!("palisade master key v1\npkcs11 {}\n", "AAAA".repeat(342));
    let Err(e) = MasterKey::parse(&text, path, &Unlock::Keeper(&token())) else { panic!() };
    assert!(matches!(e, VaultError::Malformed { why: "its wrapped key is too long", .. }));
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
        "palisade master key v1\nvault AAAA\n",
        "palisade master key v1\ntpm \n",
        "palisade master key v1\ntpm AAA\n",
        "palisade master key v1\npkcs11 AAAA AAAA\n",
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
