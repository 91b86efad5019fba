//! The languages that the service speaks.

use std::fmt;
use std::str::FromStr;

use crate::error::Invalid;

/// The language of a user's pages and mails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Locale {
    /// English, `en`.
    #[default]
    En,
    /// Arabic, `ar`.
    Ar,
}

impl Locale {
    /// The language tag (BCP 47).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Ar => "ar",
        }
    }

    /// The language that an `Accept-Language` header (RFC 9110, 12.5.4) prefers among ours, if it names one.
    pub fn from_accept_language(header: &str) -> Option<Self> {
        let mut best: Option<(f32, Self)> = None;
        for range in header.split(',').take(32) {
            let mut parts = range.split(';');
            let tag = parts.next().unwrap_or_default().trim();
            let primary = tag.split('-').next().unwrap_or_default().to_ascii_lowercase();
            let Ok(locale) = primary.parse::<Self>() else {
                continue;
            };
            let quality = parts
                .find_map(|part| part.trim().strip_prefix("q="))
                .map_or(1.0, |q| q.trim().parse::<f32>().unwrap_or(0.0));
            if quality > 0.0 && best.is_none_or(|(q, _)| quality > q) {
                best = Some((quality, locale));
            }
        }
        best.map(|(_, locale)| locale)
    }
}

impl fmt::Display for Locale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Locale {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "en" => Ok(Self::En),
            "ar" => Ok(Self::Ar),
            _ => Err(Invalid::new("unknown_locale", "A locale is en or ar.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Locale;

    #[test]
    fn accept_language_goes_by_quality_then_order() {
        assert_eq!(
            Locale::from_accept_language("ar-SA,ar;q=0.9,en;q=0.8"),
            Some(Locale::Ar)
        );
        assert_eq!(
            Locale::from_accept_language("fr, en;q=0.3, ar;q=0.7"),
            Some(Locale::Ar)
        );
        assert_eq!(Locale::from_accept_language("en, ar"), Some(Locale::En));
        assert_eq!(Locale::from_accept_language("ar;q=0, fr"), None);
        assert_eq!(Locale::from_accept_language(";;q=,,\u{0}"), None);
    }
}
