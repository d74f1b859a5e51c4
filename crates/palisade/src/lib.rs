//! What the one binary does: argv, configuration, supervision, telemetry, exit codes.
//!
//! It is a library so that its parsers can be fuzzed; nobody else links it.
#![cfg_attr(test, allow(clippy::unwrap_used))]

use std::io;
use std::process::ExitCode;

use exit::{Exit, Failure};

mod backup;
mod cli;
mod client;
mod clock;
mod configuration;
mod exit;
mod folder;
pub mod fuzz;
mod keeper;
mod role;
mod sandbox;
mod setup;
mod store;
mod supervisor;
mod telemetry;
mod up;

/// Does what the command line says.
pub fn main() -> ExitCode {
    match cli::run() {
        Ok(exit) => exit.into(),
        // Whoever read our output has seen enough.
        Err(failure) if closed_pipe(&failure) => Exit::Ok.into(),
        Err(failure) => {
            cli::output::error(&failure.line());
            failure.exit.into()
        }
    }
}

fn closed_pipe(failure: &Failure) -> bool {
    let error = failure.error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
