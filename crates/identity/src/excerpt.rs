//! How a stranger's text is quoted in an error: its beginning, on one line.

use alloc::string::String;

/// The most characters that an excerpt has, escapes and all.
const MAX_CHARACTERS: usize = 64;

/// Quotes the beginning of a text; what is no plain character is escaped.
pub fn excerpt(text: &str) -> String {
    let (mut shown, mut n_shown) = (String::new(), 0);
    for character in text.chars() {
        let escaped = character.escape_debug();
        n_shown += escaped.len();
        if n_shown > MAX_CHARACTERS {
            shown.push('…');
            break;
        }
        shown.extend(escaped);
    }
    shown
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
        assert_eq!(excerpt(&"\u{7f}".repeat(64)), "\\u{7f}".repeat(10) + "…");
    }
}
