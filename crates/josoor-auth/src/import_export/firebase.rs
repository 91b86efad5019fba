//! `firebase auth:export`.

use zeroize::Zeroizing;

use super::fields::{Get, Parsed, verified};
use super::firebase_config::FirebaseConfig;
use super::hashes::{bytes, refused};
use super::options::Reading;
use super::user::Incoming;
use crate::domain::PasswordHash;
use crate::error::Invalid;

/// Firebase's CSV has no header. The numbered ones are of no use here.
pub(super) const FIREBASE_COLUMNS: [&str; 28] = [
    "localId",
    "email",
    "emailVerified",
    "passwordHash",
    "salt",
    "displayName",
    "photoUrl",
    "7",
    "8",
    "9",
    "10",
    "11",
    "12",
    "13",
    "14",
    "15",
    "16",
    "17",
    "18",
    "19",
    "20",
    "21",
    "22",
    "createdAt",
    "lastLoginAt",
    "phoneNumber",
    "disabled",
    "customAttributes",
];

impl Reading {
    pub(super) fn firebase(&self, get: &Get<'_>) -> Parsed<Incoming> {
        let hash = match (get.text("passwordHash")?, get.text("salt")?) {
            (None, _) => Ok(None),
            (Some(hash), salt) => self.firebase_hash(hash, salt.unwrap_or_default()).map(Some),
        };
        let claims = get.object("customAttributes")?.unwrap_or_default();
        let role = match Get(&claims).text("role") {
            Ok(Some(name)) => self.role_named(name),
            _ => None,
        };
        let last_login_at = match get.millis("lastSignedInAt")? {
            None => get.millis("lastLoginAt")?,
            at => at,
        };
        let email = get.email("email")?;
        let user = Incoming {
            role,
            is_active: get.flag("disabled")?.map(|disabled| !disabled),
            verified: verified(get.flag("emailVerified")?),
            password_hash: self.password("passwordHash", hash)?,
            created_at: get.millis("createdAt")?,
            last_login_at,
            ..Incoming::new(email)
        };
        Ok(get.name("displayName")?.given_to(user))
    }

    fn firebase_hash(&self, hash: &str, salt: &str) -> Result<PasswordHash, Invalid> {
        let Some(config) = &self.firebase else {
            return Err(Invalid::new(
                "hash_parameters_missing",
                "Firebase's hashes need the project's parameters: give them with --firebase-config.",
            ));
        };
        take_over(hash, salt, config)
    }
}

/// Firebase's own scrypt, with the project's parameters.
fn take_over(hash: &str, salt: &str, config: &FirebaseConfig) -> Result<PasswordHash, Invalid> {
    let cost = u8::try_from(config.memory_cost)
        .map_err(|_| refused("its memory cost is above 24, the most that is computed here"))?;
    let signer = Zeroizing::new(bytes(config.signer_key.expose())?);
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
