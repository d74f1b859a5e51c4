//! The whole broker against a model that keeps lists and looks at everything.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    Subscribe(usize, &'static str, RetainHandling),
    Unsubscribe(usize, &'static str),
    Publish(usize, &'static str, bool, bool),
}

#[derive(Default)]
struct Model {
    /// Who is in each group, and whose turn it is.
    groups: BTreeMap<&'static str, (Vec<usize>, usize)>,
    subscriptions: [BTreeSet<&'static str>; N_CLIENTS],
    retained: BTreeMap<&'static str, usize>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn clients_get_what_a_plain_model_says(acts in prop::collection::vec(acts(), 1..60)) {
        let mut rig = Rig::with(Limits { retained_steps: 2, ..Limits::default() });
        let conns: Vec<ConnId> = ["c0", "c1", "c2"]
            .into_iter()
            .map(|name| {
                let mut connect =
                    connect(name, if name == "c1" { Version::V311 } else { Version::V5 });
                connect.properties.topic_alias_maximum = Some(2).filter(|_| name == "c2");
                rig.join_as(connect)
            })
            .collect();
        let mut numbers = BTreeMap::new();
        let mut model = Model::default();
        for (number, act) in acts.into_iter().enumerate() {
            let expected = model.perform(&act, number);
            perform(&mut rig, &conns, &act, number);
            for (client, expected) in expected.into_iter().enumerate() {
                let mut found = Vec::new();
                while let Some(packet) = rig.receive(conns[client]) {
                    if let Packet::Publish(publish) = packet {
                        let alias = publish.properties.as_ref().and_then(|of| of.topic_alias);
                        prop_assert!(alias.is_none_or(|alias| client == 2 && alias.get() <= 2));
                        if let (Some(alias), Some(topic)) = (alias, &publish.topic) {
                            prop_assert_eq!(numbers.insert(alias, topic.clone()), None, "told once");
                        }
                        let known = alias.and_then(|alias| numbers.get(&alias));
                        let topic = publish.topic.as_ref().or(known).expect("a topic").to_string();
                        found.push((topic, String::from_utf8_lossy(&publish.payload).to_string(), publish.retain));
                    }
                }
                found.sort();
                prop_assert_eq!(found, expected, "client {} after {:?}", client, &act);
            }
        }
    }
}

impl Model {
    fn perform(&mut self, act: &Act, number: usize) -> [Vec<(String, String, bool)>; N_CLIENTS] {
        let mut expected: [Vec<(String, String, bool)>; N_CLIENTS] = Default::default();
        let matches = |filter: &str, topic: &str| {
            filter.parse::<Filter>().expect("a filter").matches(&topic.parse().expect("a topic"))
        };
        match *act {
            Act::Subscribe(client, filter, handling) => {
                // MQTT 3.1.1 has no retain handling.
                let handling = if client == 1 { RetainHandling::Always } else { handling };
                let is_new = self.subscriptions[client].insert(filter);
                if filter.starts_with("$share/") {
                    if is_new {
                        self.groups.entry(filter).or_default().0.push(client);
                    }
                    return expected;
                }
                if handling == RetainHandling::Always
                    || (handling == RetainHandling::IfNew && is_new)
                {
                    let found = self.retained.iter().filter(|(topic, _)| matches(filter, topic));
                    expected[client] = found
                        .map(|(topic, number)| (topic.to_string(), number.to_string(), true))
                        .collect();
                }
            }
            Act::Unsubscribe(client, filter) => {
                self.subscriptions[client].remove(filter);
                if let Some((members, next)) = self.groups.get_mut(filter)
                    && let Some(idx) = members.iter().position(|member| *member == client)
                {
                    members.remove(idx);
                    *next -= usize::from(idx < *next);
                    if members.is_empty() {
                        self.groups.remove(filter);
                    }
                }
            }
            Act::Publish(_, topic, retain, is_empty) => {
                let payload = if is_empty { String::new() } else { number.to_string() };
                if retain && is_empty {
                    self.retained.remove(topic);
                } else if retain {
                    self.retained.insert(topic, number);
                }
                for (filter, (members, next)) in &mut self.groups {
                    let (_, inner) = filter
                        .parse::<Filter>()
                        .expect("a filter")
                        .shared()
                        .map(|(name, inner)| (name.to_vec(), inner))
                        .expect("it is shared");
                    if inner.matches(&topic.parse().expect("a topic")) {
                        let idx = *next % members.len();
                        expected[members[idx]].push((topic.to_string(), payload.clone(), false));
                        *next = (idx + 1) % members.len();
                    }
                }
                for (filters, expected) in self.subscriptions.iter().zip(&mut expected) {
                    if filters.iter().any(|filter| matches(filter, topic)) {
                        expected.push((topic.to_string(), payload.clone(), false));
                    }
                }
            }
        }
        for expected in &mut expected {
            expected.sort();
        }
        expected
    }
}

fn perform(rig: &mut Rig, conns: &[ConnId], act: &Act, number: usize) {
    match *act {
        Act::Subscribe(client, filter, retain_handling) => {
            rig.subscribe_with(
                conns[client],
                Subscription { retain_handling, ..subscription(filter, QoS::AtMostOnce) },
                None,
            );
        }
        Act::Unsubscribe(client, filter) => rig.unsubscribe(conns[client], filter),
        Act::Publish(client, topic, retain, is_empty) => {
            let payload = if is_empty { String::new() } else { number.to_string() };
            rig.send(
                conns[client],
                Packet::Publish(Publish { retain, ..message(topic, &payload) }),
            );
        }
    }
    rig.wait(0);
}

fn acts() -> impl Strategy<Value = Act> {
    let client = 0..N_CLIENTS;
    let filters = prop::sample::select(alloc::vec![
        "#",
        "+",
        "a/#",
        "a/+",
        "+/b",
        "a",
        "a/b",
        "$s/#",
        "+/+/c",
        "$share/g/a/#",
        "$share/h/#"
    ]);
    let topics =
        prop::sample::select(alloc::vec!["a", "b", "a/b", "b/b", "a/", "$s/b", "a/b/c", "a/x/c"]);
    let handling = prop::sample::select(alloc::vec![
        RetainHandling::Always,
        RetainHandling::IfNew,
        RetainHandling::Never
    ]);
    let subscribe = (client.clone(), filters.clone(), handling)
        .prop_map(|(client, filter, handling)| Act::Subscribe(client, filter, handling));
    let unsubscribe =
        (client.clone(), filters).prop_map(|(client, filter)| Act::Unsubscribe(client, filter));
    let publish = (client, topics, any::<bool>(), prop::bool::weighted(0.2)).prop_map(
        |(client, topic, retain, is_empty)| Act::Publish(client, topic, retain, is_empty),
    );
    prop_oneof![2 => subscribe, 1 => unsubscribe, 4 => publish]
}

const N_CLIENTS: usize = 3;
