//! What custody signs, and what it refuses.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use identity::chain::{Anchor, Chain, Usage};
use identity::key::pure;
use identity::{DeviceId, P256Key, Signed};
use journal::vault::SystemRandom;
use ledger::Tree;
use policy::PolicySet;

use super::*;

struct Rig {
    folder: tempfile::TempDir,
    secret: Zeroizing<[u8; 32]>,
    authorities: Authorities,
}

#[test]
fn a_device_is_certified_under_the_root() {
    let rig = rig();
    let Answer::Bytes(der) = rig.custodian().answer(Ask::Issue(device("pump-7")), now()) else {
        panic!()
    };
    let anchors = [Anchor::trust(&rig.authorities.root).unwrap()];
    let chain = Chain::parse([der.as_slice(), rig.authorities.issuing.as_slice()]).unwrap();
    let leaf = chain.verify(&anchors, |_| false, Usage::Client, now(), pure::ALL).unwrap();
    assert_eq!(leaf.device().map(DeviceId::as_str), Some("pump-7"));
}

#[test]
fn authorities_backdated_and_overlong_certificates_are_refused() {
    let mut custodian = rig().custodian();
    let good = device("pump-7");
    let cases = [
        Intent { holder: Holder::Authority { path_len: 0 }, ..good.clone() },
        Intent { not_before: now().minus(Duration::from_secs(30 * DAY)), ..good.clone() },
        Intent { not_before: now().plus(Duration::from_secs(2 * DAY)), ..good.clone() },
        Intent { not_after: now().plus(Duration::from_secs(4000 * DAY)), ..good.clone() },
        // When the authority itself is not valid yet, or no more.
        Intent { not_before: now().minus(BACKDATING + Duration::from_secs(1)), ..good.clone() },
        Intent { not_after: now().plus(ISSUING_VALIDITY + Duration::from_secs(1)), ..good.clone() },
        Intent { common_name: "pump-8".to_owned(), ..good },
    ];
    for intent in cases {
        let answer = custodian.answer(Ask::Issue(intent), now());
        assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
    }
}

#[test]
fn a_damaged_certificate_of_an_authority_is_found_at_the_start() {
    for name in [ROOT, ISSUING] {
        let rig = rig();
        let path = rig.folder.path().join(name);
        let whole = std::fs::read(&path).unwrap();
        // In the key of the root, and in the signature under the issuing authority.
        let place = if name == ROOT { find(&whole, rig.root_key()) } else { whole.len() - 1 };
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        std::fs::write(&path, damaged).unwrap();
        let setup =
            Setup { folder: rig.folder.path().into(), secret: rig.secret.clone(), link: link() };
        assert!(load(&setup).is_err(), "{name}");
        std::fs::write(&path, whole).unwrap();
        assert!(load(&setup).is_ok());
    }
}

fn find(bytes: &[u8], part: Vec<u8>) -> usize {
    bytes.windows(part.len()).position(|window| window == part).unwrap() + part.len() - 1
}

#[test]
fn a_standing_is_decoded_before_it_is_signed() {
    let rig = rig();
    let mut custodian = rig.custodian();
    let changes = Changes { from: 1, to: 2, issued: now(), deltas: Vec::new() };
    let bytes = minicbor::to_vec(&changes).unwrap();
    let Answer::Bytes(signed) = custodian.answer(Ask::Changes(bytes.clone().into()), now()) else {
        panic!()
    };
    let signed = Signed::<Changes>::parse(&signed).unwrap();
    let verified =
        signed.verify(std::slice::from_ref(&rig.authorities.standing), 1, now()).unwrap();
    assert_eq!((verified.from, verified.to), (1, 2));
    let cut = bytes[..bytes.len() - 1].to_vec();
    assert!(matches!(custodian.answer(Ask::Changes(cut.into()), now()), Answer::Refused(_)));
    let policy =
        PolicySet { version: 1, source: String::new(), namespaces: policy::Namespaces::default() };
    let snapshot =
        Snapshot { sequence: 1, issued: now(), policy, devices: Vec::new(), revoked: Vec::new() };
    let bytes = minicbor::to_vec(&snapshot).unwrap();
    assert!(matches!(custodian.answer(Ask::Snapshot(bytes.into()), now()), Answer::Bytes(_)));
}

#[test]
fn history_is_signed_once_even_over_a_restart() {
    let rig = rig();
    let mut custodian = rig.custodian();
    let checkpoint = |custodian: &Custodian, n: u8| {
        let mut tree = Tree::new();
        (0..n).for_each(|idx| tree.push(ledger::leaf_hash(&[idx])));
        Checkpoint::new(&custodian.origin, tree.size(), tree.root()).text()
    };
    let first = Ask::Checkpoint { text: checkpoint(&custodian, 3), proof: Vec::new() };
    assert!(matches!(custodian.answer(first, now()), Answer::Text(_)));

    // Fewer events, the same number but others, and more without a proof: none continues.
    let mut custodian = rig.custodian();
    let fewer = checkpoint(&custodian, 2);
    let mut others = Tree::new();
    (0..3).for_each(|_| others.push(ledger::leaf_hash(b"another history")));
    let others = Checkpoint::new(&custodian.origin, others.size(), others.root()).text();
    let more = checkpoint(&custodian, 4);
    for text in [fewer, others, more] {
        let answer = custodian.answer(Ask::Checkpoint { text, proof: Vec::new() }, now());
        assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
    }
    assert!(matches!(custodian.answer(Ask::Signed, now()), Answer::Size(3)));
}

