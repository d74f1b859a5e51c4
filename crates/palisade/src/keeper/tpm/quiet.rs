//! Keeps the TPM's library, which writes to standard error by itself, from talking over our line.

use std::fs::OpenOptions;
use std::os::fd::OwnedFd;

/// While it lives, standard error goes nowhere, unless the library's own variable was set.
///
/// Only for a moment without other threads: theirs would be lost too.
pub(super) struct Quiet {
    saved: Option<OwnedFd>,
}

impl Quiet {
    /// Begins; where it cannot, the library talks.
    pub(super) fn begin() -> Self {
        if crate::configuration::tpm_library_may_talk() {
            return Self { saved: None };
        }
        let saved = rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), 3).ok();
        let nowhere = OpenOptions::new().write(true).open("/dev/null").ok();
        let silenced = match (&saved, nowhere) {
            (Some(_), Some(nowhere)) => rustix::stdio::dup2_stderr(nowhere).is_ok(),
            _ => false,
        };
        Self { saved: saved.filter(|_| silenced) }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            // There is nowhere left to say that it failed.
            let _ = rustix::stdio::dup2_stderr(saved);
        }
    }
}
