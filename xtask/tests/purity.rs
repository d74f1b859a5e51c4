//! The crates that a device carries build into a program without std: were std linked by any of
//! them, its panic handler would meet the one defined here, and the compiler would refuse.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::process::Command;

#[test]
fn the_device_s_crates_link_without_std() {
    let output = build(&[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_crate_that_links_std_is_found_out() {
    let output = build(&["--features", "impure"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("panic_impl"), "{stderr}");
}

fn build(arguments: &[&str]) -> std::process::Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(root.join("purity/Cargo.toml"))
        .arg("--target-dir")
        .arg(root.parent().unwrap().join("target/purity"))
        .args(arguments)
        .output()
        .unwrap()
}
