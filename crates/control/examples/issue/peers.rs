//! What an operator would otherwise use: the authority of the `openssl` command with its index of
//! what it issued; and what SQLite alone would take to make as many rows durable one by one.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::enrol::Issued;

const SPAN: Duration = Duration::from_secs(2);

/// Inserts rows of a certificate's size, each in a transaction of its own; callers take turns.
pub(crate) fn sqlite(dir: &Path, n_callers: usize) -> Issued {
    fs::create_dir(dir).unwrap();
    let connection = rusqlite::Connection::open(dir.join("certificates.sqlite")).unwrap();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    connection.pragma_update(None, "synchronous", "full").unwrap();
    let table = "create table certificate (serial blob primary key, der blob not null) strict";
    connection.execute(table, ()).unwrap();
    let connection = Mutex::new(connection);
    let start = Instant::now();
    let caller = |idx: usize| {
        let mut times = Vec::new();
        for turn in 0_usize.. {
            let begun = Instant::now();
            let connection = connection.lock().unwrap();
            if start.elapsed() >= SPAN {
                break;
            }
            let serial = [idx.to_be_bytes(), turn.to_be_bytes()].concat();
            let insert = "insert into certificate (serial, der) values ($1, $2)";
            let mut insert = connection.prepare_cached(insert).unwrap();
            insert.execute((serial, vec![7_u8; 540])).unwrap();
            times.push(begun.elapsed());
        }
        times
    };
    let times = thread::scope(|scope| {
        let callers: Vec<_> = (0..n_callers).map(|idx| scope.spawn(move || caller(idx))).collect();
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    let span = start.elapsed();
    connection.into_inner().unwrap().close().unwrap();
    fs::remove_dir_all(dir).unwrap();
    Issued { span, times }
}

/// Has `openssl ca` issue for one request after the other.
pub(crate) fn openssl(dir: &Path) -> Issued {
    fs::create_dir(dir).unwrap();
    fs::write(dir.join("ca.cnf"), CONFIGURATION).unwrap();
    fs::write(dir.join("index.txt"), "").unwrap();
    let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let authority =
        ["req", "-x509", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.crt"];
    run(dir, &[&authority[..], &new_key[..]].concat());
    let device =
        ["req", "-new", "-subj", "/CN=pump-7", "-keyout", "device.key", "-out", "device.csr"];
    run(dir, &[&device[..], &new_key[..]].concat());
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < SPAN {
        let begun = Instant::now();
        run(dir, &["ca", "-config", "ca.cnf", "-batch", "-notext", "-in", "device.csr"]);
        times.push(begun.elapsed());
    }
    let span = start.elapsed();
    fs::remove_dir_all(dir).unwrap();
    Issued { span, times }
}

fn run(dir: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(dir).output();
    let output = output.expect("`openssl` is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

const CONFIGURATION: &str = "
[ca]
default_ca = local
[local]
database = index.txt
new_certs_dir = .
certificate = ca.crt
private_key = ca.key
rand_serial = yes
unique_subject = no
default_md = sha256
default_days = 365
policy = names
x509_extensions = leaf
[names]
commonName = supplied
[leaf]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
";
