//! Hashes of other programs in the forms that the hasher verifies.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use crate::domain::PasswordHash;
use crate::error::Invalid;

pub(super) fn unsupported(why: impl Into<String>) -> Invalid {
    Invalid::new("unsupported_hash", why)
}

pub(super) fn refused(why: &str) -> Invalid {
    unsupported(format!("The password hash cannot be checked here: {why}."))
}

/// A hash that says itself what it is.
pub(super) fn any_hash(text: &str) -> Result<PasswordHash, Invalid> {
    PasswordHash::import(text).map_err(refused)
}

pub(super) fn bytes(text: &str) -> Result<Vec<u8>, Invalid> {
    STANDARD
        .decode(text)
        .map_err(|_| unsupported("The stored password is not base64."))
}

/// Base64 with padding, as Keycloak writes it, in the form of PHC strings: without.
pub(super) fn phc(text: &str) -> Result<String, Invalid> {
    Ok(STANDARD_NO_PAD.encode(bytes(text)?))
}
