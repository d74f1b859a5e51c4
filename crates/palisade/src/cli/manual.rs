//! What a package needs beside the program: completions, manual pages, the version.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Context, description};
use crate::exit::{Exit, Failure};

/// Which shell.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

/// Where to.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The folder, which must exist
    folder: PathBuf,
}

/// Writes a completion script to standard output.
pub(crate) fn completions(completions: &Completions) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(completions.shell, &mut description(), "palisade", &mut script);
    std::io::Write::write_all(&mut std::io::stdout().lock(), &script)?;
    Ok(Exit::Ok)
}

/// Writes one page per command.
pub(crate) fn man(context: &Context, man: &Man) -> Result<Exit, Failure> {
    clap_mangen::generate_to(description(), &man.folder)
        .map_err(|e| anyhow::anyhow!("cannot write into `{}`: {e}", man.folder.display()))?;
    context.output.note(&format!("the pages are in `{}`", man.folder.display()));
    Ok(Exit::Ok)
}

/// Says which version this is.
pub(crate) fn version(context: &Context) -> Result<Exit, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    match context.output.is_json() {
        true => context.output.json(&json!({
            "version": version, "data_format": crate::folder::VERSION,
        }))?,
        false => context.output.line(&format!("palisade {version}"))?,
    }
    Ok(Exit::Ok)
}
