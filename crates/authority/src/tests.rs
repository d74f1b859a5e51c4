//! What the authority decides: the starter policy line by line, and what every policy can rely on.

use std::fmt::Write;

use expect_test::{Expect, expect};
use identity::{Fingerprint, Stage, Time};
use policy::{
    Action, Ask, Cause, Decision, DecisionId, DeviceStanding, Effect, Fact, Labels, Namespaces,
    PolicySet, Posture, Request,
};
use proptest::prelude::*;

use crate::{Authority, Problem, starter};

mod explaining;
mod fuzz;
mod indexing;

use Action::{Connect, Publish, Receive, Subscribe};

#[test]
fn the_starter_policy_has_nothing_to_mend() {
    let authority = Authority::compile(&starter::policy()).unwrap();
    assert_eq!(authority.warnings(), []);
}

#[test]
fn the_starter_policy_allows_what_a_device_needs_and_nothing_else() {
    let pump = pump();
    let cases: &[(Action, &str, Cause)] = &[
        (Connect, "", Cause::Granted),
        // Itself.
        (Publish, "plant-a/pump/pump-7/telemetry/temp", Cause::Granted),
        (Publish, "plant-a/pump/pump-7/telemetry", Cause::Granted),
        (Publish, "plant-a/pump/pump-7/telemetry/a/b/c", Cause::Granted),
        (Publish, "plant-a/pump/pump-7/status", Cause::Granted),
        (Subscribe, "plant-a/pump/pump-7/command/#", Cause::Granted),
        (Subscribe, "plant-a/pump/pump-7/command/+", Cause::Granted),
        (Subscribe, "plant-a/pump/pump-7/command/restart", Cause::Granted),
        (Receive, "plant-a/pump/pump-7/command/restart", Cause::Granted),
        // Itself the wrong way round.
        (Publish, "plant-a/pump/pump-7/command/restart", Cause::NotGranted),
        (Subscribe, "plant-a/pump/pump-7/telemetry/#", Cause::NotGranted),
        (Receive, "plant-a/pump/pump-7/telemetry/temp", Cause::NotGranted),
        (Subscribe, "plant-a/pump/pump-7/status", Cause::NotGranted),
        // Another device, another site, another kind.
        (Publish, "plant-a/pump/pump-8/telemetry/temp", Cause::NotGranted),
        (Publish, "plant-b/pump/pump-7/telemetry/temp", Cause::NotGranted),
        (Publish, "plant-a/valve/pump-7/telemetry/temp", Cause::NotGranted),
        (Publish, "plant-a/application/pump-7/telemetry/temp", Cause::NotGranted),
        (Subscribe, "plant-a/pump/pump-8/command/#", Cause::NotGranted),
        (Receive, "plant-a/pump/pump-8/command/restart", Cause::NotGranted),
        (Receive, "plant-a/pump/pump-77/command/restart", Cause::NotGranted),
        // Filters that leave open what must be said.
        (Subscribe, "plant-a/pump/+/command/#", Cause::NotGranted),
        (Subscribe, "+/+/pump-7/command/#", Cause::NotGranted),
        (Subscribe, "+/pump/pump-7/command/#", Cause::NotGranted),
        (Subscribe, "+/+/+/command/#", Cause::NotGranted),
        (Subscribe, "#", Cause::TooWide),
        (Subscribe, "+/#", Cause::TooWide),
        (Subscribe, "plant-a/pump/pump-7/#", Cause::TooWide),
        (Subscribe, "+/+/+/+/#", Cause::TooWide),
        (Subscribe, "plant-a/pump/pump-7/+/restart", Cause::TooWide),
        (Subscribe, "$share/g/plant-a/pump/pump-7/command/#", Cause::NoNamespace),
        (Subscribe, "$SYS/#", Cause::NoNamespace),
        // Topics that are no topics of ours, or try to look like one.
        (Publish, "anything", Cause::NoNamespace),
        (Publish, "", Cause::NoNamespace),
        (Publish, "/plant-a/pump/pump-7/telemetry/temp", Cause::NoNamespace),
        (Publish, "plant-a/pump/pump-7/telemetry/", Cause::NoNamespace),
        (Publish, "plant-a/pump/pump-7/telemetry//x", Cause::NoNamespace),
        (Publish, "plant-a/pump/pump-7//telemetry", Cause::NoNamespace),
        (Publish, "plant-a/pump/pump-7/telemetry/../../pump-8/command/stop", Cause::NoNamespace),
        (Publish, "plant-a/pump/../pump-7/telemetry/x", Cause::NoNamespace),
        (Publish, "plant-a/pump/pump-7/telemetry/#", Cause::NoNamespace),
        (Publish, "plant-a/pump/+/telemetry/temp", Cause::NoNamespace),
        (Receive, "plant-a/pump/#/command/x", Cause::NoNamespace),
        (Publish, "plant-a/pump/pump-7/Telemetry/temp", Cause::NoNamespace),
        (Publish, "plant-a/pump/Pump-7/telemetry/temp", Cause::NoNamespace),
        (Publish, "PLANT-A/pump/pump-7/telemetry/temp", Cause::NoNamespace),
        (Publish, "plant-a/\u{440}ump/pump-7/telemetry/temp", Cause::NoNamespace),
        (Publish, "plant-a/pump/pump\u{2212}7/telemetry/temp", Cause::NoNamespace),
        (Publish, "plant-a/pump/pump-7\u{200b}/telemetry/temp", Cause::NoNamespace),
        (Publish, "plant-a/pump/pump-7\0/telemetry/temp", Cause::NoNamespace),
        (Publish, "plant-a/pump/pump-7/telemetr\u{443}/temp", Cause::NoNamespace),
        (Publish, "$SYS/broker/uptime", Cause::ServersOwn),
        (Publish, "$SYS/pump/pump-7/telemetry/x", Cause::ServersOwn),
        (Receive, "$SYS/broker/uptime", Cause::NoNamespace),
    ];
    check(&pump, cases);
}

