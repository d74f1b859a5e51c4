//! Runs a crate's measuring example in release, and takes in the turns that it prints.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::figure::Turn;
use crate::root;

/// Runs an example and gives its turns; what it says besides goes to the terminal.
pub(super) fn turns(package: &str, example: &str, arguments: &[&OsStr]) -> Result<Vec<Turn>> {
    let mut child = Command::new("cargo")
        .args(["run", "--release", "--quiet", "--package", package, "--example", example, "--"])
        .args(arguments)
        .current_dir(root())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().context("no output of cargo")?;
    let mut turns = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        turns.push(serde_json::from_str(&line).with_context(|| line.clone())?);
    }
    ensure!(child.wait()?.success(), "the example `{example}` of `{package}` failed");
    Ok(turns)
}

/// Makes a folder on the disk that is measured: the one of the build.
pub(super) fn folder() -> Result<tempfile::TempDir> {
    let target = root().join("target");
    tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(&target)
        .with_context(|| format!("cannot make a folder in `{}`", target.display()))
}

/// Builds the program in release and says where it is.
pub(super) fn palisade() -> Result<PathBuf> {
    let status = Command::new("cargo")
        .args(["build", "--release", "--quiet", "--package", "palisade"])
        .current_dir(root())
        .status()?;
    ensure!(status.success(), "palisade could not be built");
    Ok(root().join("target/release/palisade"))
}
