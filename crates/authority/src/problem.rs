//! What is wrong with a policy, and where.

use std::fmt;

use miette::Diagnostic;

/// One thing to mend in a policy's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1.
    pub line: u32,
    /// The column in that line, from 1, in characters.
    pub column: u32,
    /// What was found, what was expected, and what to do.
    pub text: String,
}

impl Problem {
    /// Places a problem at a byte of the text.
    pub(crate) fn at(source: &str, offset: usize, text: impl Into<String>) -> Self {
        let before = source.get(..offset).unwrap_or(source);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).saturating_add(1);
        Self {
            line: count(before.matches('\n').count()),
            column: count(before[line_start..].chars().count()),
            text: one_line(&text.into()),
        }
    }

    /// Takes over what Cedar found.
    pub(crate) fn of(source: &str, diagnostic: &dyn Diagnostic) -> Self {
        let label = diagnostic.labels().and_then(|mut labels| labels.next());
        let offset = label.as_ref().map_or(0, |label| label.offset());
        let mut text = diagnostic.to_string();
        if let Some(label) = label.as_ref().and_then(|label| label.label()) {
            text = format!("{text}: {label}");
        }
        if let Some(help) = diagnostic.help() {
            text = format!("{text}; {help}");
        }
        Self::at(source, offset, text)
    }
}

/// The most characters of a problem's text: it may quote a literal that has no end.
pub(crate) const MAX_TEXT: usize = 500;

/// Puts a text on one line, in which spaces and control characters in a row are one space.
fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let line = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_TEXT) {
        None => line,
        Some((end, _)) => line.get(..end).unwrap_or(&line).to_owned() + "…",
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.text)
    }
}
