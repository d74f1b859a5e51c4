//! What a text may hold that people read: how a stranger's is quoted, and what a person's may be.

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

/// Whether a text stands on one line as it was typed: it holds nothing that breaks the line, that
/// cannot be seen, or that turns the direction in which the rest is read.
pub fn is_plain(text: &str) -> bool {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    // The joiners U+200C and U+200D stay: words of some languages are spelt with them.
    let unseen = |c: char| matches!(c, '\u{ad}' | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
    let turns = |c: char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}');
    !text.chars().any(|c| breaks(c) || unseen(c) || turns(c))
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

    #[test]
    fn what_people_write_is_plain_and_what_hides_is_not() {
        for plain in [
            "",
            "Pumpe 7, Größe 3",
            "ポンプ",
            "مضخة",
            "می\u{200c}خواهم",
            "e\u{301}",
            "👩\u{200d}🔧",
        ] {
            assert!(is_plain(plain), "{plain:?}");
        }
        let hiding = [
            "\n",
            "\u{85}",
            "\u{2028}",
            "\u{200b}",
            "\u{feff}",
            "\u{202e}",
            "\u{2066}",
            "\u{e0041}",
        ];
        for hiding in hiding {
            let text = alloc::format!("pump{hiding}7");
            assert!(!is_plain(&text), "{text:?}");
        }
    }
}
