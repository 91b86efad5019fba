//! The hashes of other programs in the forms that the hasher reads.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use crate::domain::PasswordHash;
use crate::error::Invalid;

fn unsupported(why: impl Into<String>) -> Invalid {
    Invalid::new("unsupported_hash", why)
}

fn refused(why: &str) -> Invalid {
    unsupported(format!("The password hash cannot be checked here: {why}."))
}

/// A hash that says itself what it is.
pub(super) fn any(text: &str) -> Result<PasswordHash, Invalid> {
    PasswordHash::import(text).map_err(refused)
}

fn bytes(text: &str) -> Result<Vec<u8>, Invalid> {
    STANDARD
        .decode(text)
        .map_err(|_| unsupported("The stored password is not base64."))
}

/// Base64 with padding, as Keycloak writes it, in the form of PHC strings: without.
fn phc(text: &str) -> Result<String, Invalid> {
    Ok(STANDARD_NO_PAD.encode(bytes(text)?))
}

/// Keycloak's PBKDF2 by its provider's name.
pub(super) fn keycloak_pbkdf2(
    algorithm: &str,
    iterations: u32,
    salt: &str,
    value: &str,
) -> Result<PasswordHash, Invalid> {
    if !["pbkdf2", "pbkdf2-sha256", "pbkdf2-sha512"].contains(&algorithm) {
        return Err(unsupported(
            "Of Keycloak's algorithms pbkdf2, pbkdf2-sha256, pbkdf2-sha512 and argon2 can be checked here.",
        ));
    }
    any(&format!(
        "${algorithm}$i={iterations}${}${}",
        phc(salt)?,
        phc(value)?
    ))
}

/// The parameters of Keycloak's Argon2, as it writes them.
pub(super) struct Argon2<'a> {
    pub(super) kind: &'a str,
    pub(super) version: &'a str,
    pub(super) memory_kib: u32,
    pub(super) iterations: u32,
    pub(super) lanes: u32,
}

/// Keycloak's Argon2.
pub(super) fn keycloak_argon2(
    parameters: &Argon2<'_>,
    salt: &str,
    value: &str,
) -> Result<PasswordHash, Invalid> {
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
    any(&format!(
        "$argon2{kind}$v={version}$m={memory_kib},t={iterations},p={lanes}${}${}",
        phc(salt)?,
        phc(value)?
    ))
}

/// Firebase's own scrypt, with the project's parameters.
pub(super) fn firebase(
    hash: &str,
    salt: &str,
    config: &super::formats::FirebaseConfig,
) -> Result<PasswordHash, Invalid> {
    let cost = u8::try_from(config.memory_cost)
        .map_err(|_| refused("its memory cost is above 24, the most that is computed here"))?;
    let signer = zeroize::Zeroizing::new(bytes(config.signer_key.expose())?);
    PasswordHash::firebase(
        cost,
        config.rounds,
        &bytes(salt)?,
        &config.salt_separator,
        &signer,
        &bytes(hash)?,
    )
    .map_err(refused)
}
