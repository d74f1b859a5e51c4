//! `enroll`: what a device does to get in: make a key, prove it, come back with a certificate.
//!
//! The key is made here and never leaves. It is on the disk before anything is asked, so that an
//! answer that was lost can be asked for again with the same claim and key.
//!
//! The device is a small witness of the record too: it remembers the checkpoint that it is shown,
//! and says so if a later one does not continue it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64ct::{Base64, Encoding};
use clap::Args;
use hyper::Method;
use identity::chain::Usage;
use identity::key::pure;
use identity::request::Request;
use identity::{Anchor, Chain, Claim, Fingerprint, P256Key, Signer};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::Context;
use super::memory::Memory;
use super::output::{moment, text};
use crate::client::{Client, Pin, Place};
use crate::exit::{Exit, Failure, OrExit};
use crate::folder::{make_private, private, replace};

/// How to get in. The server is named with --server.
#[derive(Debug, Args)]
pub(crate) struct Enroll {
    /// The claim: a file, `-` for standard input, or its text
    #[arg(long)]
    claim: String,
    /// The folder for key and certificates
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// What the server answered, all of it checked.
struct Enrolled {
    device: String,
    certificate: String,
    chain: String,
    root: String,
    broker: String,
}

/// Enrolls this machine.
pub(crate) async fn run(context: &Context, enroll: &Enroll) -> Result<Exit, Failure> {
    let claim = read_claim(&enroll.claim)?;
    let server = context.configuration.server.value.as_ref();
    let server = server.ok_or_else(|| {
        Failure::new(Exit::Usage, "name the server with --server https://HOST:8443")
    })?;
    // The claim says which root to trust: no other is asked for, none is trusted on first use.
    let place = Place::remote(server, Pin::Fingerprint(claim.root()))?;
    let key = device_key(&enroll.out)?;
    let csr = Request::make(&key)?;
    let mut body = json!({ "claim": *claim.text(), "csr": Base64::encode_string(&csr) });
    let memory = Memory::at(&enroll.out);
    if let (Some(seen), Some(fields)) = (memory.size()?, body.as_object_mut()) {
        fields.insert("record_size".into(), seen.into());
    }
    let client = Client::remote(place, None);
    let answer = client.send(Method::POST, "/v1/enrolment", Some(body)).await?;
    let enrolled = check(&answer, &claim, &key)?;
    write(&enroll.out, &enrolled)?;
    let remembered = memory.take(answer.get("record").unwrap_or(&Value::Null));
    tell(context, enroll, &answer, &enrolled)?;
    // The certificate is good whatever the record is: it is kept, and the evidence beside it.
    remembered.map(|()| Exit::Ok)
}

fn tell(
    context: &Context,
    enroll: &Enroll,
    answer: &Value,
    enrolled: &Enrolled,
) -> Result<(), Failure> {
    let out = &context.output;
    let folder = enroll.out.display().to_string();
    if out.is_json() {
        out.json(&json!({
            "device": enrolled.device, "broker": enrolled.broker, "folder": folder,
            "not_after": text(answer, "/not_after"),
        }))?;
        return Ok(());
    }
    out.pairs(&[
        ("device", enrolled.device.clone()),
        ("broker", enrolled.broker.clone()),
        ("valid until", format!("{} UTC", moment(answer, "/not_after"))),
        ("files", folder.clone()),
    ])?;
    out.note(&format!("the options for an ordinary client are in {folder}/mosquitto.conf"));
    Ok(())
}

/// Reads the claim; text on a command line is seen by others, so a file is better.
fn read_claim(place: &str) -> Result<Claim, Failure> {
    if place.starts_with(identity::claim::PREFIX) {
        return place.parse().or_exit(Exit::Usage);
    }
    let mut content = Zeroizing::new(String::new());
    let read = match place {
        "-" => std::io::stdin().lock().take(4096).read_to_string(&mut content).map(|_| ()),
        path => fs::read_to_string(path).map(|text| content = Zeroizing::new(text)),
    };
    read.map_err(|e| Failure::new(Exit::Usage, format!("cannot read the claim `{place}`: {e}")))?;
    content.parse().or_exit(Exit::Usage)
}

/// Reads the key that is there, or makes one.
fn device_key(out: &Path) -> Result<P256Key, Failure> {
    if !out.is_dir() {
        let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty());
        let made = parent.map_or(Ok(()), fs::create_dir_all).and_then(|()| make_private(out));
        made.map_err(|e| anyhow::anyhow!("cannot make `{}`: {e}", out.display()))
            .or_exit(Exit::Unwritable)?;
    }
    let path = out.join("device.key");
    if path.exists() {
        private(&path, 0o600).or_exit(Exit::Permissions)?;
        let pem = Zeroizing::new(fs::read_to_string(&path)?);
        return Ok(P256Key::from_pem(&pem)?);
    }
    let key = loop {
        let mut seed = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(seed.as_mut()).map_err(|_| anyhow::anyhow!("no randomness"))?;
        // One value in 2^32 is no scalar of the curve.
        if let Some(key) = P256Key::from_random(&seed) {
            break key;
        }
    };
    replace(&path, key.to_pem().as_bytes(), 0o600)
        .map_err(|e| anyhow::anyhow!("cannot write `{}`: {e}", path.display()))
        .or_exit(Exit::Unwritable)?;
    Ok(key)
}

