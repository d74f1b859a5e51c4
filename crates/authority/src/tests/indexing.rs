//! The index changes no answer, and neither does keeping decisions by what rules read.

use super::*;
use std::collections::HashMap;

use proptest::collection::vec;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn the_index_gives_the_answer_of_all_rules(rules in vec(rule(), 0..8), asks in vec(ask(), 1..6)) {
        let authority = compile(&rules);
        for (device, ask) in &asks {
            let request = Request { device, ask: ask.borrow() };
            let Ok(scope) = authority.scope(&request) else { continue };
            let (indexed, all) = (authority.judge(&scope, &request), authority.judge_by_all(&scope, &request));
            prop_assert_eq!(indexed.cause, all.cause);
            prop_assert_eq!(indexed.rule_idxs, all.rule_idxs);
        }
    }

    // Two topics that bind the same to what the rules read get the same decision.
    #[test]
    fn what_no_rule_reads_changes_no_answer(rules in vec(rule(), 0..8), asks in vec(ask(), 1..30)) {
        let authority = compile(&rules);
        let mut seen = HashMap::new();
        for (device, ask) in &asks {
            let request = Request { device, ask: ask.borrow() };
            let Ok(scope) = authority.scope(&request) else { continue };
            let reads: Vec<Option<String>> = scope.read_values().map(|v| v.map(str::to_string)).collect();
            let namespace = scope.binding.as_ref().map(|b| b.namespace().idx());
            let judgement = authority.judge(&scope, &request);
            let key = (device.id.clone(), ask.action, ask.retain, ask.wildcard(), namespace, reads);
            let answer = (judgement.cause, judgement.rule_idxs);
            prop_assert_eq!(seen.entry(key).or_insert_with(|| answer.clone()), &answer);
        }
    }
}

#[test]
fn a_rule_that_hands_the_resource_on_reads_all_of_it() {
    let reads = |condition: &str| {
        let source = format!(
            "permit(principal, action == Action::\"publish\", resource) when {{ {condition} }};"
        );
        let authority =
            Authority::compile(&set(&source)).unwrap_or_else(|problems| panic!("{problems:?}"));
        let pump = pump();
        let request = Request::publish(&pump, "plant-a/pump/pump-7/status", false);
        authority.scope(&request).unwrap().read_values().flatten().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(reads("true"), "");
    assert_eq!(reads("resource in Namespace::\"status\" && resource is Topic"), "");
    assert_eq!(reads("resource.namespace == Namespace::\"status\""), "");
    assert_eq!(reads("resource has site && resource.site == principal.site"), "plant-a");
    assert_eq!(reads("resource has device"), "pump-7");
    assert_eq!(reads("{ a: resource }.a has site"), "plant-a pump pump-7");
    assert_eq!(
        reads("(if principal.stage == \"active\" then resource else resource) has site"),
        "plant-a pump pump-7"
    );
    assert_eq!(reads("[resource].contains(resource)"), "plant-a pump pump-7");
}

#[derive(Debug, Clone)]
struct OwnedAsk {
    action: Action,
    topic: String,
    retain: bool,
}

impl OwnedAsk {
    fn borrow(&self) -> Ask<'_> {
        match self.action {
            Connect => Ask::Connect,
            Publish => Ask::Publish { topic: &self.topic, retain: self.retain },
            Subscribe => Ask::Subscribe { filter: &self.topic },
            Receive => Ask::Receive { topic: &self.topic },
        }
    }

    fn wildcard(&self) -> bool {
        self.topic.contains(['+', '#'])
    }
}

fn compile(rules: &[String]) -> Authority {
    Authority::compile(&set(&rules.join("\n")))
        .unwrap_or_else(|problems| panic!("{rules:?} {problems:?}"))
}

fn ask() -> impl Strategy<Value = (DeviceStanding, OwnedAsk)> {
    let action = prop_oneof![Just(Connect), Just(Publish), Just(Subscribe), Just(Receive)];
    let asks = (action, prop_oneof![topic_like(), filter_like()], any::<bool>())
        .prop_map(|(action, topic, retain)| OwnedAsk { action, topic, retain });
    let devices = ("[ab]", "(pump|application)").prop_map(|(name, kind_name)| DeviceStanding {
        site: site_of("x"),
        kind: kind(if name == "a" { "pump" } else { &kind_name }),
        ..device(&format!("{name}{kind_name}"))
    });
    (devices, asks)
}

/// Rules of every form of scope, with conditions that read this and that, or fail.
fn rule() -> impl Strategy<Value = String> {
    let effect = prop_oneof![3 => Just("permit"), 1 => Just("forbid")];
    let principal = prop_oneof![
        Just("principal"),
        Just("principal is Device"),
        Just("principal in Kind::\"application\""),
        Just("principal == Device::\"apump\""),
        Just("principal is Device in Site::\"x\""),
    ];
    let on_topics = (
        prop_oneof![
            Just("action == Action::\"publish\""),
            Just("action == Action::\"receive\""),
            Just("action in [Action::\"subscribe\", Action::\"receive\"]"),
        ],
        prop_oneof![
            Just("resource"),
            Just("resource is Topic"),
            Just("resource in Namespace::\"telemetry\""),
            Just("resource is Topic in Namespace::\"command\""),
        ],
        prop_oneof![
            Just(""),
            Just("when { resource has device && resource.device == principal }"),
            Just("when { resource has site && resource.site == principal.site }"),
            Just("unless { resource has kind && resource.kind == Kind::\"pump\" }"),
            Just("when { resource has device && 9223372036854775807 + 1 > 0 }"),
            Just("when { resource in [Namespace::\"status\", Namespace::\"command\"] }"),
        ],
    );
    let anywhere = (
        Just("action"),
        prop_oneof![Just("resource"), Just("resource is Gateway")],
        prop_oneof![
            Just(""),
            Just("when { principal.posture has quarantine }"),
            Just("when { principal.stage == \"active\" }")
        ],
    );
    let rest = prop_oneof![3 => on_topics.boxed(), 1 => anywhere.boxed()];
    (effect, principal, rest).prop_map(|(effect, principal, (action, resource, condition))| {
        format!("{effect}({principal}, {action}, {resource}) {condition};")
    })
}
