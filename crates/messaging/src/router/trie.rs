//! Subscriptions as a trie of levels: a topic meets only the branches that can match it.
//!
//! No step recurses: the depth of a filter is a peer's choice.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::mqtt::{QoS, SubscriptionId};
use crate::topic::{Filter, Topic};

/// What a subscriber wants of the messages that its filter matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// The best quality that was granted.
    pub qos: QoS,
    /// Whether the subscriber's own messages are left out.
    pub no_local: bool,
    /// Whether the retain flag stays as it was published.
    pub retain_as_published: bool,
    /// The identifier that comes with each message.
    pub id: Option<SubscriptionId>,
}

/// The subscriptions of all subscribers, who are numbers here.
#[derive(Debug)]
pub struct Trie {
    nodes: Vec<Node>,
    free: Vec<u32>,
    n_subscriptions: usize,
    max_subscriptions: usize,
    max_nodes: usize,
}

/// What a topic matched, kept to be used again without allocating.
#[derive(Debug, Default)]
pub struct Matches {
    /// Subscriber and interest, ordered by subscriber; one may stand several times.
    pub found: Vec<(u32, Interest)>,
    levels: Vec<(usize, usize)>,
    stack: Vec<(u32, usize)>,
}

/// The trie is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are as many subscriptions as are kept; end some, or raise the limit")]
pub struct Full;

impl Trie {
    /// Makes an empty trie that holds at most so many subscriptions and levels.
    #[must_use]
    pub fn bounded(max_subscriptions: usize, max_nodes: usize) -> Self {
        Self {
            nodes: alloc::vec![Node::below(ROOT, None)],
            free: Vec::new(),
            n_subscriptions: 0,
            max_subscriptions,
            max_nodes,
        }
    }

