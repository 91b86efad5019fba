//! Email addresses.

use std::fmt;
use std::hash::{Hash, Hasher};

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use unicode_normalization::UnicodeNormalization;

use super::characters::{is_bidi_control, is_compatibility, is_control, is_invisible, is_unassigned};
use crate::error::Invalid;

/// More than this is refused before anything else is looked at.
const MAX_INPUT_BYTES: usize = 1000;

/// A mailbox that mail can be sent to, and the key that says which account it belongs to.
///
/// The address is kept as typed, but for outer white space: servers may tell cases of the local part apart
/// (RFC 5321, 2.4), so mail goes where the owner said. The key is what accounts are looked up by and unique in: the local
/// part in Unicode's composed form (NFC) and lower case, and the domain in lower-case ASCII (UTS #46, not transitional, with
/// the rules of STD 3). Tags (`+news`) and dots are part of both.
///
/// Two addresses are equal if their keys are. To make that safe, everything is refused that normalisation would turn into
/// something else than it looks like: compatibility characters such as `＠` or `ﬁ`, the Kelvin sign, invisible characters.
/// Look-alikes that are no case variants, such as the dotless `ı`, stay different accounts.
///
/// Quoted local parts (`"a b"@example.com`), comments and address literals (`a@[192.0.2.1]`) are not accepted;
/// internationalised addresses (RFC 6531) are.
#[derive(Clone)]
pub struct Email {
    address: String,
    key: String,
}

impl Email {
    /// The most bytes that an address may have (RFC 5321, 4.5.3.1.3, less the angle brackets).
    pub const MAX_BYTES: usize = 254;

    /// The most bytes that the part before the `@` may have (RFC 5321, 4.5.3.1.1).
    pub const MAX_LOCAL_BYTES: usize = 64;

    /// A regular expression (ECMA-262) for what is surely accepted: every text that matches it is an address to
    /// [`parse`](Self::parse), and none is longer than [`MAX_BYTES`](Self::MAX_BYTES). No regular expression tells all of
    /// what is accepted: addresses in other scripts are accepted besides, as are rarer ASCII ones.
    pub const PATTERN: &str = concat!(
        "^([A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,64}",
        "|[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,31}\\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,32}",
        "|[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,12}(\\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,12}){2,4})",
        "@((([A-Za-z0-9]{1,63}|[A-Za-z0-9]{1,20}(-[A-Za-z0-9]{1,20}){1,2})\\.){1,2}",
        "|([A-Za-z0-9]{1,10}(-[A-Za-z0-9]{1,9})?\\.){3,6})[A-Za-z]{2,63}$",
    );

