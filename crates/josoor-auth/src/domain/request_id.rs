//! Names of requests.

use std::fmt;

use crate::crypto;

/// Longest id that is taken over from a client.
const MAX_LENGTH: usize = 128;

/// What joins a response, its problem document and its lines in the log. Not a secret and not unique by force: a
/// client or a gateway may choose it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    /// ASCII; what is not in use is zero.
    text: [u8; MAX_LENGTH],
    length: u8,
}

impl RequestId {
    /// 128 random bits in hexadecimal.
    pub fn random() -> Self {
        let mut text = [0; MAX_LENGTH];
        for (digits, byte) in text.chunks_exact_mut(2).zip(crypto::random_name()) {
            for (digit, half) in digits.iter_mut().zip([byte >> 4, byte & 15]) {
                *digit = b"0123456789abcdef"[usize::from(half)];
            }
        }
        Self { text, length: 32 }
    }

    /// Takes over a client's id of 1 to 128 characters out of `A-Z a-z 0-9 . _ - : = / +`, which covers UUIDs and
    /// the trace ids of the common gateways and is harmless in a log, a header and JSON.
    pub fn parse(given: &str) -> Option<Self> {
        let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:=/+".contains(&byte);
        if given.is_empty() || !given.bytes().all(harmless) {
            return None;
        }
        let mut text = [0; MAX_LENGTH];
        text.get_mut(..given.len())?.copy_from_slice(given.as_bytes());
        let length = u8::try_from(given.len()).ok()?;
        Some(Self { text, length })
    }

    /// The id itself.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::RequestId;

    #[test]
    fn only_harmless_ids_are_taken_over() {
        for good in [
            "a",
            "0191f2d4-7c1e-7a33-9f5e-0242ac120002",
            "Root=1-67891233-abcdef",
            &"x".repeat(128),
        ] {
            assert_eq!(RequestId::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "a b",
            "a\r\nSet-Cookie: x",
            "\u{1b}[31m",
            "é",
            "\"",
            "<b>",
            &"x".repeat(129),
        ] {
            assert_eq!(RequestId::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn fresh_ids_differ_and_are_well_formed() {
        let ids: std::collections::HashSet<String> = (0..1000)
            .map(|_| RequestId::random().as_str().to_owned())
            .collect();
        assert_eq!(ids.len(), 1000);
        for id in ids {
            assert_eq!(id.len(), 32);
            assert!(RequestId::parse(&id).is_some(), "{id}");
        }
    }
}