    /// Returns how many subscriptions there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.n_subscriptions
    }

    /// Tells whether there are no subscriptions.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.n_subscriptions == 0
    }

    /// Returns how many nodes are in use, the root among them.
    #[must_use]
    pub fn n_nodes(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Adds a subscription or replaces the subscriber's interest in the same filter; tells whether it is new.
    pub fn insert(
        &mut self,
        filter: &Filter,
        subscriber: u32,
        interest: Interest,
    ) -> Result<bool, Full> {
        if let Some(held) =
            self.find(filter).and_then(|(at, end)| self.interests_mut(at, end).get_mut(&subscriber))
        {
            *held = interest;
            return Ok(false);
        }
        let n_levels = filter.levels().count();
        if self.n_subscriptions >= self.max_subscriptions
            || self.n_nodes().saturating_add(n_levels) > self.max_nodes
        {
            return Err(Full);
        }
        let mut at = ROOT;
        let mut end = End::Exact;
        for level in filter.levels() {
            if level == b"#" {
                end = End::Multi;
            } else {
                at = self.child_or_new(at, level);
            }
        }
        self.interests_mut(at, end).insert(subscriber, interest);
        self.n_subscriptions += 1;
        Ok(true)
    }

    /// Removes a subscription; tells whether there was one.
    pub fn remove(&mut self, filter: &Filter, subscriber: u32) -> bool {
        let Some((mut at, end)) = self.find(filter) else {
            return false;
        };
        if self.interests_mut(at, end).remove(&subscriber).is_none() {
            return false;
        }
        self.n_subscriptions -= 1;
        while at != ROOT && self.node(at).is_unused() {
            let node = core::mem::replace(self.node_mut(at), Node::below(ROOT, None));
            self.free.push(at);
            at = node.parent;
            match node.label {
                Some(label) => drop(self.node_mut(at).children.remove(&label)),
                None => self.node_mut(at).plus = None,
            }
        }
        true
    }

    /// Collects whose filters match the topic.
    pub fn matches(&self, topic: &Topic, matches: &mut Matches) {
        let Matches { found, levels, stack } = matches;
        found.clear();
        levels.clear();
        stack.clear();
        let bytes = topic.as_bytes();
        let mut start = 0;
        for level in topic.levels() {
            levels.push((start, start + level.len()));
            start += level.len() + 1;
        }
        let mut n_lists = 0;
        stack.push((ROOT, 0));
        while let Some((at, depth)) = stack.pop() {
            let node = self.node(at);
            // MQTT-4.7.2-1: a leading wildcard doesn't match the server's own topics.
            let wildcards = depth > 0 || !topic.is_hidden();
            if wildcards && !node.multi.is_empty() {
                n_lists += 1;
                found.extend(
                    node.multi.iter().map(|(&subscriber, &interest)| (subscriber, interest)),
                );
            }
            let Some(&(start, end)) = levels.get(depth) else {
                if !node.exact.is_empty() {
                    n_lists += 1;
                    found.extend(
                        node.exact.iter().map(|(&subscriber, &interest)| (subscriber, interest)),
                    );
                }
                continue;
            };
            if let Some(plus) = node.plus.filter(|_| wildcards) {
                stack.push((plus, depth + 1));
            }
            let level = bytes.get(start..end).unwrap_or_default();
            if let Some(&child) = node.children.get(level) {
                stack.push((child, depth + 1));
            }
        }
        // Each list is in order by itself.
        if n_lists > 1 {
            found.sort_by_key(|&(subscriber, _)| subscriber);
        }
    }

    /// Returns what a subscriber wants of a filter's messages.
    #[cfg(test)]
    pub(crate) fn interest(&self, filter: &Filter, subscriber: u32) -> Option<Interest> {
        let (at, end) = self.find(filter)?;
        let node = self.node(at);
        let interests = match end {
            End::Exact => &node.exact,
            End::Multi => &node.multi,
        };
        interests.get(&subscriber).copied()
    }

    fn find(&self, filter: &Filter) -> Option<(u32, End)> {
        let mut at = ROOT;
        for level in filter.levels() {
            at = match level {
                b"#" => return Some((at, End::Multi)),
                b"+" => self.node(at).plus?,
                literal => *self.node(at).children.get(literal)?,
            };
        }
        Some((at, End::Exact))
    }

    fn child_or_new(&mut self, parent: u32, level: &[u8]) -> u32 {
        let held = match level {
            b"+" => self.node(parent).plus,
            literal => self.node(parent).children.get(literal).copied(),
        };
        if let Some(child) = held {
            return child;
        }
        let label: Option<Box<[u8]>> = if level == b"+" { None } else { Some(level.into()) };
        let node = Node::below(parent, label.clone());
        let child = match self.free.pop() {
            Some(child) => {
                *self.node_mut(child) = node;
                child
            }
            None => {
                self.nodes.push(node);
                u32::try_from(self.nodes.len() - 1)
                    .expect("`max_nodes` of four thousand million don't fit memory")
            }
        };
        match label {
            Some(label) => drop(self.node_mut(parent).children.insert(label, child)),
            None => self.node_mut(parent).plus = Some(child),
        }
        child
    }

    fn interests_mut(&mut self, at: u32, end: End) -> &mut BTreeMap<u32, Interest> {
        let node = self.node_mut(at);
        match end {
            End::Exact => &mut node.exact,
            End::Multi => &mut node.multi,
        }
    }

    // Invariant: indices come from this trie only, and a node is freed only when nothing points at it.
    fn node(&self, at: u32) -> &Node {
        &self.nodes[at as usize]
    }

    fn node_mut(&mut self, at: u32) -> &mut Node {
        &mut self.nodes[at as usize]
    }
}

#[derive(Debug)]
struct Node {
    parent: u32,
    /// The level's text; `None` for `+` and for the root.
    label: Option<Box<[u8]>>,
    children: BTreeMap<Box<[u8]>, u32>,
    plus: Option<u32>,
    /// Those whose filter ends here.
    exact: BTreeMap<u32, Interest>,
    /// Those whose filter ends with a `#` below here.
    multi: BTreeMap<u32, Interest>,
}

impl Node {
    fn below(parent: u32, label: Option<Box<[u8]>>) -> Self {
        Self {
            parent,
            label,
            children: BTreeMap::new(),
            plus: None,
            exact: BTreeMap::new(),
            multi: BTreeMap::new(),
        }
    }

    fn is_unused(&self) -> bool {
        self.children.is_empty()
            && self.plus.is_none()
            && self.exact.is_empty()
            && self.multi.is_empty()
    }
}

#[derive(Clone, Copy)]
enum End {
    Exact,
    Multi,
}

const ROOT: u32 = 0;
