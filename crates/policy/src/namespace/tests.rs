//! What belongs to a namespace, and what a filter may cover.

use super::*;
use alloc::format;
use alloc::vec;
use expect_test::{Expect, expect};
use identity::DeviceId;
use proptest::prelude::*;

const TELEMETRY: &str = "{site}/{kind}/{device}/telemetry/#";

#[test]
fn a_topic_binds_its_levels() {
    let namespace = namespace(TELEMETRY);
    let binding = namespace.bind("plant-a/pump/pump-7/telemetry/temp/1").unwrap();
    assert_eq!(binding.site(), Some("plant-a"));
    assert_eq!(binding.kind(), Some("pump"));
    assert_eq!(binding.device(), Some("pump-7"));
    assert_eq!(binding.zone(), None);
    assert!(
        namespace.bind("plant-a/pump/pump-7/telemetry").is_some(),
        "`#` stands for no level too"
    );
}

#[test]
fn hostile_topics_belong_to_no_namespace() {
    let namespace = namespace(TELEMETRY);
    for topic in [
        "",
        "/",
        "plant-a/pump/pump-7/telemetryx",
        "plant-a/pump/pump-7",
        "plant-a/pump/pump-7/Telemetry/temp",
        "plant-a/pump/+/telemetry/temp",
        "plant-a/pump/#/telemetry/temp",
        "plant-a/pump/pump-7/telemetry/+",
        "plant-a/pump/pump-7/telemetry/#",
        "plant-a/pump/pump-7/telemetry/",
        "plant-a/pump/pump-7/telemetry//x",
        "plant-a/pump//telemetry/x",
        "/plant-a/pump/pump-7/telemetry/x",
        "plant-a/pump/pump-7/telemetry/../command/x",
        "plant-a/pump/../telemetry/x",
        "plant-a/pump/pump-7/telemetry/a\0b",
        "plant-a/pump/pump-7/telemetry/a\nb",
        "plant-a/pump/PUMP-7/telemetry/x",
        "plant-a/pump/pump\u{2010}7/telemetry/x",
        "plant-a/pump/\u{440}ump-7/telemetry/x",
        "plant-a/pump/pump-7 /telemetry/x",
        "$SYS/pump/pump-7/telemetry/x",
        "$share/g/plant-a/pump/pump-7/telemetry/x",
    ] {
        assert_eq!(namespace.bind(topic), None, "{topic:?}");
    }
}

#[test]
fn a_filter_leaves_what_it_does_not_say_unbound() {
    let namespace = namespace(TELEMETRY);
    let binding = namespace.bind_filter("plant-a/+/+/telemetry/#").unwrap();
    assert_eq!((binding.site(), binding.kind(), binding.device()), (Some("plant-a"), None, None));
    for filter in
        ["+/+/+/telemetry/#", "+/+/+/telemetry", "a/b/c/telemetry/+/x/#", "a/b/c/telemetry/x"]
    {
        assert!(namespace.bind_filter(filter).is_some(), "{filter}");
    }
}

#[test]
fn a_filter_that_is_wider_than_the_shape_belongs_to_no_namespace() {
    let namespaces = starter();
    for filter in
        ["#", "+/#", "plant-a/#", "+/+/+/#", "+/+/+/+", "+/+/+/+/#", "plant-a/pump/pump-7/#"]
    {
        assert!(namespaces.resolve_filter(filter).is_none(), "{filter}");
        assert!(namespaces.is_reached_by(filter), "{filter}");
    }
    for filter in [
        "plant-a/pump/pump-7/other",
        "$SYS/#",
        "$share/g/#",
        "+",
        "plant-a/pump/pump-7/status/x",
        "#/a",
        "a#",
    ] {
        assert!(namespaces.resolve_filter(filter).is_none(), "{filter}");
        assert!(!namespaces.is_reached_by(filter), "{filter}");
    }
}

