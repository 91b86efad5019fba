//! `user export`, or a file written by hand.

use super::fields::{Get, Parsed, shown};
use super::options::Reading;
use super::user::{COLUMNS, Incoming, Verified};
use crate::error::Invalid;

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
        Ok(Incoming {
            id: get.id("id")?,
            uid: get.uid("uid")?,
            email: get.email("email")?,
            full_name: get.name("full_name")?,
            role: get.role("role")?,
            is_active: get.flag("is_active")?,
            verified,
            locale: get.locale("locale")?,
            password_hash: self.password("password_hash", get.hash("password_hash")?)?,
            password_changed_at: get.time("password_changed_at")?,
            created_at: get.time("created_at")?,
            updated_at: get.time("updated_at")?,
            last_login_at: get.time("last_login_at")?,
        })
    }
}
