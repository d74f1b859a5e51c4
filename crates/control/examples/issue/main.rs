//! Measures issuing on this machine beside its peers, in turns: `cargo xtask bench issue`.
//!
//! By hand: `cargo run --release -p control --example issue -- pure`, or `-- enrol SOCKET DIR` with
//! the local socket of a running server and a folder for the peers, which is made and removed.
//! Each line on stdout is one turn in JSON.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod client;
mod enrol;
mod key;
mod peers;
mod pure;

use std::path::PathBuf;

use serde_json::json;

/// How often each figure is measured.
const TURNS: usize = 7;

fn main() {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("pure") => pure::measure(),
        Some("enrol") => {
            let socket = PathBuf::from(arguments.next().expect("the server's socket"));
            let dir = PathBuf::from(arguments.next().expect("a folder for the peers"));
            enrol::measure(&socket, &dir);
        }
        _ => panic!("say `pure`, or `enrol SOCKET DIR`"),
    }
}

/// Says what one turn of a figure came to.
fn report(figure: &str, unit: &str, ours: f64, peer_name: &str, peer: f64) {
    let turn = json!({
        "figure": figure, "unit": unit, "ours": ours, "peer_name": peer_name, "peer": peer,
    });
    println!("{turn}");
}

/// Counts are far below where a float becomes coarse.
#[allow(clippy::cast_precision_loss)]
fn float(count: usize) -> f64 {
    count as f64
}
