//! Keys and what is made with them: access tokens, refresh tokens, single-use tokens, marks of devices.
//!
//! Three kinds of key, never mixed:
//! * the **access key** signs access tokens; with an HMAC algorithm it may be `JWT_SECRET`, which other services hold;
//! * the **server-only key** makes everything that only this service may make or read;
//! * the **master key** encrypts the other two in the database and is kept outside of it.

mod access_token;
mod backup_key;
mod device_mark;
mod master;
mod one_time_token;
mod refresh_token;
mod server_key;
mod stored;

use zeroize::Zeroizing;

use self::access_token::{generate_access_key, kid_of_secret};
use self::server_key::ServerKey;
use self::stored::{SERVER_PURPOSE, StoredKeys};
use crate::config::Config;
use crate::crypto;
use crate::domain::Timestamp;
use crate::error::Result;
use crate::store::Db;

pub use access_token::AccessTokens;
pub use backup_key::{BackupKey, backup_key};
pub use device_mark::{DeviceMark, DeviceMarks};
pub use master::{SealedFormat, generate_master_key, master_key_file};
pub use one_time_token::OneTimeTokens;
pub use refresh_token::{Generation, RefreshClaims, RefreshTokens};
pub use stored::{Unlocked, unlock, unreadable_keys};

/// All keys of a running service.
pub struct Keys {
    /// Access tokens.
    pub access: AccessTokens,
    /// Refresh tokens.
    pub refresh: RefreshTokens,
    /// The tokens in the links of mails.
    pub one_time: OneTimeTokens,
    /// The marks of devices.
    pub marks: DeviceMarks,
    server: ServerKey,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Keys {
    /// Loads the keys, and generates those that are missing. Several nodes that start together end up with the same keys.
    ///
    /// # Errors
    /// `Internal` when a stored key cannot be decrypted: it was encrypted with another master key. `StoreUnavailable`.
    pub async fn load(
        config: &Config,
        db: &Db,
        unlocked: &Unlocked,
        format: SealedFormat,
        now: Timestamp,
    ) -> Result<Self> {
        let stored = StoredKeys {
            db,
            unlocked,
            format,
            now,
        };
        let server = stored
            .current(SERVER_PURPOSE, || {
                Ok(Zeroizing::new(crypto::random_bytes::<32>().to_vec()))
            })
            .await?;
        let server = ServerKey::new(&server.1)?;
        let algorithm = config.auth.algorithm;
        let (kid, secret) = match &config.auth.jwt_secret {
            Some(secret) if algorithm.is_symmetric() => {
                let secret = Zeroizing::new(secret.expose().as_bytes().to_vec());
                (kid_of_secret(&secret), secret)
            }
            _ => {
                let purpose = format!("access:{}", algorithm.as_str());
                stored
                    .current(&purpose, || generate_access_key(algorithm))
                    .await?
            }
        };
        Ok(Self {
            access: AccessTokens::new(config, kid, &secret)?,
            refresh: RefreshTokens::new(server.clone()),
            one_time: OneTimeTokens(server.clone()),
            marks: DeviceMarks(server.clone()),
            server,
        })
    }

    /// A code that only this service can make, for something that is named and holds no secret itself.
    pub fn tag(&self, name: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut all = vec![b"tag".as_slice(), name.as_bytes()];
        all.extend_from_slice(parts);
        self.server.mac(&all)
    }

    /// The key that names the buckets of the limits.
    pub fn limits_key(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.server.mac(&[b"limits"]))
    }
}
