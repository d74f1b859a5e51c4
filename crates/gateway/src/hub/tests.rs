//! A principal for tests of what surrounds the broker's task.

use super::*;

use identity::{Ed25519Key, Signed, Signer, Stage};
use policy::{DeviceStanding, Labels, Posture, Snapshot, Standing};

/// Gives the same principal each time.
pub(crate) fn principal() -> Principal {
    let device: DeviceId = "pump-7".parse().unwrap();
    let fingerprint = Fingerprint::of_der(b"pump-7");
    let standing = DeviceStanding {
        id: device.clone(),
        kind: "pump".parse::<identity::KindId>().unwrap().into(),
        zone: "hall".parse::<identity::ZoneId>().unwrap().into(),
        site: "plant-a".parse::<identity::SiteId>().unwrap().into(),
        stage: Stage::Active,
        labels: Labels::default(),
        posture: Posture::default(),
        certificates: vec![fingerprint],
    };
    let snapshot = Snapshot {
        sequence: 1,
        issued: identity::Time::EPOCH,
        policy: authority::starter::policy(),
        devices: vec![standing],
        revoked: Vec::new(),
    };
    let key = Ed25519Key::from_seed(&zeroize::Zeroizing::new([7; 32])).unwrap();
    let bytes = Signed::sign(&snapshot, None, &[&key]).unwrap();
    let keys = [key.public_key().clone()];
    let verified = Signed::<Snapshot>::parse(&bytes).unwrap();
    let verified = verified.verify(&keys, 1, identity::Time::EPOCH).unwrap();
    let slot = Standing::from_snapshot(verified).find(&device).unwrap();
    Principal { slot, device, fingerprint, peer: "192.0.2.7:5000".parse().unwrap() }
}
