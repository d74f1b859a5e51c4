//! Licences and sources of every crate in the lock file, against `deny.toml`.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use spdx::{Expression, Licensee};

use crate::root;

pub(crate) fn run() -> Result<()> {
    let installed = Command::new("cargo").args(["deny", "--version"]).output()?.status.success();
    if installed {
        let status = Command::new("cargo").args(["deny", "check"]).current_dir(root()).status()?;
        ensure!(status.success(), "cargo deny found something");
        return Ok(());
    }
    let n_crates = check()?;
    println!(
        "{n_crates} crates: every licence is allowed, none is banned, all come from the registry"
    );
    println!("advisories: skipped, cargo-deny is not installed");
    Ok(())
}

fn check() -> Result<usize> {
    let config: toml::Table = std::fs::read_to_string(root().join("deny.toml"))?.parse()?;
    let texts = |section: &str, key: &str| -> Vec<String> {
        let list = config.get(section).and_then(|s| s.get(key)).and_then(toml::Value::as_array);
        let text =
            |v: &toml::Value| v.as_str().or_else(|| v.get("crate")?.as_str()).map(str::to_owned);
        list.into_iter().flatten().filter_map(text).collect()
    };
    let allowed: Vec<Licensee> = texts("licenses", "allow")
        .iter()
        .map(|text| Licensee::parse(text))
        .collect::<Result<_, _>>()?;
    let banned = texts("bans", "deny");
    // The tree that is built: the lock file also names crates that no feature asks for.
    let output = Command::new("cargo")
        .args(["tree", "--workspace", "--locked", "--target", "all", "--edges", "normal,build,dev"])
        .args(["--prefix", "none", "--format", "{p}\t{l}"])
        .current_dir(root())
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let lines: BTreeSet<_> = text.lines().filter(|line| !line.is_empty()).collect();
    for line in &lines {
        let (package, licence) = line.split_once('\t').context("a package without a licence")?;
        let name = package.split(' ').next().unwrap_or(package);
        ensure!(!banned.iter().any(|banned| banned == name), "`{name}` is banned by deny.toml");
        ensure!(!package.contains("(http"), "`{name}` does not come from the registry");
        // The oldest crates separate alternatives with a slash; `(*)` marks a line seen before.
        let licence = licence.trim_end_matches(" (*)").replace('/', " OR ");
        let expression =
            Expression::parse(&licence).with_context(|| format!("`{name}`: `{licence}`"))?;
        let may =
            expression.evaluate(|need| allowed.iter().any(|licensee| licensee.satisfies(need)));
        ensure!(may, "`{name}` has the licence `{licence}`, which deny.toml does not allow");
    }
    Ok(lines.len())
}
