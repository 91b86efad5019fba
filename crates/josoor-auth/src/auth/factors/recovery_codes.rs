//! Recovery codes: ten, each accepted once, for when the authenticator app is lost.
//!
//! Of a code only a hash is stored, together with its key, sealed: HMAC-SHA-256 of its 80 bits under a random key of its own. So the
//! table alone is of no use, and a hash can move to another service.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use uuid::Uuid;

use super::Factors;
use crate::act::{Act, Entry};
use crate::app::App;
use crate::crypto;
use crate::domain::{Audit, FactorMethod, MailKind, RecoveryCode, UserId};
use crate::error::{Error, Result};
use crate::store::{Credential, User};

/// How many codes there are in a set.
pub const IN_A_SET: usize = 10;

/// With so many left their owner is asked for a new set.
const FEW: usize = 3;

/// What a recovery code is compared with.
#[derive(Clone, PartialEq, Eq)]
pub enum CodeHash {
    /// HMAC-SHA-256 of the code's letters, in lower case and without hyphens, under a key of its own: as this service hashes them.
    Keyed {
        /// The key.
        key: [u8; 32],
        /// The hash.
        hash: [u8; 32],
    },
    /// SHA-512 of the code's letters, in capitals: as Keycloak hashes them.
    Sha512([u8; 64]),
}

impl std::fmt::Debug for CodeHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CodeHash(…)")
    }
}

const KEYED: &str = "hmac-sha256";
const SHA512: &str = "sha512";

impl CodeHash {
    /// Of a new code, with a random key.
    fn new(code: &RecoveryCode) -> Self {
        let key = crypto::random_bytes();
        let hash = crypto::hmac_sha256(&key, code.as_bytes());
        Self::Keyed { key, hash }
    }

    /// Of Keycloak's Base64.
    pub fn from_keycloak(base64: &str) -> Option<Self> {
        let hash = STANDARD.decode(base64).ok()?;
        Some(Self::Sha512(hash.try_into().ok()?))
    }

    /// As [`to_text`](Self::to_text) writes it.
    pub fn from_text(text: &str) -> Option<Self> {
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        match *text.split('$').collect::<Vec<_>>() {
            ["", KEYED, key, hash] => Some(Self::Keyed {
                key: bytes(key)?.try_into().ok()?,
                hash: bytes(hash)?.try_into().ok()?,
            }),
            ["", SHA512, hash] => Some(Self::Sha512(bytes(hash)?.try_into().ok()?)),
            _ => None,
        }
    }

    /// `$hmac-sha256$KEY$HASH` or `$sha512$HASH`, in base64url without padding.
    pub fn to_text(&self) -> String {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Keyed { key, hash } => format!("${KEYED}${}${}", text(key), text(hash)),
            Self::Sha512(hash) => format!("${SHA512}${}", text(hash)),
        }
    }

    fn is_of(&self, code: &RecoveryCode) -> bool {
        match self {
            Self::Keyed { key, hash } => crypto::equal(hash, &crypto::hmac_sha256(key, code.as_bytes())),
            Self::Sha512(hash) => crypto::equal(hash, &crypto::sha512(&code.as_bytes().to_ascii_uppercase())),
        }
    }
}

/// What the hash of a code is bound to.
fn name<'a>(user: &'a [u8; 8], id: &'a Uuid) -> [&'a [u8]; 3] {
    [b"recovery-code", user, id.as_bytes()]
}

/// What a code is compared with, from its row.
///
/// # Errors
/// `Internal` where it cannot be decrypted.
pub(super) fn open(app: &App, user: UserId, id: &Uuid, sealed: &[u8]) -> Result<CodeHash> {
    let user = user.0.to_be_bytes();
    let opened = app.keys.factor_secrets.open(&name(&user, id), sealed)?;
    let read = std::str::from_utf8(&opened).ok().and_then(CodeHash::from_text);
    read.ok_or_else(|| Error::Internal(anyhow::anyhow!("the hash of a recovery code cannot be read")))
}

/// Adds the codes with these hashes to a user, who is locked or new and has none.
///
/// # Errors
/// `StoreUnavailable`.
pub(super) async fn insert(act: &mut Act, user: UserId, hashes: &[CodeHash]) -> Result<()> {
    let mut rows = Vec::with_capacity(hashes.len());
    for hash in hashes {
        let id = uuid::Builder::from_random_bytes(crypto::random_bytes()).into_uuid();
        let (key, bytes) = (&act.app.keys.factor_secrets, user.0.to_be_bytes());
        let sealed = key.seal(&name(&bytes, &id), hash.to_text().as_bytes())?;
        rows.push((id, sealed));
    }
    let now = act.now;
    act.tx.insert_recovery_codes(user, &rows, now).await
}

