//! Retained messages in the order of their topics' levels, searched by a filter in bounded steps.
//!
//! A topic's key is its bytes with `/` replaced by NUL, which no topic holds and which sorts before every other
//! byte: so keys sort level by level, and a search leaps over whole branches that a filter can't match.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Bound;

use super::Full;
use crate::topic::{Filter, Topic};

/// The retained message of each topic.
#[derive(Debug)]
pub struct Retained<M> {
    messages: BTreeMap<Box<[u8]>, Held<M>>,
    n_bytes: usize,
    max_messages: usize,
    max_bytes: usize,
}

#[derive(Debug)]
struct Held<M> {
    message: M,
    n_bytes: usize,
}

/// Where a search for a filter's messages stands.
#[derive(Clone, Debug)]
pub struct Cursor {
    filter: Filter,
    /// The least key that hasn't been looked at.
    next: Vec<u8>,
}

/// What one step of a search brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a, M> {
    /// A message.
    Found(&'a M),
    /// The steps are used up; the search can go on.
    Paused,
    /// There is no more.
    Ended,
}

impl<M> Retained<M> {
    /// Makes an empty store that holds at most so many messages and bytes.
    #[must_use]
    pub const fn bounded(max_messages: usize, max_bytes: usize) -> Self {
        Self { messages: BTreeMap::new(), n_bytes: 0, max_messages, max_bytes }
    }

    /// Returns how many messages there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Tells whether there are no messages.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Returns how many bytes the messages were said to have, with their topics.
    #[must_use]
    pub const fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    /// Keeps a message of `n_bytes` in place of the topic's earlier one.
    pub fn set(&mut self, topic: &Topic, message: M, n_bytes: usize) -> Result<(), Full> {
        let key = key_of(topic.as_bytes());
        let n_bytes = n_bytes.saturating_add(key.len());
        let earlier = self.messages.get(&key).map(|held| held.n_bytes);
        let total = self.n_bytes.saturating_sub(earlier.unwrap_or(0)).saturating_add(n_bytes);
        if total > self.max_bytes || (earlier.is_none() && self.messages.len() >= self.max_messages)
        {
            return Err(Full);
        }
        self.n_bytes = total;
        self.messages.insert(key, Held { message, n_bytes });
        Ok(())
    }

    /// Returns the topic's message.
    #[must_use]
    pub fn message(&self, topic: &Topic) -> Option<&M> {
        self.messages.get(&key_of(topic.as_bytes())).map(|held| &held.message)
    }

    /// Gives every message, in the order of the topics.
    pub fn messages(&self) -> impl Iterator<Item = &M> {
        self.messages.values().map(|held| &held.message)
    }

    /// Takes the topic's message out, if there is one.
    pub fn clear(&mut self, topic: &Topic) -> Option<M> {
        let held = self.messages.remove(&key_of(topic.as_bytes()))?;
        self.n_bytes = self.n_bytes.saturating_sub(held.n_bytes);
        Some(held.message)
    }

    /// Takes steps until a message is found or `n_steps` are used up.
    pub fn step<'a>(&'a self, cursor: &mut Cursor, n_steps: &mut usize) -> Step<'a, M> {
        loop {
            if *n_steps == 0 {
                return Step::Paused;
            }
            *n_steps -= 1;
            let from = Bound::Included(cursor.next.as_slice());
            let Some((key, held)) = self.messages.range::<[u8], _>((from, Bound::Unbounded)).next()
            else {
                return Step::Ended;
            };
            match leap(&cursor.filter, key, &mut cursor.next) {
                Leap::Match => return Step::Found(&held.message),
                Leap::On => {}
                Leap::End => return Step::Ended,
            }
        }
    }
}

impl Cursor {
    /// Begins a search.
    #[must_use]
    pub const fn over(filter: Filter) -> Self {
        Self { filter, next: Vec::new() }
    }

    /// Returns the filter that is searched for.
    #[must_use]
    pub const fn filter(&self) -> &Filter {
        &self.filter
    }
}

enum Leap {
    Match,
    On,
    End,
}

/// Compares a key with the filter and sets `next` to the least later key that could match.
fn leap(filter: &Filter, key: &[u8], next: &mut Vec<u8>) -> Leap {
    next.clear();
    let leading_wildcard = matches!(filter.as_bytes().first(), Some(b'+' | b'#'));
    if leading_wildcard && key.first() == Some(&b'$') {
        next.push(b'$' + 1); // MQTT-4.7.2-1
        return Leap::On;
    }
    let mut key_levels = key.split(|&byte| byte == SEPARATOR);
    // How many bytes of the key have matched, without the separator after them.
    let mut n_matched = 0;
    for (depth, wanted) in filter.levels().enumerate() {
        if wanted == b"#" {
            return matched(key, next);
        }
        let below = if depth == 0 { 0 } else { n_matched + 1 };
        let Some(found) = key_levels.next() else {
            // The key is a parent of what could match.
            next.extend_from_slice(key);
            next.push(SEPARATOR);
            if wanted != b"+" {
                next.extend_from_slice(wanted);
            }
            return Leap::On;
        };
        if wanted != b"+" && wanted > found {
            next.extend_from_slice(key.get(..below).unwrap_or_default());
            next.extend_from_slice(wanted);
            return Leap::On;
        }
        if wanted != b"+" && wanted < found {
            return past(key, n_matched, depth, next);
        }
        n_matched = below + found.len();
    }
    match key_levels.next() {
        None => matched(key, next),
        Some(_) => past(key, n_matched, 1, next),
    }
}

fn matched(key: &[u8], next: &mut Vec<u8>) -> Leap {
    next.extend_from_slice(key);
    next.push(SEPARATOR);
    Leap::Match
}

/// Leaps behind everything below the levels that matched; if none have, there is nothing more.
fn past(key: &[u8], n_matched: usize, depth: usize, next: &mut Vec<u8>) -> Leap {
    if depth == 0 {
        return Leap::End;
    }
    next.extend_from_slice(key.get(..n_matched).unwrap_or_default());
    next.push(SEPARATOR + 1);
    Leap::On
}

fn key_of(topic: &[u8]) -> Box<[u8]> {
    topic.iter().map(|&byte| if byte == b'/' { SEPARATOR } else { byte }).collect()
}

const SEPARATOR: u8 = 0;
