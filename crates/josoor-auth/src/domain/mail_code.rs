//! Codes that are sent by mail, as people type them.

use std::fmt;

use zeroize::Zeroizing;

use super::typed_code::plain;
use crate::error::Invalid;

/// A code from a mail: eight ASCII digits, well-formed, not verified.
pub struct MailCode(Zeroizing<String>);

impl fmt::Debug for MailCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MailCode(…)")
    }
}

impl MailCode {
    /// How many digits it has.
    pub const DIGITS: usize = 8;

    /// Longer texts are not looked into.
    const TEXT_AT_MOST: usize = 128;

    /// Reads a code as it is typed or pasted: with spaces, hyphens and marks of the writing direction, in Arabic-Indic or Persian
    /// digits.
    ///
    /// # Errors
    /// `invalid_mail_code` for what no code can be.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let digits = (text.len() <= Self::TEXT_AT_MOST).then(|| plain(text));
        digits
            .filter(|digits| digits.len() == Self::DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .map(Self)
            .ok_or_else(|| Invalid::new("invalid_mail_code", "Type the eight digits from the mail."))
    }

    /// What is compared.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// A code as mails and pages show it: two groups of four.
    pub fn spelled(digits: &str) -> String {
        match digits.split_at_checked(Self::DIGITS / 2) {
            Some((first, second)) => format!("{first} {second}"),
            None => digits.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_type_it() {
        for text in [
            "12345678",
            " 1234 5678\n",
            "1234-5678",
            "١٢٣٤٥٦٧٨",
            "\u{200f}١٢٣٤ ٥٦٧٨",
            "۱۲۳۴۵۶۷۸",
        ] {
            let code = MailCode::parse(text).expect(text);
            assert_eq!(code.as_bytes(), b"12345678", "{text}");
            assert_eq!(format!("{code:?}"), "MailCode(…)");
        }
        for text in ["", "1234567", "123456789", "1234567a", "１２３４５６７８"] {
            assert!(MailCode::parse(text).is_err(), "{text}");
        }
        assert!(MailCode::parse(&format!("12345678{}", " ".repeat(200))).is_err());
        assert_eq!(MailCode::spelled("12345678"), "1234 5678");
    }
}