/// Believes nothing of the answer that does not lead from the claim's root to our own key.
fn check(answer: &Value, claim: &Claim, key: &P256Key) -> Result<Enrolled, Failure> {
    let wrong = |text: &str| Failure::new(Exit::Unverified, text);
    let field = |name: &str| text(answer, &format!("/{name}")).to_string();
    let root_pem = field("root");
    let root = CertificateDer::from_pem_slice(root_pem.as_bytes())
        .map_err(|_| wrong("the server sent no root certificate"))?;
    if Fingerprint::of_der(&root) != claim.root() {
        return Err(wrong("the server sent another root than the claim names"));
    }
    let chain_pem = field("chain");
    let shown: Vec<_> = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| wrong("the server sent a chain that is not PEM"))?;
    let others = shown.iter().map(AsRef::as_ref).filter(|der: &&[u8]| *der != root.as_ref());
    let chain = Chain::parse(others).or_exit(Exit::Unverified)?;
    let anchor = [Anchor::trust(&root).or_exit(Exit::Unverified)?];
    let now = crate::clock::now();
    let leaf = chain.verify(&anchor, |_| false, Usage::Client, now, pure::ALL);
    let leaf = leaf.or_exit(Exit::Unverified)?;
    if leaf.key() != key.public_key() {
        return Err(wrong("the certificate is for another key than ours"));
    }
    let device = leaf.device().ok_or_else(|| wrong("the certificate is not for a device"))?;
    let certificate = CertificateDer::from_pem_slice(field("certificate").as_bytes());
    if !certificate.is_ok_and(|certificate| certificate.as_ref() == leaf.der()) {
        return Err(wrong("the certificate is not the first of the chain"));
    }
    Ok(Enrolled {
        device: device.to_string(),
        certificate: field("certificate"),
        chain: chain_pem,
        root: root_pem,
        broker: field("broker"),
    })
}

fn write(out: &Path, enrolled: &Enrolled) -> Result<(), Failure> {
    let files = [
        ("device.crt", enrolled.certificate.clone(), 0o644),
        ("chain.pem", enrolled.chain.clone(), 0o644),
        ("ca.crt", enrolled.root.clone(), 0o644),
        ("broker.txt", format!("{}\n", enrolled.broker), 0o644),
        ("mosquitto.conf", mosquitto(out, enrolled), 0o644),
    ];
    for (name, content, mode) in files {
        let path = out.join(name);
        replace(&path, content.as_bytes(), mode)
            .map_err(|e| anyhow::anyhow!("cannot write `{}`: {e}", path.display()))
            .or_exit(Exit::Unwritable)?;
    }
    Ok(())
}

/// The options of `mosquitto_pub` and `mosquitto_sub`, as their configuration files take them.
fn mosquitto(out: &Path, enrolled: &Enrolled) -> String {
    let folder = std::path::absolute(out).unwrap_or_else(|_| out.into());
    let file = |name: &str| folder.join(name).display().to_string();
    let broker = enrolled
        .broker
        .strip_prefix('[')
        .map_or(enrolled.broker.clone(), |rest| rest.replacen("]:", ":", 1));
    let (host, port) = broker.rsplit_once(':').unwrap_or((&broker, "8883"));
    let (ca, cert, key) = (file("ca.crt"), file("chain.pem"), file("device.key"));
    format!(
        "# mosquitto_sub and mosquitto_pub read this as ~/.config/mosquitto_sub and _pub.\n\
         -h {host}\n-p {port}\n--cafile {ca}\n--cert {cert}\n--key {key}\n-i {}\n\
         --tls-version tlsv1.3\n",
        enrolled.device
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn claim() -> Claim {
        Claim::from_random(Zeroizing::new([0xa5; 32]), Fingerprint::of_der(b"root"))
    }

    #[test]
    fn a_claim_is_read_from_its_text_or_a_file() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("pump-7.claim");
        fs::write(&path, format!("{}\n", *claim().text())).unwrap();
        for place in [claim().text().as_str(), path.to_str().unwrap()] {
            assert_eq!(read_claim(place).unwrap().digest(), claim().digest());
        }
        assert_eq!(read_claim("/no/such/file").err().unwrap().exit, Exit::Usage);
    }

    #[test]
    fn the_key_is_kept_so_that_a_lost_answer_can_be_asked_for_again() {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("deep/pump-7");
        let first = device_key(&out).unwrap();
        let second = device_key(&out).unwrap();
        assert_eq!(first.public_key(), second.public_key());
        assert_eq!(fs::metadata(out.join("device.key")).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&out).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn an_answer_with_another_root_is_not_believed() {
        let key = P256Key::from_random(&Zeroizing::new([7; 32])).unwrap();
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for answer in [json!({}), json!({ "root": pem }), json!({ "root": 7 })] {
            let failure = check(&answer, &claim(), &key).err().unwrap();
            assert_eq!(failure.exit, Exit::Unverified);
        }
    }

    #[test]
    fn the_hint_names_the_broker_without_brackets() {
        let enrolled = Enrolled {
            device: "pump-7".into(),
            certificate: String::new(),
            chain: String::new(),
            root: String::new(),
            broker: "[::1]:8883".into(),
        };
        let text = mosquitto(Path::new("/etc/pump-7"), &enrolled);
        assert!(text.contains("-h ::1\n-p 8883\n--cafile /etc/pump-7/ca.crt\n"), "{text}");
    }
}