/// Replaces the codes of a user, who is locked, by a new set, and records it. The codes are shown once.
///
/// # Errors
/// `StoreUnavailable`.
pub async fn replace(act: &mut Act, user: UserId) -> Result<Vec<RecoveryCode>> {
    act.tx
        .delete_credentials(user, FactorMethod::RecoveryCode)
        .await?;
    let codes: Vec<RecoveryCode> = (0..IN_A_SET).map(|_| RecoveryCode::generate()).collect();
    let hashes: Vec<CodeHash> = codes.iter().map(CodeHash::new).collect();
    insert(act, user, &hashes).await?;
    act.audit(
        Entry::success(Audit::FactorAdd)
            .subject(user)
            .reason("recovery_codes"),
    );
    Ok(codes)
}

/// Whether a row is of this code.
fn is_of(app: &App, user: UserId, row: &Credential, code: &RecoveryCode) -> Result<bool> {
    if let Some(sealed) = &row.sealed {
        return Ok(open(app, user, &row.id, sealed)?.is_of(code));
    }
    // A set that was shown before hashes had keys of their own.
    let (user, id) = (user.0.to_be_bytes(), row.id.as_bytes().as_slice());
    let expected = app.keys.tag("recovery-code", &[&user, id, code.as_bytes()]);
    Ok(row
        .code_mac
        .as_ref()
        .is_some_and(|stored| crypto::equal(stored, &expected)))
}

/// Redeems a code of a user, who is locked and is notified. False for a code that is none of the user's, or was used.
///
/// # Errors
/// `StoreUnavailable`; `Internal` where a stored hash cannot be decrypted.
pub(super) async fn redeem(
    act: &mut Act,
    factors: &Factors,
    user: &User,
    code: &RecoveryCode,
) -> Result<bool> {
    let mut found = None;
    // All of them are compared, so that the time does not disclose which one it is.
    for row in factors.recovery_codes() {
        if is_of(&act.app, user.id, row, code)? {
            found = Some(row.id);
        }
    }
    let Some(id) = found else { return Ok(false) };
    if !act.tx.redeem_recovery_code(id).await? {
        return Ok(false);
    }
    let left = factors.recovery_codes().count().saturating_sub(1);
    let kind = if left <= FEW {
        MailKind::RecoveryCodesLow
    } else {
        MailKind::RecoveryCodeUsed
    };
    act.notify(user, kind).await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::FactorCode;

    fn code(text: &str) -> RecoveryCode {
        match FactorCode::parse(text) {
            Ok(FactorCode::Recovery(code)) => code,
            other => panic!("{text} is no recovery code: {other:?}"),
        }
    }

    #[test]
    fn a_code_of_keycloaks_is_verified_as_keycloak_does() {
        // Of its own test `RecoveryCodesUnitTest`.
        let stored =
            "OnOEi8vsNqnI2s6t2IxU2+A+KrzWAVpR9AHExeQgDzTuoiU1qPzFsOpFIy8wb6EtPEGHKj0ehgHyTbuBTyChhg==";
        let hash = CodeHash::from_keycloak(stored).expect("a hash");
        for typed in ["L9RRAUWYKARB", "l9rr-auwy-karb", " L9RR AUWY KARB"] {
            assert!(hash.is_of(&code(typed)), "{typed}");
        }
        assert!(!hash.is_of(&code("L9RRAUWYKARC")));
        assert_eq!(CodeHash::from_keycloak(&stored[4..]), None);
        assert_eq!(CodeHash::from_keycloak("?"), None);
    }

    #[test]
    fn a_hash_is_read_as_it_was_written() {
        let own = code("0123-4567-89ab-cdef");
        let hash = CodeHash::new(&own);
        assert_ne!(CodeHash::new(&own), hash);
        for hash in [hash, CodeHash::Sha512([9; 64])] {
            assert_eq!(CodeHash::from_text(&hash.to_text()).as_ref(), Some(&hash));
            assert!(!format!("{hash:?}").contains('9'));
            let is_keyed = matches!(hash, CodeHash::Keyed { .. });
            assert_eq!(hash.is_of(&own), is_keyed);
            assert!(!hash.is_of(&code("1123-4567-89ab-cdef")));
        }
        for wrong in [
            "",
            "$",
            "$sha512$",
            "$sha512$AAAA",
            "$md5$AAAA",
            "$hmac-sha256$AAAA$AAAA",
            "x$sha512$AAAA",
        ] {
            assert_eq!(CodeHash::from_text(wrong), None, "{wrong}");
        }
    }
}