#[test]
fn what_the_server_tells_of_itself_is_heard_by_whom_a_rule_names_and_said_by_nobody() {
    let mut set = starter::policy();
    let declared = set.namespaces.iter().map(|n| (n.name(), n.template()));
    let namespaces = Namespaces::parse(declared.chain([("sys", "$SYS/broker/#")])).unwrap();
    set.namespaces = namespaces;
    set.source += "\n@id(\"boards-watch\") permit (principal in Kind::\"application\", action, \
                   resource in Namespace::\"sys\");";
    let authority = Authority::compile(&set).unwrap();
    let application = DeviceStanding { kind: kind("application"), ..device("board-1") };
    let cases = [
        (&application, Subscribe, "$SYS/broker/#", Cause::Granted),
        (&application, Receive, "$SYS/broker/uptime", Cause::Granted),
        (&application, Publish, "$SYS/broker/uptime", Cause::ServersOwn),
        (&application, Subscribe, "#", Cause::TooWide),
        (&pump(), Subscribe, "$SYS/broker/#", Cause::NotGranted),
        (&pump(), Receive, "$SYS/broker/uptime", Cause::NotGranted),
    ];
    for (device, action, topic, cause) in cases {
        let request = Request::of(device, action, Some(topic)).unwrap();
        let found = authority.decide(&request, id()).cause;
        assert_eq!(found, cause, "{} {action} {topic}", device.id);
    }
}

