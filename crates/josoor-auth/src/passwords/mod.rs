//! Which passwords may be set.
//!
//! [`Policy::accept`] alone makes a [`NewPassword`], and the hasher hashes nothing else for storing, so that no way to set a
//! password goes around the policy. A sign-in never asks it.

mod breached;

use std::fmt;

use zeroize::Zeroizing;

use crate::config::Config;
use crate::domain::{Password, too_short};
use crate::error::{Error, Invalid, Result};
use breached::BreachedFile;

/// Sorted by bytes, in lower case, one per line; see `data/README.md`.
static COMMON: &str = include_str!("../../data/common_passwords.txt");

/// The words of this product; of a deployment come those of its public host besides.
const OWN_WORDS: [&str; 2] = ["josoor", "auth"];

/// From how many characters a word of the account or of this service counts.
const WORD: usize = 4;

/// The longest pattern whose repetition alone is no password, in characters.
const LONGEST_PATTERN: usize = 4;

/// A longer password may repeat a pattern of several characters.
const PATTERNED: usize = 16;

/// Beside words of the account, a password has to have more than this many characters, or more than [`LETTERS_LEFT`] letters.
const CHARACTERS_LEFT: usize = 6;
/// See [`CHARACTERS_LEFT`].
const LETTERS_LEFT: usize = 2;

/// Whose password is to be set, as far as is known: their words make no password.
#[derive(Clone, Copy, Debug, Default)]
pub struct Person<'a> {
    /// The account's address, or empty.
    pub email: &'a str,
    /// The account's name.
    pub full_name: Option<&'a str>,
}

/// A password that may be set for the account that it was accepted for.
#[derive(Clone)]
pub struct NewPassword(Password);

impl NewPassword {
    /// The password, to hash it.
    pub(crate) fn into_password(self) -> Password {
        self.0
    }

    /// For measurements and tests of the hasher alone.
    #[cfg(feature = "internals")]
    pub const fn not_checked(password: Password) -> Self {
        Self(password)
    }
}

impl fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewPassword(…)")
    }
}

/// The rules for passwords that are set.
#[derive(Debug)]
pub struct Policy {
    /// Characters (Unicode scalar values).
    min_length: usize,
    /// Words of this service, in lower case.
    own_words: Vec<String>,
    breached: Option<BreachedFile>,
}

impl Policy {
    /// The configured rules.
    ///
    /// # Errors
    /// The file of breached passwords is missing, cannot be read, or is not sorted. The error says what to do.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        let mut own_words: Vec<String> = OWN_WORDS.map(str::to_owned).to_vec();
        // Without the top-level domain, which is not theirs.
        let host = config.server.public_url.mail_domain().to_lowercase();
        let host = host.rsplit_once('.').map_or(host.as_str(), |(host, _)| host);
        own_words.extend(words_of(host));
        let breached = config.password.breached_file.as_deref();
        Ok(Self {
            min_length: config.password.min_length,
            own_words,
            breached: breached.map(BreachedFile::open).transpose()?,
        })
    }

    /// What can be said of a password without knowing whose it will be, and without reading a file: the length in
    /// characters (OWASP ASVS 6.2.1), the most common ones in any letter case (6.2.4), one repeated character or short
    /// pattern, and the words of this service (6.2.11). There are no rules on the kinds of characters (6.2.5).
    ///
    /// Refuses with `password_too_short`, `password_too_common` or `password_too_personal`.
    pub fn check_alone(&self, password: &Password) -> Result<(), Invalid> {
        self.check(password, Person::default())
    }

    /// Accepts a password for an account, or says what is wrong with the field that it was in.
    ///
    /// # Errors
    /// `Invalid` with `password_too_short`, `password_too_common`, `password_too_personal` or `password_breached`.
    pub async fn accept(
        &self,
        field: &'static str,
        password: Password,
        person: Person<'_>,
    ) -> Result<NewPassword> {
        self.check(&password, person)
            .map_err(|reason| Error::invalid(field, reason))?;
        if let Some(file) = &self.breached
            && file.has(&password).await
        {
            let reason = Invalid::new(
                "password_breached",
                "This password is known from a data breach; choose one that you use nowhere else.",
            );
            return Err(Error::invalid(field, reason));
        }
        Ok(NewPassword(password))
    }

    fn check(&self, password: &Password, person: Person<'_>) -> Result<(), Invalid> {
        let text = password.as_str();
        if text.chars().count() < self.min_length {
            return Err(too_short(self.min_length));
        }
        let lower = Zeroizing::new(text.to_lowercase());
        if is_common(&lower) || is_repetition(&lower) {
            return Err(Invalid::new(
                "password_too_common",
                "This password is one of the first that are tried; choose another one.",
            ));
        }
        if self.is_personal(&lower, person) {
            return Err(Invalid::new(
                "password_too_personal",
                "This password is little more than your name, your address or the name of this service; choose another one.",
            ));
        }
        Ok(())
    }

    /// Whether a password (in lower case) is made up of words of the person and of this service.
    fn is_personal(&self, password: &str, person: Person<'_>) -> bool {
        let email = person.email.to_lowercase();
        let name = person.full_name.unwrap_or_default().to_lowercase();
        let local = email.split_once('@').map_or(email.as_str(), |(local, _)| local);
        let whole = [email.as_str(), local, name.as_str()];
        if whole.iter().any(|word| !word.is_empty() && *word == password) {
            return true;
        }
        // Without the top-level domain: "info" and the like are not theirs.
        let address = email.rsplit_once('.').map_or(email.as_str(), |(rest, _)| rest);
        let mut words: Vec<String> = words_of(address).chain(words_of(&name)).collect();
        words.extend(self.own_words.iter().cloned());
        // Long ones first: a word may be a part of another.
        words.sort_unstable_by_key(|word| std::cmp::Reverse(word.len()));
        let mut left = Zeroizing::new(password.to_owned());
        for word in words {
            // What stands for the word joins nothing: no password has this character.
            left = Zeroizing::new(left.replace(&word, "\0"));
        }
        if !left.contains('\0') {
            return false;
        }
        let letters = left.chars().filter(|c| c.is_alphabetic()).count();
        let characters = left.chars().filter(|c| *c != '\0').count();
        letters <= LETTERS_LEFT && characters <= CHARACTERS_LEFT
    }
}

