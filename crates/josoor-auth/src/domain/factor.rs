//! Codes of second factors, as people type them.

use std::fmt;

use zeroize::Zeroizing;

use super::mail_code::MailCode;
use super::typed_code::plain;
use crate::crypto;
use crate::error::Invalid;

/// How a second factor is shown.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    utoipa::ToSchema,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum FactorMethod {
    /// A passkey (WebAuthn level 3).
    Passkey,
    /// A code of an authenticator app (RFC 6238).
    Totp,
    /// One of the codes that were given out for when the app is lost.
    RecoveryCode,
    /// A code that was sent to the account's address, after too many failed sign-ins in a row. No factor of the account.
    MailCode,
}

impl FactorMethod {
    /// All of them.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// As requests and answers have it.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    /// Whether it is shown with a code that is typed.
    pub const fn is_code(self) -> bool {
        !matches!(self, Self::Passkey)
    }
}

/// A code of a second factor: well-formed, not verified.
pub enum FactorCode {
    /// Six ASCII digits.
    Totp(Zeroizing<String>),
    /// The letters and digits of a recovery code, in its own spelling.
    Recovery(RecoveryCode),
    /// Eight ASCII digits.
    Mail(MailCode),
}

impl fmt::Debug for FactorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FactorCode({})", self.method().as_str())
    }
}

/// Longer texts are not looked into.
const TEXT_AT_MOST: usize = 128;

/// The digits of a code of an app.
const TOTP_DIGITS: usize = 6;

impl FactorCode {
    /// A regular expression (ECMA-262) of codes as they are given out; others are read besides.
    pub const PATTERN: &str = "^([0-9]{6}|[0-9]{8}|[0-9a-hjkmnp-tv-z]{4}(-[0-9a-hjkmnp-tv-z]{4}){3})$";

    /// Reads a code as it is typed or pasted: in any letter case, with spaces, hyphens and marks of the writing direction, in
    /// Arabic-Indic or Persian digits.
    ///
    /// # Errors
    /// `invalid_code` for what no code can be.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let plain = if text.len() <= TEXT_AT_MOST {
            plain(text)
        } else {
            Zeroizing::new(String::new())
        };
        if plain.len() == TOTP_DIGITS && plain.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self::Totp(plain));
        }
        if let Ok(code) = MailCode::parse(&plain) {
            return Ok(Self::Mail(code));
        }
        RecoveryCode::read(&plain).map(Self::Recovery).ok_or_else(|| {
            Invalid::new(
                "invalid_code",
                "Type the six digits that the app shows, the letters and digits of a recovery code, or the eight digits from a mail.",
            )
        })
    }

    /// What it is a code of.
    pub const fn method(&self) -> FactorMethod {
        match self {
            Self::Totp(_) => FactorMethod::Totp,
            Self::Recovery(_) => FactorMethod::RecoveryCode,
            Self::Mail(_) => FactorMethod::MailCode,
        }
    }
}

/// A recovery code: 80 random bits, as 16 letters and digits (the alphabet of Crockford's base 32, in lower case). Or one of Keycloak's,
/// which came along with an import: 12 letters and digits of the whole alphabet, 62 bits.
pub struct RecoveryCode(Zeroizing<String>);

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(…)")
    }
}

impl RecoveryCode {
    /// Without letters that are taken for others.
    const ALPHABET: &'static [u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    const LENGTH: usize = 16;
    const KEYCLOAK_LENGTH: usize = 12;

    /// A new one.
    pub fn generate() -> Self {
        let bits = Zeroizing::new(crypto::random_bytes::<10>())
            .iter()
            .fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
        let letter = |at: usize| {
            let index = usize::try_from(bits >> (5 * at) & 31).unwrap_or_default();
            char::from(Self::ALPHABET[index])
        };
        Self(Zeroizing::new((0..Self::LENGTH).map(letter).collect()))
    }