#[test]
fn the_starter_policy_lets_an_application_work_with_its_site() {
    let application = DeviceStanding { kind: kind("application"), ..device("board-1") };
    let cases: &[(Action, &str, Cause)] = &[
        (Connect, "", Cause::Granted),
        (Subscribe, "plant-a/+/+/telemetry/#", Cause::Granted),
        (Subscribe, "plant-a/+/+/status", Cause::Granted),
        (Subscribe, "plant-a/pump/pump-7/telemetry/temp", Cause::Granted),
        (Receive, "plant-a/pump/pump-7/telemetry/temp", Cause::Granted),
        (Receive, "plant-a/pump/pump-7/status", Cause::Granted),
        (Publish, "plant-a/pump/pump-7/command/restart", Cause::Granted),
        (Publish, "plant-a/application/board-1/status", Cause::Granted),
        (Subscribe, "plant-a/application/board-1/command/#", Cause::Granted),
        (Subscribe, "+/+/+/telemetry/#", Cause::NotGranted),
        (Subscribe, "plant-b/+/+/telemetry/#", Cause::NotGranted),
        (Receive, "plant-b/pump/pump-7/telemetry/temp", Cause::NotGranted),
        (Publish, "plant-b/pump/pump-7/command/restart", Cause::NotGranted),
        (Publish, "plant-a/pump/pump-7/telemetry/temp", Cause::NotGranted),
        (Subscribe, "plant-a/+/+/command/#", Cause::NotGranted),
        (Receive, "plant-a/pump/pump-7/command/restart", Cause::NotGranted),
        (Subscribe, "plant-a/#", Cause::TooWide),
    ];
    check(&application, cases);
}

#[test]
fn a_device_in_quarantine_is_cut_off_from_everything() {
    let cut_off = |mut device: DeviceStanding| {
        device.posture.hold(Fact::quarantine(true, "ada", Time::EPOCH, Some("odd traffic")));
        device
    };
    let own = [
        (Connect, "", Cause::Quarantined),
        (Publish, "plant-a/pump/pump-7/telemetry/temp", Cause::Quarantined),
        (Publish, "plant-a/pump/pump-7/status", Cause::Quarantined),
        (Subscribe, "plant-a/pump/pump-7/command/#", Cause::Quarantined),
        (Receive, "plant-a/pump/pump-7/command/restart", Cause::Quarantined),
    ];
    check(&cut_off(pump()), &own);
    let application = DeviceStanding { kind: kind("application"), ..device("board-1") };
    check(&cut_off(application), &[(Receive, "plant-a/pump/pump-7/status", Cause::Quarantined)]);

    let mut recovered = cut_off(pump());
    recovered.posture.hold(Fact::quarantine(false, "ada", Time::EPOCH, None));
    check(&recovered, &[(Connect, "", Cause::Granted)]);
}

#[test]
fn a_device_that_is_not_in_service_may_nothing_whatever_the_policy_says() {
    let policy = set("permit(principal, action, resource);");
    for stage in Stage::ALL {
        let device = DeviceStanding { stage, ..pump() };
        let decision = decide(&policy, &Request::connect(&device));
        let expected = match stage {
            Stage::Claimed | Stage::Active => Cause::Granted,
            Stage::Manufactured | Stage::Retired => Cause::NotActive,
        };
        assert_eq!(decision.cause, expected, "{stage}");
    }
}

#[test]
fn an_empty_policy_denies_everything() {
    let pump = pump();
    for request in
        [Request::connect(&pump), Request::publish(&pump, "plant-a/pump/pump-7/status", false)]
    {
        assert_eq!(decide(&set(""), &request).cause, Cause::NotGranted);
    }
    let closed = Authority::closed(4);
    let decision = closed.decide(&Request::connect(&pump), id());
    assert_eq!((decision.cause, decision.epoch.policy), (Cause::PolicyUnusable, 4));
}

