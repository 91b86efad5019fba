//! Passwords.

use std::fmt;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::error::Invalid;

/// Sorted by bytes, one per line; see `data/README.md`.
static COMMON: &str = include_str!("../../data/common_passwords.txt");

/// More than this is refused before it is normalised.
const MAX_INPUT_BYTES: usize = 4096;

/// A password as somebody typed it, in Unicode's composed form (NFC), so that the same keys on another system give the
/// same bytes. Never trimmed, wiped when dropped, never printed, compared by the hasher alone.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Password {
    /// In the composed form.
    normal: String,
    /// As it was typed, where that differs and is not too long.
    typed: Option<String>,
}

impl Password {
    /// The most bytes that a password may have in UTF-8. Long enough for any sentence, short enough that hashing stays cheap.
    pub const MAX_BYTES: usize = 1024;

    /// Reads a password as it is presented at sign-in: 1 to [`MAX_BYTES`](Self::MAX_BYTES) bytes of anything but U+0000,
    /// which other programs' bcrypt stops at. Asks nothing of its quality; see [`check_policy`](Self::check_policy).
    ///
    /// Refuses with `password_too_short`, `password_too_long` or `forbidden_character`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Err(too_short(1));
        }
        if text.len() > MAX_INPUT_BYTES {
            return Err(too_long());
        }
        if text.contains('\0') {
            return Err(Invalid::new(
                "forbidden_character",
                "A password does not contain the character U+0000.",
            ));
        }
        // All room at once: a text that grows leaves unwiped copies behind.
        let mut password = Self {
            normal: String::with_capacity(Self::MAX_BYTES),
            typed: None,
        };
        if is_nfc_quick(text.chars()) == IsNormalized::Yes {
            if text.len() > Self::MAX_BYTES {
                return Err(too_long());
            }
            password.normal.push_str(text);
        } else {
            for c in text.nfc() {
                if password.normal.len() + c.len_utf8() > Self::MAX_BYTES {
                    return Err(too_long());
                }
                password.normal.push(c);
            }
            if password.normal != text && text.len() <= Self::MAX_BYTES {
                password.typed = Some(text.to_owned());
            }
        }
        Ok(password)
    }

    /// Whether the password may be set: at least `min_length` characters (Unicode scalar values; OWASP ASVS 6.2.1) and
    /// none of the most common ones (6.2.4), compared exactly. There are no rules on the kinds of characters (6.2.5).
    ///
    /// Refuses with `password_too_short` or `password_too_common`.
    pub fn check_policy(&self, min_length: usize) -> Result<(), Invalid> {
        if self.normal.chars().count() < min_length {
            return Err(too_short(min_length));
        }
        if is_common(&self.normal) {
            return Err(Invalid::new(
                "password_too_common",
                "This password is one of the first that are tried; choose another one.",
            ));
        }
        Ok(())
    }

    /// The bytes as they were typed, where the composed form has others: what another program may have hashed.
    pub fn as_typed(&self) -> Option<&[u8]> {
        self.typed.as_ref().map(String::as_bytes)
    }

    /// The password's bytes (UTF-8), for the hasher.
    pub fn as_bytes(&self) -> &[u8] {
        self.normal.as_bytes()
    }
}

