//! A realm export of Keycloak.

use serde_json::Value;

use super::fields::{Fields, Get, Parsed, number, verified};
use super::hashes::{any_hash, phc, unsupported};
use super::keycloak_factors::with_factors;
use super::options::Reading;
use super::user::Incoming;
use crate::domain::{Locale, PasswordHash};
use crate::error::Invalid;

impl Reading {
    pub(super) fn keycloak(&self, get: &Get<'_>) -> Parsed<Incoming> {
        let email = match (get.text("email")?, get.text("username")?) {
            (None, Some(name)) if name.contains('@') => get.email("username")?,
            _ => get.email("email")?,
        };
        let name = get.name_of(["firstName", "lastName"])?;
        // A realm has roles of many kinds; those with our names are meant.
        let roles = get.array("realmRoles")?;
        let role = roles
            .iter()
            .filter_map(Value::as_str)
            .filter_map(|name| self.role_named(name))
            .max();
        let credentials = get.array("credentials")?;
        let password_hash = self.password("credentials", keycloak_hash(credentials))?;
        let user = Incoming {
            role,
            is_active: get.flag("enabled")?,
            verified: verified(get.flag("emailVerified")?),
            locale: attribute_locale(get),
            password_hash,
            created_at: get.millis("createdTimestamp")?,
            ..Incoming::new(email)
        };
        Ok(with_factors(name.given_to(user), credentials))
    }
}

/// `attributes.locale`, which Keycloak keeps as a list.
fn attribute_locale(get: &Get<'_>) -> Option<Locale> {
    let attributes = get.object("attributes").ok()??;
    let tag = match attributes.get("locale")? {
        Value::Array(values) => values.first()?.as_str()?,
        Value::String(text) => text,
        _ => return None,
    };
    tag.split(['-', '_']).next()?.to_ascii_lowercase().parse().ok()
}

fn word(value: Option<&Value>) -> Option<&str> {
    match value? {
        Value::String(text) => Some(text),
        Value::Array(values) => word(values.first()),
        _ => None,
    }
}

/// The hash of the first password among a Keycloak user's credentials.
fn keycloak_hash(credentials: &[Value]) -> Result<Option<PasswordHash>, Invalid> {
    let unreadable = || {
        Invalid::new(
            "unsupported_hash",
            "The stored password is not in a form that Keycloak writes.",
        )
    };
    let password = credentials
        .iter()
        .filter_map(Value::as_object)
        .find(|credential| {
            credential
                .get("type")
                .and_then(Value::as_str)
                .is_none_or(|kind| kind == "password")
        });
    let Some(credential) = password else {
        return Ok(None);
    };
    let parts = |name| -> Result<Fields, Invalid> {
        let text = credential
            .get(name)
            .and_then(Value::as_str)
            .ok_or_else(unreadable)?;
        serde_json::from_str(text).map_err(|_| unreadable())
    };
    let (data, secret) = (parts("credentialData")?, parts("secretData")?);
    let text = |name: &str| secret.get(name).and_then(Value::as_str).ok_or_else(unreadable);
    let (value, salt) = (text("value")?, text("salt")?);
    let algorithm = data
        .get("algorithm")
        .and_then(Value::as_str)
        .ok_or_else(unreadable)?;
    let iterations = number(data.get("hashIterations")).ok_or_else(unreadable)?;
    if algorithm == "argon2" {
        let extra = data
            .get("additionalParameters")
            .and_then(Value::as_object)
            .ok_or_else(unreadable)?;
        let parameters = Argon2 {
            kind: word(extra.get("type")).unwrap_or("id"),
            version: word(extra.get("version")).unwrap_or("1.3"),
            memory_kib: number(extra.get("memory")).ok_or_else(unreadable)?,
            iterations,
            lanes: number(extra.get("parallelism")).ok_or_else(unreadable)?,
        };
        return keycloak_argon2(&parameters, salt, value);
    }
    keycloak_pbkdf2(algorithm, iterations, salt, value)
}

/// Keycloak's PBKDF2 by its provider's name.
fn keycloak_pbkdf2(
    algorithm: &str,
    iterations: u32,
    salt: &str,
    value: &str,
) -> Result<Option<PasswordHash>, Invalid> {
    if !["pbkdf2", "pbkdf2-sha256", "pbkdf2-sha512"].contains(&algorithm) {
        return Err(unsupported(
            "Of Keycloak's algorithms pbkdf2, pbkdf2-sha256, pbkdf2-sha512 and argon2 can be checked here. With --without-password the \
             user is taken without a password.",
        ));
    }
    any_hash(&format!(
        "${algorithm}$i={iterations}${}${}",
        phc(salt)?,
        phc(value)?
    ))
}

/// The parameters of Keycloak's Argon2, as it writes them.
struct Argon2<'a> {
    kind: &'a str,
    version: &'a str,
    memory_kib: u32,
    iterations: u32,
    lanes: u32,
}

/// Keycloak's Argon2.
fn keycloak_argon2(
    parameters: &Argon2<'_>,
    salt: &str,
    value: &str,
) -> Result<Option<PasswordHash>, Invalid> {
    let Argon2 {
        kind,
        version,
        memory_kib,
        iterations,
        lanes,
    } = parameters;
    let version = match *version {
        "1.3" => 19,
        "1.0" => 16,
        _ => return Err(unsupported("This version of Argon2 is unknown.")),
    };
    if !["id", "i", "d"].contains(kind) {
        return Err(unsupported("This kind of Argon2 is unknown."));
    }
    any_hash(&format!(
        "$argon2{kind}$v={version}$m={memory_kib},t={iterations},p={lanes}${}${}",
        phc(salt)?,
        phc(value)?
    ))
}
