//! Whether two namespaces take the same topic, and whether a filter reaches into one.

use alloc::string::String;
use alloc::vec::Vec;

use super::{Level, MAX_TEXT, Namespace, hash_is_last, is_name, is_plain};

/// Finds a topic that belongs to both, if there is one.
pub(super) fn example(a: &Namespace, b: &Namespace) -> Option<String> {
    if a.is_servers_own() != b.is_servers_own() {
        return None;
    }
    let mut levels: Vec<&str> = Vec::new();
    let (mut of_a, mut of_b) = (a.levels.iter(), b.levels.iter());
    loop {
        levels.push(match (of_a.next(), of_b.next()) {
            (None, None) => break,
            (Some(of_a), Some(of_b)) => common(of_a, of_b)?,
            // What is left of the longer one lies in the tail of the shorter one.
            (Some(level), None) if b.open => sample(level),
            (None, Some(level)) if a.open => sample(level),
            _ => return None,
        });
    }
    Some(levels.join("/"))
}

/// Tells whether a filter matches a topic of the namespace.
pub(super) fn is_reached(namespace: &Namespace, filter: &str) -> bool {
    // A leading wildcard does not match the server's own topics.
    if filter.starts_with('$') != namespace.is_servers_own() || !hash_is_last(filter) {
        return false;
    }
    let mut found = filter.split('/');
    for level in &namespace.levels {
        let fits = match (found.next(), level) {
            (Some("#"), _) => return true,
            (Some("+"), _) => true,
            (Some(text), Level::Literal(literal)) => text == &**literal,
            (Some(text), Level::Name) => is_name(text),
            (Some(text), Level::Text) => text.len() <= MAX_TEXT && is_plain(text),
            (None, _) => false,
        };
        if !fits {
            return false;
        }
    }
    match found.next() {
        None | Some("#") => true,
        Some(first) => {
            namespace.open
                && core::iter::once(first)
                    .chain(found)
                    .all(|l| matches!(l, "+" | "#") || is_plain(l))
        }
    }
}

fn common<'a>(a: &'a Level, b: &'a Level) -> Option<&'a str> {
    match (a, b) {
        (Level::Literal(a), Level::Literal(b)) => (a == b).then_some(a),
        (Level::Literal(literal), Level::Name) | (Level::Name, Level::Literal(literal)) => {
            is_name(literal).then_some(literal)
        }
        (Level::Literal(literal), Level::Text) | (Level::Text, Level::Literal(literal)) => {
            Some(literal)
        }
        (Level::Name | Level::Text, Level::Name | Level::Text) => Some("x"),
    }
}

fn sample(level: &Level) -> &str {
    match level {
        Level::Literal(literal) => literal,
        Level::Name | Level::Text => "x",
    }
}