#[test]
fn what_the_server_tells_of_itself_is_a_namespace_of_its_own() {
    let declared =
        [("telemetry", TELEMETRY), ("any", "{text:first}/{text:second}"), ("sys", "$SYS/broker/#")];
    let namespaces = Namespaces::parse(declared).unwrap();
    let name = |binding: Option<Binding<'_>>| binding.map(|b| b.namespace().name().to_string());
    let sys = Some("sys".to_string());
    assert_eq!(name(namespaces.resolve("$SYS/broker/uptime")), sys);
    assert_eq!(name(namespaces.resolve_filter("$SYS/broker/#")), sys);
    assert_eq!(name(namespaces.resolve_filter("$SYS/broker/+")), sys);
    assert_eq!(namespaces.resolve("$SYS/uptime"), None);
    assert!(namespaces.resolve_filter("$SYS/#").is_none() && namespaces.is_reached_by("$SYS/#"));
    // No leading wildcard and no variable reaches in.
    let alone = Namespaces::parse([("sys", "$SYS/broker/#")]).unwrap();
    for filter in ["#", "+/#", "+/broker/#"] {
        assert!(alone.resolve_filter(filter).is_none() && !alone.is_reached_by(filter), "{filter}");
    }
    assert_eq!(namespace("{text:first}/broker").bind("$SYS/broker"), None);
    assert!(Namespaces::parse([("a", "$SYS/{text:x}"), ("b", "$SYS/broker/#")]).is_err());
}

#[test]
fn text_variables_bind_any_plain_level() {
    let namespace = namespace("{site}/line/{text:line}/{text:cell}");
    let binding = namespace.bind("plant-a/line/Füllung 3/z").unwrap();
    assert_eq!(
        (binding.text("line"), binding.text("cell"), binding.text("x")),
        (Some("Füllung 3"), Some("z"), None)
    );
    assert!(namespace.bind(&format!("plant-a/line/{}/z", "x".repeat(129))).is_none());
    assert!(namespace.bind("plant-a/line/../z").is_none());
}

#[test]
fn templates_that_say_something_else_are_refused_with_advice() {
    let check = |template: &str, expect: Expect| {
        expect.assert_eq(&format!("{}", Namespace::parse("t", template).unwrap_err()));
    };
    check(
        "",
        expect![
            "the template of `t` is empty or too long; use at most 256 bytes, 16 levels and 8 variables"
        ],
    );
    check(
        "#",
        expect![
            "the template of `t` has the level `#`; use a variable instead of `+`, and `#` only as the last level, after another one"
        ],
    );
    check(
        "a/#/b",
        expect![
            "the template of `t` has the level `#`; use a variable instead of `+`, and `#` only as the last level, after another one"
        ],
    );
    check(
        "a/+",
        expect![
            "the template of `t` has the level `+`; use a variable instead of `+`, and `#` only as the last level, after another one"
        ],
    );
    check(
        "{site}/x-{device}",
        expect!["the template of `t` has the level `x-{device}`; a variable fills its whole level"],
    );
    check(
        "{Site}",
        expect![
            "the template of `t` has the level `{Site}`; use `{site}`, `{zone}`, `{kind}`, `{device}` or `{text:NAME}`"
        ],
    );
    check(
        "{text:}",
        expect![
            "the template of `t` has the level `{text:}`; name a text variable with a letter and then `a-z 0-9 _`, at most 32"
        ],
    );
    check(
        "{device}/{device}",
        expect!["the template of `t` has the level `{device}`; each variable can be there once"],
    );
    check(
        "$share/{device}",
        expect![
            "the template of `t` has the level `$share`; of topics that start with `$` there is only `$SYS`"
        ],
    );
    check(
        "a//b",
        expect![
            "the template of `t` has the level ``; a literal is 1 to 128 bytes without control characters, and neither `.` nor `..`"
        ],
    );
    check(
        "a/\u{0}",
        expect![
            "the template of `t` has the level `\\0`; a literal is 1 to 128 bytes without control characters, and neither `.` nor `..`"
        ],
    );
    let error = Namespace::parse("a b", "x").unwrap_err();
    expect![
        "a namespace is named `a b`; use 1 to 64 of `a-z 0-9 - _ .`, a letter or a digit first"
    ]
    .assert_eq(&format!("{error}"));
}