    /// Reads an address. Takes time linear in the text.
    ///
    /// Refuses with `email_too_long`, `forbidden_character` or `invalid_email`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() > MAX_INPUT_BYTES {
            return Err(too_long());
        }
        let address = text.trim();
        if address.len() > Self::MAX_BYTES {
            return Err(too_long());
        }
        if address.chars().any(is_forbidden) {
            return Err(forbidden());
        }
        let (local, domain) = address.split_once('@').ok_or_else(invalid)?;
        if domain.contains('@') {
            return Err(invalid());
        }
        let key = format!("{}@{}", local_key(local)?, domain_key(domain)?);
        if key.len() > Self::MAX_BYTES {
            return Err(too_long());
        }
        Ok(Self {
            address: address.to_owned(),
            key,
        })
    }

    /// The address as typed, without outer white space: where mail goes.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The canonical form: what an account is found by. Itself an address, whose key is itself.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The domain in lower-case ASCII (A-labels).
    pub fn domain(&self) -> &str {
        self.key.rsplit_once('@').map_or("", |(_, domain)| domain)
    }

    /// Whether the address is at a domain, given in lower-case ASCII, or at one below it.
    pub fn is_at_or_below(&self, domain: &str) -> bool {
        let rest = self.domain().strip_suffix(domain);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

fn is_forbidden(c: char) -> bool {
    c.is_whitespace()
        || is_control(c)
        || is_bidi_control(c)
        || is_invisible(c)
        || is_compatibility(c)
        || is_unassigned(c)
}

/// A character of a dot-atom (RFC 5322, 3.2.3, widened by RFC 6531, 3.3), the dot aside.
fn is_atom(c: char) -> bool {
    c.is_ascii_alphanumeric() || !c.is_ascii() || "!#$%&'*+-/=?^_`{|}~".contains(c)
}

fn local_key(local: &str) -> Result<String, Invalid> {
    if local.split('.').any(str::is_empty) {
        return Err(invalid());
    }
    if !local.chars().all(|c| is_atom(c) || c == '.') {
        return Err(forbidden());
    }
    // Letter by letter, and with one small sigma, because the lower case of a capital sigma otherwise depends on its place
    // in the word.
    let key: String = local
        .nfc()
        .flat_map(char::to_lowercase)
        .map(|c| if c == 'ς' { 'σ' } else { c })
        .nfc()
        .collect();
    if local.len() > Email::MAX_LOCAL_BYTES || key.len() > Email::MAX_LOCAL_BYTES {
        return Err(too_long());
    }
    Ok(key)
}

fn domain_key(domain: &str) -> Result<String, Invalid> {
    let lower: String = domain.nfc().flat_map(char::to_lowercase).nfc().collect();
    let uts46 = Uts46::new();
    let ascii = uts46
        .to_ascii(
            lower.as_bytes(),
            AsciiDenyList::STD3,
            Hyphens::Check,
            DnsLength::Verify,
        )
        .map_err(|_| invalid())?;
    let (unicode, valid) = uts46.to_unicode(ascii.as_bytes(), AsciiDenyList::STD3, Hyphens::Check);
    valid.map_err(|_| invalid())?;

    // UTS #46 also maps characters away or into others, even into dots. A domain must be what it looks like.
    let unchanged = lower
        .split('.')
        .zip(ascii.split('.').zip(unicode.split('.')))
        .all(|(typed, (ascii, unicode))| typed == ascii || typed == unicode);
    let labels = ascii.split('.').count();
    if !unchanged || lower.split('.').count() != labels || labels < 2 {
        return Err(invalid());
    }
    // A last label of digits alone makes the whole an IPv4 address to many readers (WHATWG URL, 3.5).
    let top = ascii.rsplit('.').next().unwrap_or_default();
    if top.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid());
    }
    Ok(ascii.into_owned())
}

fn too_long() -> Invalid {
    Invalid::new(
        "email_too_long",
        "An email address has at most 254 bytes, at most 64 of them before the @.",
    )
}

fn forbidden() -> Invalid {
    Invalid::new(
        "forbidden_character",
        "The email address contains a character that is not accepted, such as a space, a quote, an invisible or a compatibility character.",
    )
}

fn invalid() -> Invalid {
    Invalid::new("invalid_email", "An email address looks like name@example.com.")
}

impl PartialEq for Email {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Email {}

impl Hash for Email {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Email({:?})", self.address)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use proptest::string::string_regex;

    use unicode_normalization::UnicodeNormalization;

    use super::Email;

    fn key(text: &str) -> String {
        Email::parse(text)
            .unwrap_or_else(|e| panic!("{text:?}: {e:?}"))
            .key
    }

    fn code(text: &str) -> &'static str {
        match Email::parse(text) {
            Ok(email) => panic!("{text:?} was accepted as {}", email.key),
            Err(reason) => reason.code,
        }
    }

    #[test]
    fn the_address_stays_as_typed_and_the_key_does_not() {
        let email = Email::parse(" \tAda.Lovelace+x@Example.COM\n").unwrap();
        assert_eq!(email.address(), "Ada.Lovelace+x@Example.COM");
        assert_eq!(email.key(), "ada.lovelace+x@example.com");
        assert_eq!(email.to_string(), email.address());
        assert_eq!(email, Email::parse("ada.lovelace+X@example.com").unwrap());
        assert_ne!(email, Email::parse("ada.lovelace@example.com").unwrap());
        assert_ne!(email, Email::parse("adalovelace+x@example.com").unwrap());
    }