#[test]
fn a_damaged_checkpoint_is_found_at_the_start() {
    let rig = rig();
    let mut custodian = rig.custodian();
    let text = Checkpoint::new(&custodian.origin, 0, Tree::new().root()).text();
    let ask = Ask::Checkpoint { text, proof: Vec::new() };
    assert!(matches!(custodian.answer(ask, now()), Answer::Text(_)));
    let path = rig.folder.path().join(SIGNED);
    let whole = fs::read_to_string(&path).unwrap();
    // Another number of events, another root, another signature, and nothing at all.
    let mut lines: Vec<&str> = whole.lines().collect();
    lines[2] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let root = lines.join("\n") + "\n";
    let signature = &whole[..whole.len() - 8];
    let setup =
        Setup { folder: rig.folder.path().into(), secret: rig.secret.clone(), link: link() };
    for damaged in [&whole.replace("\n0\n", "\n1\n"), &root, signature, ""] {
        fs::write(&path, damaged).unwrap();
        assert!(matches!(load(&setup), Err(CustodyError::Damaged(SIGNED))), "{damaged}");
    }
    fs::write(&path, whole).unwrap();
    assert!(load(&setup).is_ok());
}

#[test]
fn keys_on_disk_are_sealed_and_for_the_owner_only() {
    let rig = rig();
    for name in [ROOT_KEY, ISSUING_KEY, STANDING_KEY, RECORD_KEY] {
        let path = rig.folder.path().join(name);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        let bytes = fs::read(&path).unwrap();
        // The DER of any P-256 key in PKCS#8 holds this object identifier.
        let oid = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
        assert!(!bytes.windows(oid.len()).any(|window| window == oid), "{name} is not sealed");
    }
    let other =
        Setup { folder: rig.folder.path().into(), secret: Zeroizing::new([1; 32]), link: link() };
    assert!(matches!(load(&other), Err(CustodyError::Sealed(_))));
}

#[test]
fn a_swapped_key_file_is_noticed() {
    let rig = rig();
    let path = |name: &str| rig.folder.path().join(name);
    fs::copy(path(ROOT_KEY), path(ISSUING_KEY)).unwrap();
    let setup =
        Setup { folder: rig.folder.path().into(), secret: rig.secret.clone(), link: link() };
    assert!(matches!(load(&setup), Err(CustodyError::Sealed(_))));
}

#[test]
fn many_questions_over_the_link_are_answered_in_order() {
    let rig = rig_of(crate::clock::now());
    let (ours, theirs) = UnixStream::pair().unwrap();
    let custodian = rig.custodian();
    let serving = std::thread::spawn(move || serve(custodian, theirs));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let custody = Custody::start(ours).unwrap();
        let asks = (0..100_u8).map(|idx| {
            let custody = custody.clone();
            tokio::spawn(
                async move { custody.issue(current(&format!("pump-{idx}"))).await.unwrap() },
            )
        });
        for (idx, ask) in asks.collect::<Vec<_>>().into_iter().enumerate() {
            let certificate = Certificate::parse(&ask.await.unwrap()).unwrap();
            assert_eq!(certificate.device().unwrap().as_str(), format!("pump-{idx}"));
        }
        drop(custody);
    });
    drop(runtime);
    serving.join().unwrap().unwrap();
}

#[test]
fn garbage_on_the_link_is_refused_and_the_link_goes_on() {
    let rig = rig();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let custodian = rig.custodian();
    let serving = std::thread::spawn(move || serve(custodian, theirs));
    ours.write_all(&[0, 0, 0, 3, 0xff, 0xff, 0xff]).unwrap();
    protocol::write(&mut ours, &Ask::Signed).unwrap();
    let refused: Answer = protocol::read(&mut ours).unwrap().unwrap().unwrap();
    assert!(matches!(refused, Answer::Refused(_)));
    let size: Answer = protocol::read(&mut ours).unwrap().unwrap().unwrap();
    assert!(matches!(size, Answer::Size(0)));
    ours.write_all(&[0xff; 4]).unwrap();
    assert!(serving.join().unwrap().is_err(), "a length beyond the bound ends the link");
}

fn rig() -> Rig {
    rig_of(now())
}

fn rig_of(now: Time) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let secret = Zeroizing::new([7; 32]);
    let authorities = create(folder.path(), &secret, now, &SystemRandom::new()).unwrap();
    Rig { folder, secret, authorities }
}

impl Rig {
    fn root_key(&self) -> Vec<u8> {
        Certificate::parse(&self.authorities.root).unwrap().key().raw().to_vec()
    }

    fn custodian(&self) -> Custodian {
        let setup =
            Setup { folder: self.folder.path().into(), secret: self.secret.clone(), link: link() };
        load(&setup).unwrap()
    }
}

fn link() -> UnixStream {
    UnixStream::pair().unwrap().0
}

fn now() -> Time {
    Time::from_seconds(1_800_000_000)
}

fn device(id: &str) -> Intent {
    let key = P256Key::from_random(&Zeroizing::new([9; 32])).unwrap();
    Intent {
        serial: Serial::from_random([0x5a; 20]),
        holder: Holder::Device(id.parse().unwrap()),
        common_name: id.to_owned(),
        key: key.public_key().clone(),
        not_before: now().minus(BACKDATING),
        not_after: now().plus(Duration::from_secs(365 * DAY)),
    }
}

/// An intent that begins by the real clock, which `serve` reads.
fn current(id: &str) -> Intent {
    let now = crate::clock::now();
    let not_after = now.plus(Duration::from_secs(DAY));
    Intent { not_before: now, not_after, ..device(id) }
}
