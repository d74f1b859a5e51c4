//! Figures: times in order, the machine's load, and what processes weigh.

use std::fs;
use std::time::Duration;

use rustix::process::Pid;

/// Times of one kind.
#[derive(Debug, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    /// Adds one.
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// Gives the longest.
    pub(crate) fn worst(&self) -> Duration {
        self.0.iter().max().copied().unwrap_or_default()
    }

    /// Gives the time that so many of a thousand do not exceed.
    pub(crate) fn of_thousand(&self, share: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * share).div_ceil(1_000).max(1);
        sorted.get(rank - 1).copied().unwrap_or_default()
    }

    /// Shows them in one line.
    pub(crate) fn show(&self, what: &str) {
        let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
        println!(
            "{what}: n {}, p50 {:.1} ms, p99 {:.1} ms, worst {:.1} ms; load {}",
            self.0.len(),
            millis(self.of_thousand(500)),
            millis(self.of_thousand(990)),
            millis(self.worst()),
            load(),
        );
    }
}

impl FromIterator<Duration> for Times {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        Self(times.into_iter().collect())
    }
}

/// Gives the machine's load of the last minute, for two cores as for any.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// Gives the proportional set size of each process in KiB, by the name that it has; a process that
/// may not be looked at has none.
pub(crate) fn weights(pids: &[Pid]) -> Vec<(String, Option<u64>)> {
    let weight = |pid: &Pid| {
        let folder = format!("/proc/{}", pid.as_raw_nonzero());
        let name = fs::read_to_string(format!("{folder}/comm")).unwrap_or_default();
        let rollup = fs::read_to_string(format!("{folder}/smaps_rollup")).ok();
        let line = rollup.and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.trim().trim_end_matches(" kB").parse().ok()
        });
        (name.trim().to_owned(), line)
    };
    pids.iter().map(weight).collect()
}

/// Shows what processes weigh, and all together.
pub(crate) fn show_weights(what: &str, pids: &[Pid]) {
    let weights = weights(pids);
    let total: u64 = weights.iter().filter_map(|(_, kib)| *kib).sum();
    let each: Vec<_> = weights
        .iter()
        .map(|(name, kib)| format!("{name} {:.1}", mib(kib.unwrap_or_default())))
        .collect();
    println!("{what}: {:.1} MiB together ({})", mib(total), each.join(", "));
}

#[allow(clippy::cast_precision_loss, reason = "a figure for people")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1_024.0
}
