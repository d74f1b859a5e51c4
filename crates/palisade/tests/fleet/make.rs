//! A fleet by plan: what a device is follows from its number.

use std::path::Path;
use std::time::Instant;

use serde_json::json;

use crate::rig::api::{Line, Lost};
use crate::rig::device::Device;
use crate::rig::dice::Dice;

/// How large, and with which keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) n_devices: usize,
    pub(crate) seed: u64,
}

const KINDS: [&str; 7] = ["pump", "meter", "camera", "valve", "boiler", "press", "gate"];
const SITES: [&str; 3] = ["main", "north", "south"];
const N_ZONES: usize = 23;
/// How many callers there are at once.
const CALLERS: usize = 64;

pub(crate) fn kind(idx: usize) -> &'static str {
    KINDS[idx % KINDS.len()]
}

pub(crate) fn id(idx: usize) -> String {
    format!("{}-{idx:06}", kind(idx))
}

pub(crate) fn zone(idx: usize) -> String {
    format!("zone-{:02}", idx % N_ZONES)
}

pub(crate) fn site(idx: usize) -> &'static str {
    SITES[idx % N_ZONES % SITES.len()]
}

/// One in twenty was only added.
pub(crate) fn enrols(idx: usize) -> bool {
    idx % 20 != 19
}

fn is_revoked(idx: usize) -> bool {
    idx.is_multiple_of(97)
}

fn is_quarantined(idx: usize) -> bool {
    idx % 499 == 1
}

pub(crate) fn needs_a_person(idx: usize) -> bool {
    is_revoked(idx) || is_quarantined(idx)
}

impl Plan {
    /// Makes it through the API.
    pub(crate) async fn make(&self, data: &Path) {
        let started = Instant::now();
        let mut line = Line::local(data).await.unwrap();
        for site in &SITES[1..] {
            line.post("/v1/sites", &json!({ "id": site })).await.unwrap();
        }
        for idx in 0..N_ZONES {
            line.post("/v1/zones", &json!({ "id": zone(idx), "site": site(idx) })).await.unwrap();
        }
        for kind in KINDS {
            line.post("/v1/kinds", &json!({ "id": kind })).await.unwrap();
        }
        let mut dice = Dice::seeded(self.seed);
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let (plan, data) = (*self, data.to_owned());
                let dice = Dice::seeded(dice.throw());
                tokio::spawn(async move { plan.make_share(&data, caller, dice).await.unwrap() })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
        let took = started.elapsed().as_secs_f64();
        println!("{} devices added, and 19 of 20 enrolled, in {took:.1} s", self.n_devices);
        let started = Instant::now();
        let mut line = Line::local(data).await.unwrap();
        let revoked: Vec<_> = (0..self.n_devices).filter(|idx| is_revoked(*idx)).map(id).collect();
        let body = json!({ "ids": revoked, "reason": "stolen" });
        line.post("/v1/devices/revoke", &body).await.unwrap();
        let took = started.elapsed().as_secs_f64();
        println!("{} of them revoked in one call in {took:.2} s", revoked.len());
        for idx in (0..self.n_devices).filter(|idx| is_quarantined(*idx)) {
            let path = format!("/v1/devices/{}/quarantine", id(idx));
            line.post(&path, &json!({ "reason": "odd" })).await.unwrap();
        }
    }

    async fn make_share(&self, data: &Path, caller: usize, mut dice: Dice) -> Result<(), Lost> {
        let mut line = Line::local(data).await?;
        for idx in (caller..self.n_devices).step_by(CALLERS) {
            let body = json!({
                "id": id(idx), "kind": kind(idx), "zone": zone(idx),
                "title": format!("No. {idx} of {}", zone(idx)), "labels": { "line": idx.to_string() },
            });
            let added = line.post("/v1/devices", &body).await?;
            if enrols(idx) {
                let claim = added.pointer("/claim/text").and_then(|text| text.as_str()).unwrap();
                Device::with_claim(&id(idx), claim, &mut dice).enrol(&mut line).await?;
            }
        }
        Ok(())
    }
}
