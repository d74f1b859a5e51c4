//! The one binary: argv, configuration, telemetry, exit codes.
#![cfg_attr(test, allow(clippy::unwrap_used))]

use std::io;
use std::process::ExitCode;

use exit::{Exit, Failure};

mod cli;
mod client;
mod clock;
mod configuration;
mod exit;
mod folder;
mod role;
mod sandbox;
mod setup;
mod store;
mod supervisor;
mod telemetry;
mod up;

fn main() -> ExitCode {
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
