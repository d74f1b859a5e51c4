//! The one room that writes for people and programs: data on standard output, remarks on standard
//! error. What a device or another person may have written cannot steer the terminal.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table};
use serde_json::Value;

use crate::configuration;
use crate::exit::Failure;

/// Where data and remarks go.
pub(crate) struct Output {
    json: bool,
    colour: bool,
    width: Option<u16>,
}

/// How a word looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it is.
    Plain,
    /// Good.
    Good,
    /// To be looked at.
    Amber,
    /// Bad.
    Bad,
    /// Less important.
    Faint,
}

impl Output {
    /// Looks at what standard output is.
    pub(crate) fn of(json: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
        let width = size.map(|size| size.ws_col).filter(|width| *width > 0);
        Self { json, colour: terminal && !configuration::no_color(), width }
    }

    /// Says whether data is wanted as JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Writes one value as one line of JSON.
    pub(crate) fn json(&self, value: &Value) -> Result<(), Failure> {
        Ok(writeln!(io::stdout().lock(), "{value}")?)
    }

    /// Writes one line of data.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        Ok(writeln!(io::stdout().lock(), "{}", harmless(text))?)
    }

    /// Writes text of several lines as it is, but for what steers a terminal.
    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        let lines: Vec<_> = text.lines().map(harmless).collect();
        Ok(writeln!(io::stdout().lock(), "{}", lines.join("\n"))?)
    }

    /// Writes rows under headings, fitted to the terminal.
    pub(crate) fn table(
        &self,
        headings: &[&str],
        rows: Vec<Vec<(String, Tone)>>,
    ) -> Result<(), Failure> {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        match self.width {
            Some(width) => {
                table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width)
            }
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        if self.colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        let heading = |text: &&str| Cell::new(text.to_uppercase()).add_attribute(Attribute::Dim);
        table.set_header(headings.iter().map(heading).collect::<Vec<_>>());
        for row in rows {
            table.add_row(row.iter().map(|(text, tone)| cell(text, *tone)).collect::<Vec<_>>());
        }
        let mut out = io::stdout().lock();
        for line in table.lines() {
            writeln!(out, "{}", line.trim_end().strip_prefix(' ').unwrap_or(line.trim_end()))?;
        }
        Ok(())
    }

    /// Writes pairs of name and value, the values under each other.
    pub(crate) fn pairs(&self, pairs: &[(&str, String)]) -> Result<(), Failure> {
        let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let mut out = io::stdout().lock();
        for (name, value) in pairs {
            writeln!(out, "{name:width$}  {}", harmless(value))?;
        }
        Ok(())
    }

    /// Writes a remark for people on standard error, unless data is wanted by a program.
    pub(crate) fn note(&self, text: &str) {
        if !self.json {
            // A closed standard error is no reason to fail.
            let _ = writeln!(io::stderr().lock(), "{}", harmless(text));
        }
    }
}

/// Writes the one line that a failed command ends with.
pub(crate) fn error(line: &str) {
    let _ = writeln!(io::stderr().lock(), "error: {}", harmless(line));
}

/// Lends a text inside JSON, or an empty one.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Says how many there are of a thing.
pub(crate) fn counted(n: u64, thing: &str) -> String {
    if n == 1 { format!("1 {thing}") } else { format!("{n} {thing}s") }
}

/// Reads a number inside JSON, or 0.
pub(crate) fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

/// Lends the items of a list inside JSON.
pub(crate) fn items(value: &Value) -> &[Value] {
    let items = value.get("items").or(Some(value)).and_then(Value::as_array);
    items.map(Vec::as_slice).unwrap_or_default()
}

/// Writes a time for people: to the second, in UTC.
pub(crate) fn moment(value: &Value, pointer: &str) -> String {
    let text = text(value, pointer);
    let seconds = text.get(..19).unwrap_or(text);
    seconds.replace('T', " ")
}

/// Makes a plain cell.
pub(crate) fn plain(text: impl Into<String>) -> (String, Tone) {
    (text.into(), Tone::Plain)
}

fn cell(text: &str, tone: Tone) -> Cell {
    let cell = Cell::new(harmless(text));
    match tone {
        Tone::Plain => cell,
        Tone::Good => cell.fg(Color::Green),
        Tone::Amber => cell.fg(Color::Yellow),
        Tone::Bad => cell.fg(Color::Red),
        Tone::Faint => cell.add_attribute(Attribute::Dim),
    }
}

/// Shows control characters instead of obeying them.
pub(crate) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\t' => shown.push(' '),
            letter if letter.is_control() => shown.extend(letter.escape_unicode()),
            // Letters that turn the direction of writing can make one text look like another.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                shown.extend(letter.escape_unicode())
            }
            letter => shown.push(letter),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_device_wrote_cannot_steer_the_terminal() {
        assert_eq!(harmless("pump\u{1b}[2J\u{7}"), "pump\\u{1b}[2J\\u{7}");
        assert_eq!(harmless("a\nb\u{9b}1m\u{202e}c"), "a\\u{a}b\\u{9b}1m\\u{202e}c");
        assert_eq!(harmless("Pumpe № 7 – läuft"), "Pumpe № 7 – läuft");
    }

    #[test]
    fn times_are_shown_to_the_second() {
        let value = serde_json::json!({"at": "2026-11-21T09:30:00.123Z", "none": null});
        assert_eq!(moment(&value, "/at"), "2026-11-21 09:30:00");
        assert_eq!(moment(&value, "/none"), "");
    }

    #[test]
    fn lists_are_found_with_and_without_a_page_around_them() {
        let page = serde_json::json!({"items": [1, 2]});
        assert_eq!(items(&page).len(), 2);
        assert_eq!(items(&serde_json::json!([1])).len(), 1);
        assert!(items(&Value::Null).is_empty());
    }
}
