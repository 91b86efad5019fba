//! How a source is read.

use std::collections::HashMap;

use super::fields::{Get, Parsed, shown};
use super::firebase_config::FirebaseConfig;
use super::user::{Format, Preset};
use crate::domain::{PasswordHash, Role, Timestamp};
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
    /// The source's roles that have other names here, in lower case.
    pub roles: HashMap<String, Role>,
    /// Needed for Firebase's own hashes.
    pub firebase: Option<FirebaseConfig>,
    /// Now: a ban that has ended is none.
    pub now: Timestamp,
}

impl Reading {
    /// The role that a name of the source stands for.
    pub(super) fn role_named(&self, name: &str) -> Option<Role> {
        let name = name.trim().to_lowercase();
        self.roles.get(&name).copied().or_else(|| name.parse().ok())
    }

    /// By name or value, as an enum of Python's writes it: `ADMIN` or `admin`.
    pub(super) fn role(&self, get: &Get<'_>, field: &str) -> Parsed<Option<Role>> {
        let Some(name) = get.text(field)? else {
            return Ok(None);
        };
        match self.role_named(name) {
            Some(role) => Ok(Some(role)),
            None => Err(Invalid::new(
                "unknown_role",
                format!(
                    "A role is user, analyst or admin, and not {}; --role-map NAME=ROLE gives one to another name.",
                    shown(name)
                ),
            )
            .in_field(field)),
        }
    }

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
