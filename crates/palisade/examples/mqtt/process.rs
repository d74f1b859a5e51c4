//! What processes have taken: processor time, and their share of memory.

use std::fs;
use std::time::Duration;

use serde_json::Value;

/// A server's processes.
pub(crate) struct Processes(Vec<u64>);

impl Processes {
    /// Finds ours in what `up` says when it is ready.
    pub(crate) fn of(ready: &Value) -> Self {
        let roles = ready.get("roles").and_then(Value::as_object).unwrap();
        let pids = roles.values().chain(ready.get("pid")).filter_map(Value::as_u64);
        Self(pids.collect())
    }

    pub(crate) fn one(pid: u32) -> Self {
        Self(vec![pid.into()])
    }

    /// Adds up the processor time that they have taken.
    pub(crate) fn time(&self) -> Duration {
        let ticks = |pid: &u64| -> u64 {
            let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            // The name before may hold anything; after it come state and numbers.
            let rest = text.rsplit_once(") ").unwrap().1;
            let fields: Vec<_> = rest.split(' ').collect();
            fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
        };
        let n_ticks: u64 = self.0.iter().map(ticks).sum();
        Duration::from_secs_f64(n_ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// Adds up their proportional shares of memory, in bytes.
    pub(crate) fn weight(&self) -> u64 {
        let weight = |pid: &u64| -> u64 {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
            let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            kib.unwrap_or(0) * 1024
        };
        self.0.iter().map(weight).sum()
    }
}