#[test]
fn overlapping_namespaces_are_refused_with_an_example() {
    let check = |a: &str, b: &str, expect: Expect| {
        let parsed = Namespaces::parse([("a", a), ("b", b)]);
        expect.assert_eq(&parsed.map_or_else(|error| format!("{error}"), |_| "apart".into()));
    };
    check(TELEMETRY, "{site}/{kind}/{device}/command/#", expect!["apart"]);
    check(
        TELEMETRY,
        "{site}/{kind}/{device}/telemetry",
        expect!["`a` and `b` both take the topic `x/x/x/telemetry`; make a literal level differ"],
    );
    check(
        TELEMETRY,
        "{site}/{kind}/{zone}/telemetry/x/y",
        expect![
            "`a` and `b` both take the topic `x/x/x/telemetry/x/y`; make a literal level differ"
        ],
    );
    check(
        "{site}/#",
        "plant-a/pump/{device}",
        expect!["`a` and `b` both take the topic `plant-a/pump/x`; make a literal level differ"],
    );
    check("{site}/x", "Plant/x", expect!["apart"]);
    check(
        "{text:a}/x",
        "Plant/x",
        expect!["`a` and `b` both take the topic `Plant/x`; make a literal level differ"],
    );
    let error = Namespaces::parse([("a", "x"), ("a", "y")]).unwrap_err();
    expect!["two namespaces are named `a`; give each its own name"].assert_eq(&format!("{error}"));
}

#[test]
fn a_template_is_filled_for_one_device() {
    let device = crate::standing::tests::device("pump-7");
    assert_eq!(namespace(TELEMETRY).fill(&device), "plant-a/pump/pump-7/telemetry/#");
    assert_eq!(namespace("{zone}/{text:line}/x").fill(&device), "hall-1/+/x");
}

#[test]
fn namespaces_decode_only_if_they_could_be_declared() {
    let bytes = minicbor::to_vec(starter()).unwrap();
    assert_eq!(minicbor::decode::<Namespaces>(&bytes).unwrap(), starter());
    let overlapping = minicbor::to_vec(vec![("a", "{site}/#"), ("b", "{kind}/x")]).unwrap();
    assert!(minicbor::decode::<Namespaces>(&overlapping).is_err());
    let many: Vec<(String, String)> =
        (0..100).map(|n| (format!("n{n}"), format!("n{n}"))).collect();
    assert!(minicbor::decode::<Namespaces>(&minicbor::to_vec(many).unwrap()).is_err());
}

#[test]
fn every_file_of_the_corpus_is_read_without_a_panic() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/namespace");
    let mut n_files = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        read_any(&std::fs::read(file.unwrap().path()).unwrap());
        n_files += 1;
    }
    assert!(n_files >= 5);
}

