//! The one binary: argv, configuration, telemetry, exit codes.
fn main() {}