    /// Reads a text without separators; letters that are taken for digits count as these.
    fn read(text: &str) -> Option<Self> {
        if text.len() == Self::KEYCLOAK_LENGTH && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Some(Self(Zeroizing::new(text.to_owned())));
        }
        let letter = |char| match char {
            'o' => Some('0'),
            'i' | 'l' => Some('1'),
            _ => u8::try_from(char)
                .is_ok_and(|byte| Self::ALPHABET.contains(&byte))
                .then_some(char),
        };
        let read: Option<String> = text.chars().map(letter).collect();
        let read = Zeroizing::new(read?);
        (read.len() == Self::LENGTH).then_some(Self(read))
    }

    /// What is hashed.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// As its owner writes it down: four groups of four.
    pub fn spelled(&self) -> String {
        let groups: Vec<&str> = (0..Self::LENGTH)
            .step_by(4)
            .filter_map(|at| self.0.get(at..at + 4))
            .collect();
        groups.join("-")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn totp(text: &str) -> Option<String> {
        match FactorCode::parse(text).ok()? {
            FactorCode::Totp(code) => Some(code.to_string()),
            FactorCode::Recovery(_) | FactorCode::Mail(_) => None,
        }
    }

    #[test]
    fn a_code_is_read_as_people_type_it() {
        for text in [
            "123456",
            " 123 456\n",
            "123-456",
            "١٢٣٤٥٦",
            "\u{200f}١٢٣ ٤٥٦",
            "۱۲۳۴۵۶",
        ] {
            assert_eq!(totp(text).as_deref(), Some("123456"), "{text}");
        }
        for text in [
            "",
            "12345",
            "1234567",
            "12345a",
            "①②③④⑤⑥",
            "１２３４５６",
            &"1".repeat(1000),
            &format!("123456{}", " ".repeat(200)),
        ] {
            assert!(FactorCode::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_recovery_code_reads_back_however_it_is_spelled() {
        let mut all = BTreeSet::new();
        for _ in 0..1000 {
            let code = RecoveryCode::generate();
            let spelled = code.spelled();
            assert_eq!(spelled.len(), 19);
            for typed in [
                spelled.clone(),
                spelled.to_uppercase(),
                spelled.replace('-', " "),
                spelled.replace('0', "O").replace('1', "l"),
            ] {
                let Ok(FactorCode::Recovery(read)) = FactorCode::parse(&typed) else {
                    panic!("{typed} is not read");
                };
                assert_eq!(read.as_bytes(), code.as_bytes());
            }
            all.insert(spelled);
        }
        assert_eq!(all.len(), 1000);
        // Each place takes each letter: no bit is lost.
        for at in [0, 3, 5, 8, 18] {
            let letters: BTreeSet<_> = all.iter().map(|code| code.as_bytes()[at]).collect();
            assert_eq!(letters.len(), 32, "place {at}");
        }
        // One of Keycloak's has letters that are no digits.
        let Ok(FactorCode::Recovery(read)) = FactorCode::parse("OILU-0123-4567") else {
            panic!("a code of Keycloak's is not read");
        };
        assert_eq!(read.as_bytes(), b"oilu01234567");
        for text in [
            "aaaa-aaaa-aaa",
            "aaaa-aaaa-aaaa-a",
            "aaaa-aaaa-aaá",
            "aaaa-aaaa-aaaa-aaa",
            "aaaa-aaaa-aaaa-aaaaa",
            "uuuu-aaaa-aaaa-aaaa",
        ] {
            assert!(FactorCode::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_code_is_printed() {
        let code = RecoveryCode::generate();
        let spelled = code.spelled();
        let printed = format!(
            "{code:?} {:?} {:?}",
            FactorCode::parse("123456"),
            FactorCode::parse(&spelled)
        );
        assert!(
            !printed.contains("123456") && !printed.contains(&spelled[..4]),
            "{printed}"
        );
    }
}