#[test]
fn a_filter_that_reaches_into_a_second_namespace_belongs_to_none() {
    // `B` is no site's name, so no topic is of both; yet `+` stands for it as for any site.
    let declared = [("first", "{site}/{text:t}/B/#"), ("second", "{device}/{text:t}/{site}/#")];
    let namespaces = Namespaces::parse(declared).unwrap();
    assert!(namespaces.resolve_filter("a/x/+/#").is_none());
    assert!(namespaces.is_reached_by("a/x/+/#"));
    assert_eq!(namespaces.resolve_filter("a/x/B/#").unwrap().namespace().name(), "first");
    assert_eq!(namespaces.resolve_filter("a/x/north/#").unwrap().namespace().name(), "second");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_name_is_what_identity_reads_as_one(text in "[a-z0-9._A+/é-]{0,70}") {
        prop_assert_eq!(is_name(&text), text.parse::<DeviceId>().is_ok());
    }

    #[test]
    fn no_bound_value_holds_a_wildcard_a_slash_or_nul(template in template(), topic in topic()) {
        let namespace = namespace(&template);
        for (variable, value) in namespace.bind(&topic).iter().flat_map(Binding::values) {
            prop_assert!(!value.is_empty() && !value.contains(['+', '#', '/', '\0']));
            prop_assert!(matches!(variable, Variable::Text(_)) || value.parse::<DeviceId>().is_ok());
        }
    }

    #[test]
    fn what_a_bound_filter_matches_binds_the_same_values(template in template(), filter in filter(), topic in topic()) {
        let namespace = namespace(&template);
        let (Some(of_filter), Some(of_topic)) = (namespace.bind_filter(&filter), namespace.bind(&topic)) else {
            return Ok(());
        };
        prop_assume!(matches(&filter, &topic));
        for (variable, value) in of_filter.values() {
            prop_assert!(of_topic.values().any(|(v, bound)| v == variable && bound == value));
        }
    }

    #[test]
    fn what_a_bound_filter_matches_is_of_its_namespace_or_of_none(
        templates in proptest::collection::vec(template(), 1..5), filter in filter(), topic in topic(),
    ) {
        let named = templates.iter().enumerate().map(|(n, template)| (format!("n{n}"), template));
        let Ok(namespaces) = Namespaces::parse(named) else { return Ok(()) };
        prop_assert!(namespaces.iter().filter(|n| n.bind(&topic).is_some()).count() <= 1);
        prop_assert!(namespaces.iter().filter(|n| n.bind_filter(&filter).is_some()).count() <= 1);
        if !matches(&filter, &topic) { return Ok(()) }
        if let Some(of_topic) = namespaces.resolve(&topic) {
            prop_assert!(namespaces.is_reached_by(&filter));
            if let Some(of_filter) = namespaces.resolve_filter(&filter) {
                prop_assert_eq!(of_filter.namespace().name(), of_topic.namespace().name());
            }
        }
    }

    #[test]
    fn two_namespaces_that_take_one_topic_are_found_to_overlap(a in template(), b in template(), topic in topic()) {
        let (a, b) = (namespace(&a), namespace(&b));
        if a.bind(&topic).is_some() && b.bind(&topic).is_some() {
            prop_assert!(overlap::example(&a, &b).is_some());
        }
        if let Some(example) = overlap::example(&a, &b) {
            prop_assert!(a.bind(&example).is_some() && b.bind(&example).is_some(), "{}", example);
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
        read_any(&bytes);
    }
}

/// What the fuzzer runs: the first line is a template, the others are topics and filters.
fn read_any(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    let mut lines = text.lines();
    let Ok(namespace) = Namespace::parse("any", lines.next().unwrap_or_default()) else { return };
    for line in lines {
        let _ = (
            namespace.bind(line),
            namespace.bind_filter(line),
            overlap::is_reached(&namespace, line),
        );
    }
    assert_eq!(
        overlap::example(&namespace, &namespace).and_then(|e| namespace.bind(&e).map(|_| ())),
        Some(())
    );
}

fn namespace(template: &str) -> Namespace {
    Namespace::parse("t", template).unwrap()
}

fn starter() -> Namespaces {
    Namespaces::parse([
        ("telemetry", TELEMETRY),
        ("command", "{site}/{kind}/{device}/command/#"),
        ("status", "{site}/{kind}/{device}/status"),
    ])
    .unwrap()
}

/// MQTT 5.0 §4.7, written anew in its plainest form.
fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let filter: Vec<&str> = filter.split('/').collect();
    let topic: Vec<&str> = topic.split('/').collect();
    match filter.split_last() {
        Some((&"#", before)) => before.len() <= topic.len() && same(before, &topic[..before.len()]),
        _ => filter.len() == topic.len() && same(&filter, &topic),
    }
}

fn same(filter: &[&str], topic: &[&str]) -> bool {
    filter.iter().zip(topic).all(|(of_filter, of_topic)| *of_filter == "+" || of_filter == of_topic)
}

// A small alphabet, so that what is drawn meets.
fn template() -> impl Strategy<Value = String> {
    let level = prop_oneof![
        Just("a"),
        Just("b"),
        Just("B"),
        Just("{site}"),
        Just("{kind}"),
        Just("{device}"),
        Just("{text:t}"),
    ];
    let levels = proptest::collection::vec(level, 1..4).prop_filter("once", |levels| {
        levels
            .iter()
            .filter(|l| l.starts_with('{'))
            .all(|l| levels.iter().filter(|o| o == &l).count() == 1)
    });
    (own(), levels, any::<bool>()).prop_map(|(own, levels, open)| {
        own.to_string() + &levels.join("/") + if open { "/#" } else { "" }
    })
}

/// What stands before the levels: mostly nothing, sometimes what makes a topic the server's own.
fn own() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just(""), 1 => Just("$SYS/")]
}

fn topic() -> impl Strategy<Value = String> {
    let level = prop_oneof![6 => Just("a"), 6 => Just("b"), 3 => Just("B"), 1 => Just(""), 1 => Just(".."), 1 => Just("$a"), 1 => Just("é"), 1 => Just("+")];
    let levels = proptest::collection::vec(level, 1..5);
    (own(), levels).prop_map(|(own, levels)| own.to_string() + &levels.join("/"))
}

fn filter() -> impl Strategy<Value = String> {
    let level =
        prop_oneof![4 => Just("a"), 4 => Just("b"), 2 => Just("B"), 4 => Just("+"), 1 => Just("")];
    let levels = proptest::collection::vec(level, 0..5);
    (own(), levels, any::<bool>()).prop_map(|(own, mut levels, open)| {
        if open || levels.is_empty() {
            levels.push("#");
        }
        own.to_string() + &levels.join("/")
    })
}