/// The runs of letters and digits of a text that are long enough to be a word.
fn words_of(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        // A common word: an address such as password@… must not refuse what is accepted for all others.
        .filter(|word| word.chars().count() >= WORD && *word != "password")
        .map(str::to_owned)
}

/// Whether a text is one character again and again, or a short pattern.
fn is_repetition(text: &str) -> bool {
    let characters: Zeroizing<Vec<char>> = Zeroizing::new(text.chars().collect());
    (1..=LONGEST_PATTERN).any(|period| {
        characters.len() >= 2 * period
            && (period == 1 || characters.len() <= PATTERNED)
            && characters
                .iter()
                .zip(&characters[period..])
                .all(|(one, later)| one == later)
    })
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn policy(settings: &[(&str, &str)]) -> Policy {
        let environment: BTreeMap<_, _> = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Policy::open(&Config::parse(None, &environment).unwrap()).unwrap()
    }

    fn check(policy: &Policy, text: &str, person: Person<'_>) -> Result<(), &'static str> {
        let password = Password::parse(text).unwrap();
        policy.check(&password, person).map_err(|reason| reason.code)
    }

    #[test]
    fn b12_common_passwords_are_refused_in_any_letter_case() {
        let policy = policy(&[]);
        let check = |text| check(&policy, text, Person::default());
        assert_eq!(check("سبعةأحر"), Err("password_too_short"));
        assert_eq!(check("ثمانيةأح"), Ok(()));
        for common in [
            "Qwerty12345",
            "Password1234",
            "PASSWORD1",
            "qwertyuiop",
            "12345678",
            "Iloveyou1",
            "aaaaaaaa",
            "AaAaAaAa",
            "........",
            "abcabcabcab",
            "12341234",
            "ااااااااا",
        ] {
            assert_eq!(check(common), Err("password_too_common"), "{common}");
        }
        for good in [
            "Password123",
            "password1234 ",
            "abcdeabcde",
            "correct horse",
            "abcabcabcx",
            "b2-b2-b2-b2-b2-b2-",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn b12_words_of_the_person_and_of_the_service_make_no_password() {
        let policy = policy(&[("PUBLIC_URL", "https://portal.acme-works.example")]);
        let person = Person {
            email: "Sara.Haddad@Bridges.example",
            full_name: Some("Sara Al-Haddad سارة الحداد"),
        };
        for personal in [
            "sara.haddad@bridges.example",
            "SARA.HADDAD",
            "sarahaddad",
            "Haddad2024!",
            "SaraSara1",
            "haddad.sara.1",
            "bridges-1990",
            "الحدادسارة",
            "josoorjosoor",
            "JosoorAuth",
            "josoor-auth",
            "Portal123!",
            "acmeworks1",
        ] {
            assert_eq!(
                check(&policy, personal, person),
                Err("password_too_personal"),
                "{personal}"
            );
        }
        for good in [
            "Password123",
            "sara likes horses",
            "haddad-83164729",
            "Sara8316-4729-5501",
            "examples",
            "authentic wood",
        ] {
            assert_eq!(check(&policy, good, person), Ok(()), "{good}");
        }
        assert_eq!(check(&policy, "sarahaddad", Person::default()), Ok(()));
        let common_word = Person {
            email: "password.reset@example.com",
            full_name: None,
        };
        assert_eq!(check(&policy, "Password123", common_word), Ok(()));
    }

    #[test]
    fn the_least_length_is_a_setting_and_is_reported() {
        let policy = policy(&[("JOSOOR_AUTH__PASSWORD__MIN_LENGTH", "12")]);
        let refused = policy.check_alone(&Password::parse("a").unwrap()).unwrap_err();
        assert!(refused.message.contains("12"), "{}", refused.message);
        let short = Person {
            email: "qzx@d.example",
            full_name: None,
        };
        let policy = self::policy(&[("JOSOOR_AUTH__PASSWORD__MIN_LENGTH", "3")]);
        assert_eq!(check(&policy, "qzx", short), Err("password_too_personal"));
    }

    #[test]
    fn the_list_is_sorted_large_in_lower_case_and_found_whole() {
        let lines: Vec<&str> = COMMON.lines().collect();
        assert!(lines.is_sorted());
        assert!(lines.iter().filter(|line| line.len() >= 8).count() >= 3000);
        assert!(
            lines
                .iter()
                .all(|line| is_common(line) && line.to_lowercase() == *line)
        );
        for absent in [
            "",
            "\n",
            "password123",
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
        fn any_password_and_person_are_answered(
            text in "\\PC{1,40}", email in "\\PC{0,30}", name in proptest::option::of("\\PC{0,30}"),
        ) {
            let policy = policy(&[]);
            if let Ok(password) = Password::parse(&text) {
                let _ = policy.check(&password, Person { email: &email, full_name: name.as_deref() });
            }
        }

        #[test]
        fn the_search_agrees_with_a_scan(text in "[a-z0-9]{1,6}") {
            prop_assert_eq!(is_common(&text), COMMON.lines().any(|line| line == text));
        }
    }
}
