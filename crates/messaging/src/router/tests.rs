//! The router against models so plain that they can't be wrong.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::mqtt::QoS;
use crate::topic::{Filter, Topic};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn trie_finds_what_a_scan_over_all_filters_finds(
        acts in prop::collection::vec((any::<bool>(), filters(), 0_u32..6), 0..60),
        topics in prop::collection::vec(topics(), 1..20),
    ) {
        let mut trie = Trie::bounded(1_000, 10_000);
        let mut model = BTreeSet::new();
        for (insert, filter, subscriber) in acts {
            if insert {
                let is_new = trie.insert(&filter, subscriber, interest()).expect("it isn't full");
                prop_assert_eq!(is_new, model.insert((subscriber, filter)));
            } else {
                prop_assert_eq!(trie.remove(&filter, subscriber), model.remove(&(subscriber, filter)));
            }
            prop_assert_eq!(trie.len(), model.len());
        }
        let mut matches = Matches::default();
        for topic in topics {
            trie.matches(&topic, &mut matches);
            let found: Vec<u32> = matches.found.iter().map(|&(subscriber, _)| subscriber).collect();
            let expected: Vec<u32> =
                model.iter().filter(|(_, filter)| filter.matches(&topic)).map(|&(subscriber, _)| subscriber).collect();
            prop_assert_eq!(found, expected, "{}", topic);
        }
        for (subscriber, filter) in &model {
            prop_assert!(trie.remove(filter, *subscriber));
        }
        prop_assert_eq!(trie.n_nodes(), 1, "an empty trie is its root");
    }

    #[test]
    fn retained_search_finds_what_a_scan_over_all_topics_finds(
        acts in prop::collection::vec((prop::bool::weighted(0.8), topics()), 0..60),
        filters in prop::collection::vec(filters(), 1..12),
        n_steps in 1_usize..5,
    ) {
        let mut retained = Retained::bounded(1_000, 100_000);
        let mut model = BTreeMap::new();
        for (set, topic) in acts {
            if set {
                retained.set(&topic, topic.to_string(), 10).expect("it isn't full");
                model.insert(topic.to_string(), topic);
            } else {
                let earlier = model.remove(topic.as_str()).map(|topic| topic.to_string());
                prop_assert_eq!(retained.clear(&topic), earlier);
            }
        }
        let n_bytes: usize = model.keys().map(|topic| topic.len() + 10).sum();
        prop_assert_eq!(retained.n_bytes(), n_bytes);
        for filter in filters {
            let mut found = search(&retained, &filter, n_steps);
            found.sort();
            let expected: Vec<String> =
                model.values().filter(|topic| filter.matches(topic)).map(Topic::to_string).collect();
            prop_assert_eq!(found, expected, "{}", filter);
        }
    }
}

#[test]
fn trie_refuses_more_than_it_may_hold() {
    let mut trie = Trie::bounded(2, 100);
    assert_eq!(trie.insert(&filter("a"), 1, interest()), Ok(true));
    assert_eq!(trie.insert(&filter("b"), 1, interest()), Ok(true));
    assert_eq!(trie.insert(&filter("c"), 1, interest()), Err(Full));
    assert_eq!(
        trie.insert(&filter("a"), 1, interest()),
        Ok(false),
        "what is there can be replaced"
    );
    let mut trie = Trie::bounded(100, 10);
    assert_eq!(trie.insert(&filter("a/b/c/d/e/f/g/h/i/j/k"), 1, interest()), Err(Full));
    assert_eq!(trie.n_nodes(), 1, "a refused filter leaves nothing");
}

#[test]
fn deepest_filters_and_topics_are_matched_without_recursion() {
    let mut trie = Trie::bounded(1_000, 100_000);
    let deep = "/".repeat(crate::topic::MAX_LEVELS - 1);
    let pluses = ["+"; crate::topic::MAX_LEVELS].join("/");
    trie.insert(&filter(&deep), 1, interest()).expect("it isn't full");
    trie.insert(&filter(&pluses), 2, interest()).expect("it isn't full");
    let mut matches = Matches::default();
    trie.matches(&deep.parse().expect("a topic"), &mut matches);
    assert_eq!(matches.found.len(), 2);
}

#[test]
fn retained_store_refuses_more_than_it_may_hold() {
    let mut retained = Retained::bounded(2, 100);
    assert_eq!(retained.set(&topic("a"), 1, 10), Ok(()));
    assert_eq!(retained.set(&topic("b"), 1, 200), Err(Full));
    assert_eq!(retained.set(&topic("b"), 1, 10), Ok(()));
    assert_eq!(retained.set(&topic("c"), 1, 10), Err(Full));
    assert_eq!(retained.set(&topic("a"), 2, 80), Ok(()), "what is there can be replaced");
    assert!(retained.clear(&topic("a")).is_some());
    assert_eq!(retained.n_bytes(), 11);
}

#[test]
fn retained_search_leaps_over_what_cannot_match() {
    let mut retained = Retained::bounded(100_000, 100_000_000);
    for device in 0..100 {
        for name in 0..100 {
            let topic = topic(&alloc::format!("site/{device}/x/{name}"));
            retained.set(&topic, (), 1).expect("it isn't full");
        }
        retained.set(&topic(&alloc::format!("site/{device}/state")), (), 1).expect("it isn't full");
    }
    let mut cursor = Cursor::over(filter("site/+/state"));
    let mut n_steps = 500;
    let mut n_found = 0;
    while let Step::Found(()) = retained.step(&mut cursor, &mut n_steps) {
        n_found += 1;
    }
    assert_eq!(
        n_found, 100,
        "found in a few steps per device though each has a hundred other topics"
    );
}

fn search(retained: &Retained<String>, filter: &Filter, n_steps: usize) -> Vec<String> {
    let mut cursor = Cursor::over(filter.clone());
    let mut found = Vec::new();
    loop {
        let mut budget = n_steps;
        loop {
            match retained.step(&mut cursor, &mut budget) {
                Step::Found(topic) => found.push(topic.clone()),
                Step::Paused => break,
                Step::Ended => return found,
            }
        }
    }
}

fn interest() -> Interest {
    Interest { qos: QoS::AtMostOnce, no_local: false, retain_as_published: false, id: None }
}

fn filter(text: &str) -> Filter {
    text.parse().expect("a filter")
}

fn topic(text: &str) -> Topic {
    text.parse().expect("a topic")
}

/// Few and short names, so that filters and topics meet often; empty, hidden and low-sorting ones among them.
fn topics() -> impl Strategy<Value = Topic> {
    let level = prop::sample::select(alloc::vec!["a", "b", "ab", "", "$s", "\u{1}", "a\u{1}", "-"]);
    prop::collection::vec(level, 1..5)
        .prop_filter_map("empty", |levels| levels.join("/").parse().ok())
}

fn filters() -> impl Strategy<Value = Filter> {
    let level = prop::sample::select(alloc::vec!["a", "b", "ab", "", "$s", "+", "+", "\u{1}"]);
    (prop::collection::vec(level, 0..5), any::<bool>()).prop_filter_map(
        "empty",
        |(mut levels, multi)| {
            if multi {
                levels.push("#");
            }
            levels.join("/").parse().ok()
        },
    )
}
