//! How a source is read.

use super::fields::Parsed;
use super::firebase_config::FirebaseConfig;
use super::user::{Format, Preset};
use crate::domain::{PasswordHash, Timestamp};
use crate::error::Invalid;

/// How a source is read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Who wrote it.
    pub preset: Preset,
    /// How.
    pub format: Format,
    /// Takes users whose hash cannot be taken over without a password, instead of refusing them.
    pub without_password: bool,
    /// Needed for Firebase's own hashes.
    pub firebase: Option<FirebaseConfig>,
    /// Now: a ban that has ended is none.
    pub now: Timestamp,
}

impl Reading {
    /// A hash whose form cannot be taken over costs the line or, if so wished, the password only.
    pub(super) fn password(
        &self,
        field: &str,
        read: Result<Option<PasswordHash>, Invalid>,
    ) -> Parsed<Option<PasswordHash>> {
        match read {
            Err(_) if self.without_password => Ok(None),
            other => other.map_err(|reason| reason.in_field(field)),
        }
    }
}
