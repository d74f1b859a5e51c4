//! Logs: facts with fields on standard error, for people on a terminal and as JSON elsewhere.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::clock;
use crate::configuration::LogFormat;

/// Starts to write logs of a process; a filter that cannot be read is said and `info` taken.
pub(crate) fn start(filter: &str, format: Option<LogFormat>, role: &'static str) {
    let terminal = io::stderr().is_terminal();
    let format = format.unwrap_or_else(default_format);
    let parsed = EnvFilter::try_new(filter);
    let misread = parsed.as_ref().err().map(ToString::to_string);
    let parsed = parsed.unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(move || Labelled { role })
        .with_timer(Utc);
    // A second start (in tests of this process) changes nothing and is no error.
    let _ = match format {
        LogFormat::Human => {
            let colour = terminal && !crate::configuration::no_color();
            builder.with_target(false).with_ansi(colour).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).with_span_list(false).try_init(),
    };
    if let Some(error) = misread {
        tracing::warn!(filter, error, "log filter not understood; `info` is used");
    }
}

/// Looks how to log when nobody said: for people on a terminal, for programs elsewhere.
pub(crate) fn default_format() -> LogFormat {
    if io::stderr().is_terminal() { LogFormat::Human } else { LogFormat::Json }
}

/// Says on each line which process wrote it: they share one standard error.
struct Labelled {
    role: &'static str,
}

impl Write for Labelled {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut whole = match line.strip_prefix(b"{") {
            Some(_) => format!("{{\"role\":\"{}\",", self.role).into_bytes(),
            None => format!("{:8} ", self.role).into_bytes(),
        };
        whole.extend_from_slice(line.strip_prefix(b"{").unwrap_or(line));
        // One write per line, so that lines of several processes do not mix.
        io::stderr().lock().write_all(&whole)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

/// Wall clock in UTC.
struct Utc;

impl FormatTime for Utc {
    fn format_time(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        write!(w, "{}", clock::now())
    }
}