#[test]
fn a_forbid_that_cannot_be_evaluated_denies() {
    let policy = set(r#"
        @id("all") permit(principal, action, resource);
        @id("sum") forbid(principal, action == Action::"publish", resource)
        when { context.retain && 9223372036854775807 + 1 == 0 };
    "#);
    let pump = pump();
    let topic = "plant-a/pump/pump-7/status";

    let decision = decide(&policy, &Request::publish(&pump, topic, true));
    assert_eq!(decision.cause, Cause::PolicyError);
    assert_eq!(decision.policies, [Box::from("sum")]);
    assert!(decision.errors[0].contains("overflow"), "{:?}", decision.errors);

    assert_eq!(decide(&policy, &Request::publish(&pump, topic, false)).cause, Cause::Granted);
}

#[test]
fn a_permit_that_cannot_be_evaluated_grants_nothing() {
    let policy =
        set(r#"permit(principal, action, resource) when { 9223372036854775807 + 1 == 0 };"#);
    let decision = decide(&policy, &Request::connect(&pump()));
    assert_eq!(decision.cause, Cause::NotGranted);
    assert_eq!(decision.errors.len(), 1);
}

#[test]
fn a_decision_names_the_policies_that_decided_in_their_order() {
    let policy = set(r#"
        @id("second") permit(principal, action, resource);
        permit(principal, action == Action::"connect", resource);
        @id("never") permit(principal, action == Action::"publish", resource);
    "#);
    let decision = decide(&policy, &Request::connect(&pump()));
    assert_eq!(decision.policies, [Box::from("second"), Box::from("policy1")]);
    assert_eq!((decision.id, decision.epoch.policy), (id(), 7));
}

#[test]
fn policies_see_labels_zones_stages_text_and_context() {
    let mut set = set(r#"
        permit(principal in Zone::"hall-1", action == Action::"publish", resource in Namespace::"line")
        when { principal.hasTag("owner") && principal.getTag("owner") == "ada" }
        when { principal.stage == "active" }
        when { resource.text has line && resource.text.line == "L 3" }
        unless { context.retain };
        permit(principal, action == Action::"subscribe", resource) unless { context.wildcard };
    "#);
    set.namespaces = Namespaces::parse([("line", "{zone}/{text:line}/x/#")]).unwrap();
    let authority = Authority::compile(&set).unwrap();
    let allows =
        |device: &DeviceStanding, ask| authority.decide(&Request { device, ask }, id()).allows();
    let pump = DeviceStanding { labels: [("owner", "ada")].into_iter().collect(), ..pump() };
    let publish = |topic| Ask::Publish { topic, retain: false };

    assert!(allows(&pump, publish("hall-1/L 3/x/1")));
    assert!(!allows(&pump, Ask::Publish { topic: "hall-1/L 3/x/1", retain: true }));
    assert!(!allows(&pump, publish("hall-1/L 4/x/1")));
    assert!(!allows(
        &DeviceStanding { labels: Labels::default(), ..pump.clone() },
        publish("hall-1/L 3/x/1")
    ));
    assert!(!allows(
        &DeviceStanding { stage: Stage::Claimed, ..pump.clone() },
        publish("hall-1/L 3/x/1")
    ));
    let elsewhere = DeviceStanding {
        zone: "hall-2".parse::<identity::ZoneId>().unwrap().into(),
        ..pump.clone()
    };
    assert!(!allows(&elsewhere, publish("hall-1/L 3/x/1")));
    assert!(allows(&pump, Ask::Subscribe { filter: "hall-1/L 3/x/1" }));
    assert!(!allows(&pump, Ask::Subscribe { filter: "hall-1/L 3/x/#" }));
}

#[test]
fn a_policy_that_cannot_be_meant_is_refused_with_its_place() {
    let check = |source: &str, expect: Expect| expect.assert_eq(&problems(source));
    check(
        "permit(principal, action, resource)",
        expect!["line 1, column 36: unexpected end of input: expected `;` or identifier"],
    );
    check(
        "\n  permit(principal, action == Action::\"publsh\", resource);",
        expect![[
            r#"line 2, column 31: for policy `policy0`, unrecognized action `Action::"publsh"`; did you mean `Action::"publish"`?"#
        ]],
    );
    check(
        "permit(principal, action == Action::\"publish\", resource)\nwhen { resource.device == principal };",
        expect![
            "line 2, column 8: for policy `policy0`, unable to guarantee safety of access to optional attribute `device` on entity type `Topic`; try testing for the attribute's presence with `e has device && ..`"
        ],
    );
    check(
        "permit(principal, action == Action::\"publish\", resource)\nwhen { resource.nme == \"x\" };",
        expect![
            "line 2, column 8: for policy `policy0`, attribute `nme` on entity type `Topic` not found; did you mean `site`?"
        ],
    );
    check(
        "forbid(principal, action, resource in Namespace::\"telemtry\");",
        expect![
            "line 1, column 1: no namespace is named `telemtry`; declared: `telemetry`, `status`, `command`"
        ],
    );
    check(
        "forbid(principal, action, resource == Topic::\"a/b\");",
        expect![[
            r#"line 1, column 1: a topic can't be named; use `resource in Namespace::"…"` and compare what its template binds"#
        ]],
    );
    check(
        "forbid(principal, action == Action::\"publish\", resource)\nwhen { resource has device && resource.device.zone == principal.zone };",
        expect![
            "line 2, column 31: what is known of another device, zone or kind is not known here; compare it with `==`, or ask the principal itself"
        ],
    );
    check(
        "forbid(principal, action == Action::\"publish\", resource)\nwhen { resource has device && resource.device in Zone::\"x\" };",
        expect![
            "line 2, column 31: what is known of another device, zone or kind is not known here; compare it with `==`, or ask the principal itself"
        ],
    );
    check(
        "@id(\"a\") permit(principal, action, resource);\n\n@id(\"a\") forbid(principal, action, resource);",
        expect!["line 3, column 1: two policies are named `a`; give each its own `@id`"],
    );
    check(
        "@cause(\"odd\") forbid(principal, action, resource);",
        expect!["line 1, column 1: the `@cause` is `odd`; the one there is is `quarantined`"],
    );
    check(
        "@cause(\"quarantined\") permit(principal, action, resource);",
        expect!["line 1, column 1: a `@cause` is for a `forbid`; leave it out here"],
    );
    check(
        "permit(principal == ?principal, action, resource);",
        expect![
            "line 1, column 21: `?principal` and `?resource` are for templates; write a policy"
        ],
    );
    check(
        &"(".repeat(100_000),
        expect!["line 1, column 49: more than 48 brackets are open; write several policies"],
    );
    check(
        &" ".repeat(300_000),
        expect!["line 1, column 1: the policy has 300000 bytes; at most 262144 are taken"],
    );
}

#[test]
fn a_policy_that_forgets_quarantine_is_warned_of() {
    expect!["line 1, column 1: no `forbid` reads `principal.posture.quarantine`; quarantine would cut no device off"].assert_eq(&warnings("permit(principal, action, resource);"));
}

#[test]
fn a_rule_that_can_never_hold_is_warned_of() {
    let never = "permit(principal, action == Action::\"publish\", resource)\nwhen { resource has site && resource.site == principal.zone };";
    expect![[r#"
        line 1, column 1: for policy `policy0`, policy is impossible: the policy expression evaluates to false for all valid requests
        line 1, column 1: no `forbid` reads `principal.posture.quarantine`; quarantine would cut no device off"#]].assert_eq(&warnings(never));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whoever_asks_whatever_a_device_publishes_as_itself_only(
        name in "[a-c]", site in "[xy]", kind_name in "(pump|application)", topic in topic_like(), retain: bool,
    ) {
        let device = DeviceStanding { site: site_of(&site), kind: kind(&kind_name), ..device(&name) };
        let decision = with_starter(|authority| authority.decide(&Request::publish(&device, &topic, retain), id()));
        if decision.allows() {
            let own = format!("{site}/{kind_name}/{name}/");
            let commands = kind_name == "application" && topic.starts_with(&format!("{site}/"));
            prop_assert!(topic.starts_with(&own) || (commands && topic.contains("/command")), "{}", topic);
        }
    }

    #[test]
    fn what_may_be_subscribed_may_be_received(
        name in "[a-c]", kind_name in "(pump|application)", filter in filter_like(), topic in topic_like(),
    ) {
        let device = DeviceStanding { site: site_of("x"), kind: kind(&kind_name), ..device(&name) };
        let (subscribed, received) = with_starter(|authority| (
            authority.decide(&Request::subscribe(&device, &filter), id()),
            authority.decide(&Request::receive(&device, &topic), id()),
        ));
        // A filter that is granted covers nothing but what may be received, or what is of no namespace.
        if subscribed.allows() && covers(&filter, &topic) {
            prop_assert!(received.allows() || received.cause == Cause::NoNamespace, "{} {}", filter, topic);
        }
    }
}

fn check(device: &DeviceStanding, cases: &[(Action, &str, Cause)]) {
    let mut wrong = String::new();
    for (action, topic, expected) in cases {
        let topic = Some(*topic).filter(|_| *action != Connect);
        let request = Request::of(device, *action, topic).unwrap();
        let found = with_starter(|authority| authority.decide(&request, id()));
        if found.cause != *expected {
            writeln!(wrong, "{action} {topic:?}: {} instead of {expected}", found.cause).unwrap();
        }
        assert_eq!(found.effect() == Effect::Allow, *expected == Cause::Granted);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn with_starter<T>(ask: impl FnOnce(&Authority) -> T) -> T {
    thread_local!(static STARTER: Authority = Authority::compile(&starter::policy()).unwrap());
    STARTER.with(ask)
}

fn decide(set: &PolicySet, request: &Request<'_>) -> Decision {
    Authority::compile(set).unwrap().decide(request, id())
}

/// Policies over the starter's namespaces, as version 7.
pub(crate) fn set(source: &str) -> PolicySet {
    PolicySet { version: 7, source: source.to_string(), ..starter::policy() }
}

#[test]
fn a_problem_is_one_line_of_bounded_length() {
    let source = format!(
        "permit(principal, action, resource)\n when {{ \"{}\n\" \"\" }};",
        "é ".repeat(5000)
    );
    let problems = Authority::compile(&set(&source)).unwrap_err();
    for problem in problems {
        assert!(problem.text.chars().count() <= 501, "{problem}");
        assert!(!problem.text.chars().any(char::is_control), "{problem}");
    }
}

fn problems(source: &str) -> String {
    let problems = Authority::compile(&set(source)).unwrap_err();
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

fn warnings(source: &str) -> String {
    let authority = Authority::compile(&set(source)).unwrap();
    authority.warnings().iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

fn pump() -> DeviceStanding {
    device("pump-7")
}

/// A pump in hall 1 of plant A.
pub(crate) fn device(name: &str) -> DeviceStanding {
    DeviceStanding {
        id: name.parse().unwrap(),
        kind: kind("pump"),
        zone: "hall-1".parse::<identity::ZoneId>().unwrap().into(),
        site: site_of("plant-a"),
        stage: Stage::Active,
        labels: Labels::default(),
        posture: Posture::default(),
        certificates: vec![Fingerprint::of_der(name.as_bytes())],
    }
}

pub(crate) fn kind(name: &str) -> policy::Shared<identity::KindId> {
    name.parse::<identity::KindId>().unwrap().into()
}

fn site_of(name: &str) -> policy::Shared<identity::SiteId> {
    name.parse::<identity::SiteId>().unwrap().into()
}

pub(crate) fn id() -> DecisionId {
    DecisionId::from_random([5; 10])
}

fn topic_like() -> impl Strategy<Value = String> {
    let tail = prop_oneof![
        Just("telemetry/t"),
        Just("telemetry"),
        Just("status"),
        Just("command/c"),
        Just("other"),
        Just("telemetry/../c"),
    ];
    ("[xyz+]", "(pump|application|\\+)", "[a-d#]", tail)
        .prop_map(|(s, k, d, tail)| format!("{s}/{k}/{d}/{tail}"))
}

fn filter_like() -> impl Strategy<Value = String> {
    let tail = prop_oneof![
        Just("telemetry/#"),
        Just("telemetry/+"),
        Just("status"),
        Just("command/#"),
        Just("command/c"),
        Just("#"),
        Just("+/#"),
    ];
    ("[xy+]", "(pump|application|\\+)", "[a-c+]", tail)
        .prop_map(|(s, k, d, tail)| format!("{s}/{k}/{d}/{tail}"))
}

/// MQTT 5.0 §4.7, for filters and topics that do not start with `$`.
fn covers(filter: &str, topic: &str) -> bool {
    let mut levels = topic.split('/');
    for level in filter.split('/') {
        match (level, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => (),
            (level, Some(found)) if level == found => (),
            _ => return false,
        }
    }
    levels.next().is_none()
}
