//! Floods of denials and what is left of them.

use super::*;
use std::time::Duration;

use crate::hub::principal_of_tests as principal;
use policy::Epoch;

#[test]
fn a_flood_is_one_observation_per_interval_with_the_count() {
    let mut denials = Denials::bounded(100);
    let (principal, decision) = (principal(), denial(1, Cause::NotGranted));
    let mut reports = Vec::new();
    for millis in 0..10_000 {
        denials.count(&principal, Action::Publish, Some("a/b"), &decision, at(millis));
        take(&mut denials, millis, &mut reports);
    }
    let counts: Vec<u64> = reports.iter().map(|report| report.1).collect();
    assert_eq!(counts, [1, 1_000, 2_000, 4_000]);
    denials.take_due(at(10_000).1, true, |observation| reports.push(summary(&observation)));
    assert_eq!(reports.iter().map(|report| report.1).sum::<u64>(), 10_000);
    assert!(reports.iter().all(|report| report.0 == decision.id));
}

#[test]
fn a_device_that_invents_topics_is_counted_by_action_and_cause() {
    let mut denials = Denials::bounded(100);
    let principal = principal();
    let mut reports = Vec::new();
    for number in 0..1_000_u16 {
        let topic = format!("invented/{number}");
        let decision = denial(number, Cause::NoNamespace);
        denials.count(&principal, Action::Publish, Some(&topic), &decision, at(0));
    }
    take(&mut denials, 0, &mut reports);
    assert_eq!(reports.len(), PER_DEVICE + 1);
    assert_eq!(reports.iter().map(|report| report.1).sum::<u64>(), 1_000);
    let folded: Vec<_> = reports.iter().filter(|report| report.2.is_none()).collect();
    assert_eq!(folded.len(), 1);
}

#[test]
fn what_is_over_is_forgotten_and_the_table_is_bounded() {
    let mut denials = Denials::bounded(2);
    let principal = principal();
    for number in 0..3 {
        let decision = denial(number, Cause::NotGranted);
        denials.count(&principal, Action::Publish, None, &decision, at(0));
    }
    assert_eq!(denials.take_uncounted(), 1);
    let mut reports = Vec::new();
    take(&mut denials, 0, &mut reports);
    take(&mut denials, 1_000, &mut reports);
    assert_eq!(reports.len(), 2);
    assert!(denials.by_decision.is_empty() && denials.by_device.is_empty());
}

#[test]
fn a_denial_that_is_counted_is_found_by_what_it_is() {
    let mut denials = Denials::bounded(10);
    let (principal, decision) = (principal(), denial(1, Cause::ClientId));
    denials.count(&principal, Action::Connect, None, &decision, at(0));
    let found = |cause| denials.find(principal.slot, Action::Connect, cause);
    assert_eq!(found(Cause::ClientId), Some(&decision));
    assert_eq!(found(Cause::Forbidden), None);
}

fn at(millis: u64) -> (Time, Instant) {
    let elapsed = Duration::from_millis(millis);
    (Time::EPOCH.plus(elapsed), Instant::from_start(elapsed))
}

fn denial(number: u16, cause: Cause) -> Arc<Decision> {
    let mut bits = [0; 10];
    bits[..2].copy_from_slice(&number.to_be_bytes());
    Arc::new(Decision::denied(DecisionId::from_random(bits), cause, Epoch::default()))
}

fn take(denials: &mut Denials, millis: u64, reports: &mut Vec<(DecisionId, u64, Option<Excerpt>)>) {
    denials.take_due(at(millis).1, false, |observation| reports.push(summary(&observation)));
}

fn summary(observation: &Observation) -> (DecisionId, u64, Option<Excerpt>) {
    let Observation::Denied { decision, count, topic, .. } = observation else { panic!() };
    (*decision, *count, topic.clone())
}
