//! Identifiers.

use std::fmt;

use uuid::Uuid;

use crate::crypto;

/// A user's id: a positive integer, because other tables of the platform refer to it. Never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(pub i64);

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A session's id: 122 random bits (UUID version 4, RFC 9562). Knowing one gives nothing; it is not a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(pub Uuid);

impl SessionId {
    /// A fresh id.
    pub fn random() -> Self {
        Self(uuid::Builder::from_random_bytes(crypto::random_bytes()).into_uuid())
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
