//! Passwords.

use std::fmt;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::error::Invalid;

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
    /// which other programs' bcrypt stops at. Asks nothing of its quality: what may be set is for
    /// `passwords` to say.
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

    /// The bytes as they were typed, where the composed form has others: what another program may have hashed.
    pub fn as_typed(&self) -> Option<&[u8]> {
        self.typed.as_ref().map(String::as_bytes)
    }

    /// The password in the composed form, for comparing it with what may not be set.
    pub fn as_str(&self) -> &str {
        &self.normal
    }

    /// The password's bytes (UTF-8), for the hasher.
    pub fn as_bytes(&self) -> &[u8] {
        self.normal.as_bytes()
    }
}

/// The refusal of a password with fewer characters than this.
pub(crate) fn too_short(min_length: usize) -> Invalid {
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

    use super::Password;

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

    proptest! {
        #[test]
        fn any_text_is_answered_and_reading_again_changes_nothing(text in any::<String>()) {
            if let Ok(first) = Password::parse(&text) {
                let again = Password::parse(std::str::from_utf8(first.as_bytes()).unwrap()).unwrap();
                prop_assert_eq!(again.as_bytes(), first.as_bytes());
                prop_assert!((1..=Password::MAX_BYTES).contains(&first.as_bytes().len()));
            }
        }
    }
}
