//! One core, no disk: from a device's request to its certificate, beside the least that it takes,
//! which is one verification and one signature of the same library.

use std::hint::black_box;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use identity::certificate::Serial;
use identity::issue::{Intent, Issuer};
use identity::request::Request;
use identity::{Holder, Signer, Time};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::SignatureVerificationAlgorithm;

use crate::key::Key;
use crate::{TURNS, float, report};

/// How often ours and the peer come in turn, each time for every request.
const ROUNDS: usize = 200;
/// Messages as long as those in a request and in a certificate.
const ASKED: [u8; 110] = [7; 110];
const CERTIFIED: [u8; 400] = [7; 400];
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

pub(crate) fn measure() {
    let authority = Key::generate();
    let issuer =
        Issuer { common_name: "Palisade issuing 1".into(), key: authority.public_key().clone() };
    let devices: Vec<_> = (0..64).map(|_| Key::generate()).collect();
    let requests: Vec<_> = devices.iter().map(Key::request).collect();
    let proofs: Vec<_> = devices.iter().map(|device| device.sign(&ASKED).unwrap()).collect();
    let unsigned = intent(&requests[0]).build(&issuer).unwrap();
    let n_bytes = unsigned.sign(&authority).unwrap().len();
    eprintln!("a request has {} bytes, a certificate {n_bytes}", requests[0].len());

    let verifier = algorithms()[0];
    for turn in 1..=TURNS {
        eprintln!("issuing on one core, turn {turn} of {TURNS}");
        // In turns of some milliseconds, so that whatever else runs here is borne by both.
        let (mut ours, mut peer) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..ROUNDS {
            ours += time(&requests, |request| {
                let unsigned = intent(request).build(&issuer).unwrap();
                black_box(unsigned.sign(&authority).unwrap());
            });
            peer += time(devices.iter().zip(&proofs), |(device, proof)| {
                let key = device.public_key().raw();
                verifier.verify_signature(key, &ASKED, proof).unwrap();
                black_box(authority.sign(&CERTIFIED).unwrap());
            });
        }
        let n_issued = float(ROUNDS * requests.len());
        let (ours, peer) = (n_issued / ours.as_secs_f64(), n_issued / peer.as_secs_f64());
        let name = "one verification and one signature, aws-lc-rs";
        report("issued on one core", "certificates/s", ours, name, peer);
    }
}

/// Says what shall be certified for whoever made a request, once it is shown to hold its key.
fn intent(request: &[u8]) -> Intent {
    let request = Request::parse(request, algorithms()).unwrap();
    let mut serial = [0; 20];
    SystemRandom::new().fill(&mut serial).unwrap();
    let now = Time::from_seconds(1_800_000_000);
    Intent {
        serial: Serial::from_random(serial),
        holder: Holder::Device("pump-7".parse().unwrap()),
        common_name: "pump-7".into(),
        key: request.key().clone(),
        not_before: now,
        not_after: now.plus(YEAR),
    }
}

/// Those that the server's TLS has, P-256 first.
fn algorithms() -> &'static [&'static dyn SignatureVerificationAlgorithm] {
    static PROVIDER: LazyLock<CryptoProvider> = LazyLock::new(default_provider);
    PROVIDER.signature_verification_algorithms.all
}

fn time<T>(all: impl IntoIterator<Item = T>, work: impl Fn(T)) -> Duration {
    let start = Instant::now();
    all.into_iter().for_each(work);
    start.elapsed()
}
