//! How a stranger's text is quoted in an error: its beginning, on one line.

use alloc::string::String;

/// The most characters that are quoted.
const MAX_CHARACTERS: usize = 64;

/// Quotes the beginning of a text; what is no plain character is escaped.
pub fn excerpt(text: &str) -> String {
    let shown = text.chars().take(MAX_CHARACTERS).flat_map(char::escape_debug);
    let more = text.chars().nth(MAX_CHARACTERS).map(|_| '…');
    shown.chain(more).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_on_one_line() {
        assert_eq!(excerpt("größe"), "größe");
        assert_eq!(excerpt("a\r\n\u{1b}[2J\u{85}"), "a\\r\\n\\u{1b}[2J\\u{85}");
        assert_eq!(excerpt(&"a".repeat(64)), "a".repeat(64));
        assert_eq!(excerpt(&"a".repeat(65)), "a".repeat(64) + "…");
    }
}