/// Binary search in the sorted lines.
fn is_common(password: &str) -> bool {
    let (mut low, mut high) = (0, COMMON.len());
    while low < high {
        let middle = low.midpoint(high);
        // Newlines are ASCII, so both ends fall between characters.
        let bytes = COMMON.as_bytes();
        let start = bytes[..middle]
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let end = bytes[middle..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(bytes.len(), |at| middle + at);
        match bytes[start..end].cmp(password.as_bytes()) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => low = end + 1,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    false
}

fn too_short(min_length: usize) -> Invalid {
    let plural = if min_length == 1 { "" } else { "s" };
    Invalid::new(
        "password_too_short",
        format!("The password must have at least {min_length} character{plural}."),
    )
}

fn too_long() -> Invalid {
    Invalid::new("password_too_long", "A password has at most 1024 bytes.")
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{COMMON, Password, is_common};

    fn code(text: &str) -> &'static str {
        Password::parse(text).unwrap_err().code
    }

    #[test]
    fn passwords_are_composed_and_otherwise_left_alone() {
        assert_eq!(Password::parse(" a\t\n ").unwrap().as_bytes(), b" a\t\n ");
        assert_eq!(Password::parse("e\u{301}").unwrap().as_bytes(), "é".as_bytes());
        assert_eq!(
            Password::parse("\u{627}\u{653}").unwrap().as_bytes(),
            "آ".as_bytes()
        );
        assert_eq!(Password::parse("ﬁ＠").unwrap().as_bytes(), "ﬁ＠".as_bytes());
    }

    #[test]
    fn lengths_are_bounded_after_composition() {
        assert_eq!(code(""), "password_too_short");
        assert!(Password::parse(&"a".repeat(1024)).is_ok());
        assert_eq!(code(&"a".repeat(1025)), "password_too_long");
        assert!(Password::parse(&"e\u{301}".repeat(512)).is_ok());
        assert_eq!(code(&"e\u{301}".repeat(513)), "password_too_long");
        // U+1D160 grows to three times its bytes.
        assert!(Password::parse(&"\u{1D160}".repeat(85)).is_ok());
        assert_eq!(code(&"\u{1D160}".repeat(86)), "password_too_long");
        assert_eq!(code(&"a".repeat(10_000_000)), "password_too_long");
    }

    #[test]
    fn nul_is_refused_and_nothing_is_shown() {
        assert_eq!(code("secret\0secret"), "forbidden_character");
        assert!(!format!("{:?}", Password::parse("hunter2").unwrap()).contains("hunter"));
    }

    #[test]
    fn the_policy_counts_characters_and_knows_common_passwords() {
        let check = |text: &str, min| {
            Password::parse(text)
                .unwrap()
                .check_policy(min)
                .map_err(|e| e.code)
        };
        assert_eq!(check("سبعةأحر", 8), Err("password_too_short"));
        assert_eq!(check("ثمانيةأح", 8), Ok(()));
        assert_eq!(check("password123", 8), Err("password_too_common"));
        assert_eq!(check("Password123", 8), Ok(()));
        assert_eq!(check("password123 ", 8), Ok(()));
        assert_eq!(check("123456", 4), Err("password_too_common"));
        let message = Password::parse("a")
            .unwrap()
            .check_policy(12)
            .unwrap_err()
            .message;
        assert!(message.contains("12"), "{message}");
    }

    #[test]
    fn the_list_is_sorted_large_and_found_whole() {
        let lines: Vec<&str> = COMMON.lines().collect();
        assert!(lines.is_sorted());
        assert!(lines.iter().filter(|line| line.len() >= 8).count() >= 3000);
        assert!(lines.iter().all(|line| is_common(line)));
        for absent in [
            "",
            "\n",
            "Password123",
            "\u{10FFFF}",
            "!!!!!!!!!!",
            "password12\n",
            "zzzzzzzzzzzzz",
        ] {
            assert!(!is_common(absent), "{absent:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered_and_reading_again_changes_nothing(text in any::<String>(), min in 0usize..20) {
            if let Ok(first) = Password::parse(&text) {
                let again = Password::parse(std::str::from_utf8(first.as_bytes()).unwrap()).unwrap();
                prop_assert_eq!(again.as_bytes(), first.as_bytes());
                prop_assert!((1..=Password::MAX_BYTES).contains(&first.as_bytes().len()));
                let _ = first.check_policy(min);
            }
        }

        #[test]
        fn the_search_agrees_with_a_scan(text in "[a-z0-9]{1,6}") {
            prop_assert_eq!(is_common(&text), COMMON.lines().any(|line| line == text));
        }
    }
}
