//! How far a backup is, on a terminal only.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::output::Output;

/// A bar on standard error; nothing where nobody looks.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Begins with so many bytes ahead, or an unknown number.
    pub(crate) fn begin(out: &Output, n_bytes: Option<u64>) -> Self {
        if out.is_json() || !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let (bar, template) = match n_bytes {
            Some(n_bytes) => {
                (ProgressBar::new(n_bytes), "{wide_msg} {bytes:>10} of {total_bytes} {bar:24}")
            }
            None => (ProgressBar::new_spinner(), "{wide_msg} {bytes:>10} {spinner}"),
        };
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    /// Says what is being done.
    pub(crate) fn on(&self, what: impl Into<String>) {
        self.0.set_message(what.into());
    }

    /// Counts bytes that were done.
    pub(crate) fn add(&self, n_bytes: u64) {
        self.0.inc(n_bytes);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
