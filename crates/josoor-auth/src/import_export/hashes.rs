//! Hashes of other programs in the forms that the hasher verifies.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD_NO_PAD};

use crate::domain::PasswordHash;
use crate::error::Invalid;

/// With padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) fn unsupported(why: impl Into<String>) -> Invalid {
    Invalid::new("unsupported_hash", why)
}

pub(super) fn refused(why: &str) -> Invalid {
    let taken = if PasswordHash::is_about_form(why) {
        format!(" Taken are {}.", PasswordHash::FORMS)
    } else {
        String::new()
    };
    unsupported(format!(
        "The password hash cannot be checked here: {why}.{taken} With --without-password the user is taken without a password."
    ))
}

/// A hash that says itself what it is; none where it says that there is no password.
pub(super) fn any_hash(text: &str) -> Result<Option<PasswordHash>, Invalid> {
    PasswordHash::import(text).map_err(refused)
}

/// Base64 in the usual alphabet or in that for addresses (RFC 4648, 4 and 5), with padding or without.
pub(super) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    BASE64
        .decode(text.trim().replace('-', "+").replace('_', "/"))
        .ok()
}

pub(super) fn bytes(text: &str) -> Result<Vec<u8>, Invalid> {
    decode_base64(text).ok_or_else(|| unsupported("The stored password is not base64."))
}

/// Base64 with padding, as Keycloak writes it, in the form of PHC strings: without.
pub(super) fn phc(text: &str) -> Result<String, Invalid> {
    Ok(STANDARD_NO_PAD.encode(bytes(text)?))
}