    #[test]
    fn variants_of_case_and_composition_share_a_key() {
        for (one, other) in [
            ("É@example.com", "e\u{301}@example.com"),
            ("ΟΔΟΣ@example.com", "οδος@example.com"),
            ("οδοσ@example.com", "οδος@example.com"),
            ("Ж@example.com", "ж@example.com"),
            ("آ@example.com", "\u{627}\u{653}@example.com"),
            ("a@BÜCHER.example", "a@xn--bcher-kva.example"),
            ("a@bu\u{308}cher.example", "A@bücher.EXAMPLE"),
            ("a@مثال.إختبار", "a@xn--mgbh0fb.xn--kgbechtv"),
        ] {
            assert_eq!(key(one), key(other), "{one} {other}");
        }
        assert_eq!(key("محمد@مثال.إختبار"), "محمد@xn--mgbh0fb.xn--kgbechtv");
    }

    #[test]
    fn look_alikes_are_other_accounts() {
        for (one, other) in [
            ("mıke@example.com", "mike@example.com"),
            ("MİKE@example.com", "mike@example.com"),
            ("straße@example.com", "strasse@example.com"),
            ("а@example.com", "a@example.com"),
            ("a@faß.example", "a@fass.example"),
        ] {
            assert_ne!(key(one), key(other), "{one} {other}");
        }
    }

    #[test]
    fn characters_that_normalise_into_others_are_refused() {
        for text in [
            "a＠evil.example@victim.example",
            "a﹫example.com",
            "a@example．com",
            "a@exa｡mple.com",
            "\u{212A}@example.com",
            "a@\u{212A}.example",
            "ﬁ@example.com",
            "ſ@example.com",
            "ａ@example.com",
            "a\u{37E}b@example.com",
        ] {
            assert_eq!(code(text), "forbidden_character", "{text}");
        }
        assert_eq!(code("a@example。com"), "invalid_email");
    }

