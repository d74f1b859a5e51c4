//! Bounds on a policy's text: what is too long or too deep is refused before it can harm.
//!
//! Cedar's parser and validator call themselves for each level of an expression. So the text is
//! bounded by a look at its tokens, it is read on a stack that is large enough for what is left,
//! and what is deeper than a decision can bear on an ordinary stack is refused afterwards.

use serde_json::Value;

use crate::problem::Problem;
use crate::rule::Rule;

/// The longest policy text, in bytes.
const MAX_SOURCE: usize = 256 * 1024;
/// The most tokens of one policy; no expression in it has more levels than that.
const MAX_TOKENS: usize = 4096;
/// The most brackets that may be open at once.
const MAX_BRACKETS: usize = 48;
/// The deepest condition, in levels of the policy as data: about a hundred operators.
const MAX_DEPTH: usize = 200;
/// Four times what the largest text within the bounds took without optimisation.
const STACK: usize = 256 * 1024 * 1024;

/// Runs what reads a policy on a stack of its own; memory is taken as it is used.
pub(crate) fn with_stack<T>(read: impl FnOnce() -> T) -> T {
    stacker::grow(STACK, read)
}

/// Bounds the text.
pub(crate) fn check_text(source: &str) -> Result<(), Problem> {
    if source.len() > MAX_SOURCE {
        let text = format!("the policy has {} bytes; at most {MAX_SOURCE} are taken", source.len());
        return Err(Problem::at(source, 0, text));
    }
    let (mut n_tokens, mut n_open) = (0_usize, 0_usize);
    for (offset, token) in Tokens::of(source) {
        n_tokens += 1;
        match token {
            ';' => n_tokens = 0,
            '(' | '[' | '{' => n_open += 1,
            ')' | ']' | '}' => n_open = n_open.saturating_sub(1),
            _ => (),
        }
        if n_tokens > MAX_TOKENS {
            let text =
                format!("a policy has more than {MAX_TOKENS} words and signs; write several");
            return Err(Problem::at(source, offset, text));
        }
        if n_open > MAX_BRACKETS {
            let text =
                format!("more than {MAX_BRACKETS} brackets are open; write several policies");
            return Err(Problem::at(source, offset, text));
        }
    }
    Ok(())
}

/// Bounds the depth of a policy's conditions.
pub(crate) fn check_rule(source: &str, rule: &Rule) -> Option<Problem> {
    let too_deep = depth(&rule.json) > MAX_DEPTH;
    too_deep.then(|| {
        Problem::at(
            source,
            rule.offset,
            "a condition has more than a hundred operators in a row; write several policies",
        )
    })
}

fn depth(value: &Value) -> usize {
    let deepest = match value {
        Value::Array(values) => values.iter().map(depth).max(),
        Value::Object(fields) => fields.values().map(depth).max(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    };
    deepest.map_or(0, |deepest| deepest + 1)
}

/// Words and signs of a policy, each by its place and first character; as Cedar cuts them, except
/// that a sign of two characters counts as two.
struct Tokens<'a> {
    source: &'a str,
    offset: usize,
}

impl<'a> Tokens<'a> {
    fn of(source: &'a str) -> Self {
        Self { source, offset: 0 }
    }
}

impl Iterator for Tokens<'_> {
    type Item = (usize, char);

    fn next(&mut self) -> Option<(usize, char)> {
        loop {
            let rest = self.source.get(self.offset..)?;
            let first = rest.chars().next()?;
            let offset = self.offset;
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            self.offset += match first {
                '/' if rest.starts_with("//") => {
                    self.offset += rest.find(['\n', '\r']).unwrap_or(rest.len());
                    continue;
                }
                '"' => quoted(rest),
                _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                _ => first.len_utf8(),
            };
            if !first.is_whitespace() {
                return Some((offset, first));
            }
        }
    }
}

/// The length of the quoted text at the start, with its quotes.
fn quoted(text: &str) -> usize {
    let mut escaped = true; // The first quote does not end it.
    for (offset, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return offset + 1,
            _ => (),
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_cut_as_cedar_cuts_them() {
        let cut = |source: &str| Tokens::of(source).map(|(_, first)| first).collect::<String>();
        assert_eq!(cut("permit(principal, x_1 == \"a;(\\\"\" ) // ((;\n;"), "p(p,x==\");");
        assert_eq!(cut("a//b\rc"), "ac");
        assert_eq!(cut("\"open ; ( "), "\"");
        assert_eq!(cut("\"a\\\\\"b"), "\"b");
        assert_eq!(cut("é"), "é");
    }
}
