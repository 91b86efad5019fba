//! A value as it was written, and what is said of a bad one.

use zeroize::Zeroizing;

/// A value as it was written.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Raw {
    /// A string, or anything from the environment.
    Text(Zeroizing<String>),
    /// A TOML integer in decimal digits.
    Number(String),
    /// A TOML float, as it was written.
    Fraction(String),
    /// A TOML boolean.
    Boolean(bool),
    /// A TOML array of strings.
    List(Vec<String>),
    /// Something that no key takes, by its name.
    Other(&'static str),
}

impl Raw {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(Zeroizing::new(text.into()))
    }

    /// Whether it says "not set".
    pub(super) fn is_unset(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            _ => false,
        }
    }
}

/// What is wrong with a value, and what would be right.
pub(super) struct Refused {
    pub(super) message: String,
    pub(super) remedy: String,
}

pub(super) type Parsed<T> = Result<T, Refused>;

pub(super) fn refused<T>(message: impl Into<String>, remedy: impl Into<String>) -> Parsed<T> {
    Err(Refused {
        message: message.into(),
        remedy: remedy.into(),
    })
}

/// Foreign text on one line and of bounded length, for errors and listings.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut out = String::new();
    for (index, char) in text.chars().enumerate() {
        if index == LONGEST {
            out.push('…');
            break;
        }
        if char.is_control()
            || matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            out.extend(char.escape_unicode());
        } else {
            out.push(char);
        }
    }
    out
}
