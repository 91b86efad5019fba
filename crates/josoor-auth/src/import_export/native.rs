//! The native format: what `user export` writes, and what may be written by hand. Columns, writer and reader stand together.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::factors;
use super::fields::{Get, Parsed, shown};
use super::options::Reading;
use super::user::{Incoming, Verified};
use crate::audit::csv_text;
use crate::domain::{PasswordHash, Timestamp};
use crate::error::Invalid;
use crate::store::User;

/// The columns of a native file, in the order in which they are written; the last one only on request.
pub(super) const COLUMNS: [&str; 15] = [
    "id",
    "uid",
    "email",
    "full_name",
    "role",
    "is_active",
    "email_verified",
    "email_verified_at",
    "locale",
    "password_hash",
    "password_changed_at",
    "last_login_at",
    "created_at",
    "updated_at",
    "factors",
];

/// What an export has besides what is no secret.
#[derive(Clone, Copy, Debug)]
pub struct Contents {
    /// The password hashes.
    pub hashes: bool,
    /// The second factors, with the secrets of authenticator apps.
    pub factors: bool,
}

impl Contents {
    /// The columns.
    pub(super) fn columns(self) -> &'static [&'static str] {
        let without_factors = &COLUMNS[..COLUMNS.len() - 1];
        if self.factors { &COLUMNS } else { without_factors }
    }
}

impl std::fmt::Display for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hashes = if self.hashes { "with" } else { "without" };
        let factors = if self.factors {
            " and with second factors"
        } else {
            ""
        };
        write!(f, "{hashes} password hashes{factors}")
    }
}

/// One user in a native file; the fields are [`COLUMNS`].
#[derive(Serialize)]
pub(super) struct Row<'a> {
    id: i64,
    uid: Uuid,
    email: Cow<'a, str>,
    full_name: Option<Cow<'a, str>>,
    role: &'a str,
    is_active: bool,
    email_verified: bool,
    email_verified_at: Option<Timestamp>,
    locale: &'a str,
    password_hash: Option<&'a str>,
    password_changed_at: Option<Timestamp>,
    last_login_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// `None`: the file has no such column.
    #[serde(skip_serializing_if = "Option::is_none")]
    factors: Option<Value>,
}

impl<'a> Row<'a> {
    pub(super) fn new(user: &'a User, contents: Contents, factors: Option<Value>) -> Self {
        Self {
            id: user.id.0,
            uid: user.uid,
            email: Cow::Borrowed(&user.email),
            full_name: user.full_name.as_deref().map(Cow::Borrowed),
            role: user.role.as_str(),
            is_active: user.is_active,
            email_verified: user.email_verified_at.is_some(),
            email_verified_at: user.email_verified_at,
            locale: user.locale.as_str(),
            password_hash: user
                .password_hash
                .as_ref()
                .map(PasswordHash::as_str)
                .filter(|_| contents.hashes),
            // Without its hash the time would be of a password that is not there.
            password_changed_at: user.password_changed_at.filter(|_| contents.hashes),
            last_login_at: user.last_login_at,
            created_at: user.created_at,
            updated_at: user.updated_at,
            factors: contents.factors.then(|| factors.unwrap_or_default()),
        }
    }

    /// As the cells of a table. What people have typed is not computed by a spreadsheet; an import reads it back.
    pub(super) fn in_cells(self) -> Self {
        let factors = self.factors.map(|factors| match factors {
            Value::Null => factors,
            factors => Value::String(factors.to_string()),
        });
        Self {
            email: csv_text(&self.email).into(),
            full_name: self.full_name.map(|name| csv_text(&name).into()),
            factors,
            ..self
        }
    }
}

impl Reading {
    pub(super) fn native(&self, get: &Get<'_>) -> Parsed<Incoming> {
        let unknown: Vec<String> = get
            .0
            .keys()
            .filter(|name| !COLUMNS.contains(&name.as_str()))
            .take(8)
            .map(|name| shown(name))
            .collect();
        if !unknown.is_empty() {
            return Err(Invalid::new(
                "unknown_field",
                format!("Unknown fields: {}.", unknown.join(", ")),
            )
            .in_field(""));
        }
        let verified_at = get.time("email_verified_at")?;
        let verified = match (get.flag("email_verified")?, verified_at) {
            (Some(false), Some(_)) => {
                return Err(Invalid::new(
                    "contradiction",
                    "The address is not verified, but has a time of verification.",
                )
                .in_field("email_verified_at"));
            }
            (_, Some(at)) => Verified::At(at),
            (Some(true), None) => Verified::Yes,
            (Some(false), None) => Verified::No,
            (None, None) => Verified::Unknown,
        };
        let factors = factors::from_field(get)?;
        let email = get.email("email")?;
        let user = Incoming {
            id: get.id("id")?,
            uid: get.uid("uid")?,
            role: self.role(get, "role")?,
            is_active: get.flag("is_active")?,
            verified,
            locale: get.locale("locale")?,
            password_hash: self.password("password_hash", get.hash("password_hash")?)?,
            password_changed_at: get.time("password_changed_at")?,
            created_at: get.time("created_at")?,
            updated_at: get.time("updated_at")?,
            last_login_at: get.time("last_login_at")?,
            ..Incoming::new(email)
        };
        let user = get.name("full_name")?.given_to(user);
        Ok(factors::given_to(user, factors, None, "factors"))
    }
}
