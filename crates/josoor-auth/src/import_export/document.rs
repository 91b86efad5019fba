//! The platform's own table `users`.

use super::fields::{Get, Parsed};
use super::options::Reading;
use super::user::{Incoming, Verified};

/// The columns of the platform's table `users` that are understood, in both of the spellings that exist.
pub const DOCUMENT_COLUMNS: [&str; 12] = [
    "id",
    "email",
    "full_name",
    "password_hash",
    "hashed_password",
    "role",
    "is_active",
    "email_verified",
    "is_verified",
    "created_at",
    "updated_at",
    "last_login",
];

impl Reading {
    pub(super) fn document(&self, get: &Get<'_>) -> Parsed<Incoming> {
        let field = if get.0.contains_key("password_hash") {
            "password_hash"
        } else {
            "hashed_password"
        };
        let email = get.email("email")?;
        let user = Incoming {
            id: get.id("id")?,
            role: self.role(get, "role")?,
            is_active: get.flag("is_active")?,
            verified: match get.flag("email_verified")?.or(get.flag("is_verified")?) {
                Some(true) => Verified::Yes,
                Some(false) => Verified::No,
                None => Verified::Unknown,
            },
            password_hash: self.password(field, get.hash(field)?)?,
            created_at: get.time("created_at")?,
            updated_at: get.time("updated_at")?,
            last_login_at: get.time("last_login")?.or(get.time("last_login_at")?),
            ..Incoming::new(email)
        };
        Ok(get.name("full_name")?.given_to(user))
    }
}
