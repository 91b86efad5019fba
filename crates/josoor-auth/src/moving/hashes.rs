//! TEMP until the hasher has it.
use crate::error::Invalid;
use crate::hasher::PasswordHash;

pub(super) fn any(text: &str) -> Result<PasswordHash, Invalid> {
    if text.starts_with("$2") || text.starts_with("$argon2id$") {
        Ok(PasswordHash::from_stored(text.to_owned()))
    } else {
        Err(Invalid::new("unsupported_hash", "x"))
    }
}
pub(super) fn firebase(
    _h: &str,
    _s: &str,
    _k: &str,
    _sep: &[u8],
    _r: u32,
    _m: u32,
) -> Result<PasswordHash, Invalid> {
    Err(Invalid::new("unsupported_hash", "x"))
}
pub(super) fn keycloak_pbkdf2(_a: &str, _i: u32, _s: &str, _v: &str) -> Result<PasswordHash, Invalid> {
    Err(Invalid::new("unsupported_hash", "x"))
}
pub(super) fn keycloak_argon2(
    _k: &str,
    _ver: &str,
    _m: u32,
    _t: u32,
    _p: u32,
    _s: &str,
    _v: &str,
) -> Result<PasswordHash, Invalid> {
    Err(Invalid::new("unsupported_hash", "x"))
}
