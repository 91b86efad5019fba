//! A users' export of Auth0.

use serde_json::Value;

use super::fields::{Get, Parsed, SourceName, verified};
use super::hashes::any_hash;
use super::options::Reading;
use super::user::Incoming;
use crate::domain::PasswordHash;
use crate::error::Invalid;

pub(super) const AUTH0_COLUMNS: [&str; 13] = [
    "email",
    "email_verified",
    "name",
    "given_name",
    "family_name",
    "blocked",
    "passwordHash",
    "password_hash",
    "custom_password_hash",
    "created_at",
    "updated_at",
    "last_login",
    "user_id",
];

impl Reading {
    pub(super) fn auth0(&self, get: &Get<'_>) -> Parsed<Incoming> {
        let (field, hash) = if get.is_there("custom_password_hash") {
            ("custom_password_hash", auth0_custom_hash(get)?)
        } else if get.is_there("password_hash") {
            ("password_hash", get.hash("password_hash")?)
        } else {
            ("passwordHash", get.hash("passwordHash")?)
        };
        let name = match get.text("name")? {
            // Auth0 puts the address there when no name was given.
            Some(text) if text.contains('@') => SourceName::default(),
            _ => get.name("name")?,
        };
        let name = name.or(get.name_of(["given_name", "family_name"])?);
        let email = get.email("email")?;
        let user = Incoming {
            is_active: get.flag("blocked")?.map(|blocked| !blocked),
            verified: verified(get.flag("email_verified")?),
            password_hash: self.password(field, hash)?,
            created_at: get.time("created_at")?,
            updated_at: get.time("updated_at")?,
            last_login_at: get.time("last_login")?,
            ..Incoming::new(email)
        };
        Ok(name.given_to(user))
    }
}

/// `custom_password_hash` of Auth0's import format: only hashes that carry their salt and parameters in themselves.
fn auth0_custom_hash(get: &Get<'_>) -> Parsed<Result<Option<PasswordHash>, Invalid>> {
    let Some(custom) = get.object("custom_password_hash")? else {
        return Ok(Ok(None));
    };
    let unsupported = |why: &str| Err(Invalid::new("unsupported_hash", why));
    let Some(hash) = custom.get("hash").and_then(Value::as_object) else {
        return Ok(unsupported("There is no hash in custom_password_hash."));
    };
    if custom.get("salt").is_some_and(|salt| !salt.is_null())
        || hash.get("key").is_some_and(|key| !key.is_null())
    {
        return Ok(unsupported(
            "Only hashes that carry their salt themselves can be taken over: bcrypt, argon2, scrypt and pbkdf2 in PHC form. With \
             --without-password the user is taken without a password.",
        ));
    }
    match hash.get("value").and_then(Value::as_str) {
        Some(text)
            if hash
                .get("encoding")
                .and_then(Value::as_str)
                .is_none_or(|encoding| encoding == "utf8") =>
        {
            Ok(any_hash(text))
        }
        _ => Ok(unsupported("The hash in custom_password_hash is not text.")),
    }
}
