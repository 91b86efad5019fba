//! Names.

use std::fmt;

use unicode_normalization::UnicodeNormalization;

use super::characters::{is_bidi_control, is_control, is_invisible};
use crate::error::Invalid;

/// A name that people read, of at most `MAX` characters. Outer white space is gone and the rest is in Unicode's composed form
/// (NFC). Arabic joiners (U+200C, U+200D) are part of spelling and stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name<const MAX: usize>(String);

impl<const MAX: usize> Name<MAX> {
    /// The most characters (Unicode scalar values) that a name may have, as typed and in its composed form.
    pub const MAX_CHARACTERS: usize = MAX;

    /// The most bytes that this is in UTF-8.
    pub const MAX_BYTES: usize = 4 * Self::MAX_CHARACTERS;

    /// Reads a name; one that shows nothing is none.
    ///
    /// Refuses with `name_too_long`, or with `forbidden_character` for controls, line breaks and controls of the writing
    /// direction.
    pub fn parse(text: &str) -> Result<Option<Self>, Invalid> {
        if text.len() > Self::MAX_BYTES || text.chars().count() > Self::MAX_CHARACTERS {
            return Err(too_long(MAX));
        }
        if text.chars().any(|c| is_control(c) || is_bidi_control(c)) {
            return Err(Invalid::new(
                "forbidden_character",
                "A name has no control characters, line breaks or controls of the writing direction.",
            ));
        }
        if text.chars().all(|c| c.is_whitespace() || is_invisible(c)) {
            return Ok(None);
        }
        let name: String = text.trim().nfc().collect();
        if name.chars().count() > Self::MAX_CHARACTERS {
            return Err(too_long(MAX));
        }
        Ok(Some(Self(name)))
    }

    /// Reads a name of any length: one that is too long is cut, with an ellipsis for its last character. Whether it was cut
    /// comes beside it.
    ///
    /// Refuses with `forbidden_character` as [`parse`](Self::parse) does, where it is in the part that stays.
    pub fn parse_shortened(text: &str) -> Result<(Option<Self>, bool), Invalid> {
        match Self::parse(text) {
            Err(reason) if reason.code == TOO_LONG => {
                let start: String = text.trim().nfc().take(Self::MAX_CHARACTERS - 1).collect();
                let start = start.trim_end();
                if Self::parse(start)?.is_none() {
                    return Ok((None, false));
                }
                Self::parse(&format!("{start}…")).map(|name| (name, true))
            }
            other => other.map(|name| (name, false)),
        }
    }

    /// The name. Text of a stranger: escape it wherever it is shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const TOO_LONG: &str = "name_too_long";

fn too_long(at_most: usize) -> Invalid {
    Invalid::new(TOO_LONG, format!("A name has at most {at_most} characters."))
}

impl<const MAX: usize> fmt::Display for Name<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::domain::FullName;

    fn name(text: &str) -> Option<String> {
        FullName::parse(text)
            .unwrap()
            .map(|name| name.as_str().to_owned())
    }

    fn code(text: &str) -> &'static str {
        FullName::parse(text).unwrap_err().code
    }

    #[test]
    fn names_are_trimmed_and_composed() {
        assert_eq!(name("  Ada  Lovelace ").as_deref(), Some("Ada  Lovelace"));
        assert_eq!(name("Rene\u{301}e").as_deref(), Some("Renée"));
        assert_eq!(name("نامه\u{200C}ای").as_deref(), Some("نامه\u{200C}ای"));
        assert_eq!(name("O'Brien <b>").as_deref(), Some("O'Brien <b>"));
        for blank in ["", " ", "\u{3000}", "\u{200B}", "\u{200D} \u{200C}", "\u{3164}"] {
            assert_eq!(name(blank), None, "{blank:?}");
        }
    }

    #[test]
    fn characters_that_change_how_other_text_reads_are_refused() {
        for c in [
            '\0', '\t', '\n', '\r', '\u{1B}', '\u{7F}', '\u{85}', '\u{2028}', '\u{2029}', '\u{61C}',
            '\u{200E}', '\u{200F}', '\u{202A}', '\u{202E}', '\u{2066}', '\u{2069}',
        ] {
            assert_eq!(code(&format!("a{c}b")), "forbidden_character", "{c:?}");
        }
        for text in ["\0", "\t\n", "Ada\n"] {
            assert_eq!(code(text), "forbidden_character", "{text:?}");
        }
    }

    #[test]
    fn length_is_bounded_in_characters_and_bytes() {
        assert!(name(&"é".repeat(200)).is_some());
        assert!(name(&"e\u{301}".repeat(100)).is_some());
        assert_eq!(code(&"e\u{301}".repeat(101)), "name_too_long");
        assert!(name(&"\u{1F600}".repeat(200)).is_some());
        assert_eq!(code(&"a".repeat(201)), "name_too_long");
        assert_eq!(code(&"a".repeat(1_000_000)), "name_too_long");
    }

    #[test]
    fn trials_a5_a_name_that_is_too_long_can_be_cut() {
        let shortened = |text: &str| {
            let (name, was_cut) = FullName::parse_shortened(text).unwrap();
            (name.map_or_else(String::new, |name| name.0), was_cut)
        };
        assert_eq!(shortened("Ada"), ("Ada".to_owned(), false));
        assert_eq!(shortened(" "), (String::new(), false));
        assert_eq!(shortened(&"\u{200B}".repeat(300)), (String::new(), false));
        assert_eq!(shortened(&"a".repeat(200)), ("a".repeat(200), false));
        assert_eq!(
            shortened(&"a".repeat(201)),
            (format!("{}…", "a".repeat(199)), true)
        );
        assert_eq!(
            shortened(&"\u{1F600}".repeat(60_000)),
            (format!("{}…", "\u{1F600}".repeat(199)), true)
        );
        assert_eq!(
            shortened(&format!("{} b c", "a".repeat(198))),
            (format!("{}…", "a".repeat(198)), true)
        );
        assert_eq!(
            FullName::parse_shortened(&format!("a\t{}", "a".repeat(300)))
                .unwrap_err()
                .code,
            "forbidden_character"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_answered_and_reading_again_changes_nothing(text in any::<String>()) {
            if let Ok((Some(first), _)) = FullName::parse_shortened(&text.repeat(4)) {
                prop_assert_eq!(FullName::parse(first.as_str()), Ok(Some(first.clone())));
            }
            if let Ok(Some(first)) = FullName::parse(&text) {
                prop_assert_eq!(FullName::parse(first.as_str()), Ok(Some(first.clone())));
                prop_assert!(first.as_str().chars().count() <= FullName::MAX_CHARACTERS);
            }
        }
    }
}