    #[test]
    fn characters_that_are_not_seen_or_delimit_are_refused() {
        for c in [
            '\0',
            '\t',
            '\n',
            '\r',
            '\u{7F}',
            '\u{85}',
            '\u{AD}',
            '\u{34F}',
            '\u{61C}',
            '\u{200B}',
            '\u{200C}',
            '\u{200D}',
            '\u{200E}',
            '\u{200F}',
            '\u{2028}',
            '\u{202A}',
            '\u{202E}',
            '\u{2060}',
            '\u{2066}',
            '\u{2069}',
            '\u{FE0F}',
            '\u{FEFF}',
            '\u{E0041}',
            ' ',
            '\u{A0}',
            '\u{3000}',
        ] {
            assert_eq!(
                code(&format!("a{c}b@example.com")),
                "forbidden_character",
                "{c:?}"
            );
            assert_eq!(code(&format!("a@exa{c}mple.com")), "forbidden_character", "{c:?}");
        }
        for c in ['"', ',', ';', '<', '>', '\\', '(', ')', ':', '[', ']'] {
            assert_eq!(
                code(&format!("a{c}b@example.com")),
                "forbidden_character",
                "{c:?}"
            );
            assert_eq!(code(&format!("a@exa{c}mple.com")), "invalid_email", "{c:?}");
        }
        for text in [
            "a@x.example,b@y.example",
            "a@x.example b@y.example",
            "\"a,b\"@x.example",
        ] {
            assert!(Email::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn malformed_addresses_are_refused() {
        for text in [
            "",
            " ",
            "@",
            "a",
            "a@",
            "@example.com",
            "a@b@example.com",
            "a@example",
            "a@.com",
            "a@example.",
            "a@example.com.",
            "a@example..com",
            ".a@example.com",
            "a.@example.com",
            "a..b@example.com",
            "a@-example.com",
            "a@example-.com",
            "a@ab--cd.com",
            "a@127.0.0.1",
            "a@1.2",
            "a@[127.0.0.1]",
            "a@[::1]",
            "a@exa_mple.com",
            "a@xn--example-.org",
            "a@xn--a.org",
            "a@xn--.org",
            "a@XN--EXAMPLE-.ORG",
            "a@\u{301}.example",
        ] {
            assert_eq!(code(text), "invalid_email", "{text}");
        }
    }

    #[test]
    fn lengths_are_bounded_on_both_sides_of_the_at_sign() {
        let label = "d".repeat(63);
        let domain = format!("{label}.{label}.{}", "d".repeat(61));
        let longest = format!("{}@{domain}", "a".repeat(64));
        assert_eq!(longest.len(), 254);
        assert_eq!(key(&longest), longest);
        assert_eq!(code(&format!("{longest}d")), "email_too_long");
        assert_eq!(code(&format!("{}@example.com", "a".repeat(65))), "email_too_long");
        assert_eq!(code(&format!("{}@example.com", "ب".repeat(33))), "email_too_long");
        assert_eq!(key(&format!("{}@example.com", "ب".repeat(32))).len(), 76);
        assert_eq!(code(&format!("a@{label}d.com")), "invalid_email");
        assert_eq!(code(&"a@".repeat(1_000_000)), "email_too_long");
        // The lower case of U+023A needs a byte more.
        assert_eq!(code(&format!("{}@example.com", "Ⱥ".repeat(32))), "email_too_long");
    }

    #[test]
    fn characters_by_themselves_give_stable_keys_that_only_their_own_cases_share() {
        // The scripts that have cases, and what is compatible with them.
        let scripts = ('\0'..='\u{2FFF}')
            .chain('\u{A640}'..='\u{ABFF}')
            .chain('\u{F900}'..='\u{FFFF}')
            .chain('\u{10400}'..='\u{105FF}');
        let mut capitals = HashMap::new();
        for c in scripts {
            for text in [format!("{c}@example.com"), format!("a@b{c}.example")] {
                let Ok(email) = Email::parse(&text) else {
                    continue;
                };
                assert_eq!(key(email.key()), email.key(), "{text:?}");
                let own = text.to_uppercase().nfd().collect::<String>();
                // The rule's capital of ß is SS, whereas its own capital is ẞ.
                if c != 'ß' && c != 'ẞ' {
                    let other = capitals.entry(email.key).or_insert_with(|| own.clone());
                    assert_eq!(own, *other, "{text:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered_and_keys_are_stable(text in "\\PC{0,40}|.{0,30}@.{0,30}|[\\PC--@]{1,8}@[\\PC--@]{1,6}\\.[a-z]{2}") {
            if let Ok(email) = Email::parse(&text) {
                prop_assert_eq!(email.address(), text.trim());
                let again = Email::parse(email.key()).unwrap();
                prop_assert_eq!(again.key(), email.key());
                prop_assert!(email.key().len() <= Email::MAX_BYTES);
                prop_assert!(!email.key().chars().any(char::is_whitespace));
                prop_assert_eq!(email.key().matches('@').count(), 1);
            }
        }

        #[test]
        fn what_matches_the_pattern_is_accepted(text in string_regex(&Email::PATTERN[1..Email::PATTERN.len() - 1]).unwrap()) {
            let email = Email::parse(&text).unwrap();
            prop_assert_eq!(email.address(), &text);
            prop_assert_eq!(email.key(), text.to_ascii_lowercase());
            prop_assert_eq!(Email::parse(&text.to_ascii_uppercase()).unwrap(), email);
        }

        #[test]
        fn letters_of_other_scripts_share_a_key_across_cases(
            local in "[a-zà-öø-ÿα-ωа-яա-ֆ]{1,12}",
            domain in "[a-zà-öø-ÿа-я]{1,12}",
        ) {
            let lower = format!("{local}@{domain}.example");
            // The capital of ß is written SS by rule, which is another name.
            prop_assume!(!lower.contains('ß') && !lower.contains('և'));
            let upper = lower.to_uppercase();
            prop_assert_eq!(key(&lower), key(&upper));
        }
    }

    #[test]
    fn the_pattern_covers_ordinary_addresses() {
        let pattern = regex::Regex::new(Email::PATTERN).unwrap();
        for text in [
            "ada@example.com",
            "Ada.Lovelace+news@mail.eu-west.example.co.uk",
            "o'neil@example.museum",
            "a@b.cc",
            "a_b-c@x1.example",
            "first.m.last@dep.example.org",
        ] {
            assert!(pattern.is_match(text), "{text}");
            assert_eq!(key(text), text.to_lowercase());
        }
        for text in [
            "",
            "a",
            "a b@example.com",
            "a@example",
            "a@b@example.com",
            "a@example.com,b@example.com",
            "<a@example.com>",
        ] {
            assert!(!pattern.is_match(text), "{text}");
        }
    }
}
