//! Keys and what is made with them: access tokens, refresh tokens, single-use tokens, marks of devices, sealed secrets.
//!
//! Three kinds of key, never mixed:
//! * the **access key** signs access tokens; with an HMAC algorithm it may be `JWT_SECRET`, which other services hold;
//! * the **server-only key** makes everything that only this service may make or read;
//! * the **master key** encrypts the other two in the database and is kept outside of it.

mod access_key;
mod access_token;
mod backup_key;
mod device_mark;
mod master;
mod one_time_token;
mod readings;
mod refresh_token;
mod sealed;
mod server_key;
mod stored;

use zeroize::Zeroizing;

use self::server_key::ServerKey;
use self::stored::StoredKeys;
use crate::config::Config;
use crate::domain::Timestamp;
use crate::error::Result;
use crate::store::{Db, KeyRow};

pub use access_key::{algorithm_of, purpose_of};
pub use access_token::AccessTokens;
pub use backup_key::{BackupKey, backup_key};
pub use device_mark::{DeviceMark, DeviceMarks};
pub use master::{SealedFormat, generate_master_key, master_key_file};
pub use one_time_token::OneTimeTokens;
pub use refresh_token::{Generation, RefreshClaims, RefreshTokens};
pub use sealed::SealingKey;
pub use stored::{Resealed, Unlocked, unlock, unreadable_keys};

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
    /// Seals the secrets of second factors, under the server-only key.
    pub factor_secrets: SealingKey,
    /// Seals what was verified in flows, under the server-only key.
    pub flow_contents: SealingKey,
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
        let server = ServerKey::new(&stored.server_key().await?)?;
        if !AccessTokens::signs_with_setting(config) {
            stored.ensure_access_key(config.auth.algorithm).await?;
        }
        let rows = db.write().await?.all_keys().await?;
        Ok(Self {
            access: AccessTokens::new(config, &unlocked.master, &rows, now)?,
            refresh: RefreshTokens::new(server.clone()),
            one_time: OneTimeTokens(server.clone()),
            marks: DeviceMarks(server.clone()),
            factor_secrets: SealingKey::new(&Zeroizing::new(server.mac(&[b"factor-secrets"])))?,
            flow_contents: SealingKey::new(&Zeroizing::new(server.mac(&[b"flow-contents"])))?,
            server,
        })
    }

    /// Takes the stored access keys as they are now. Whether all of them could be read: after the master key was replaced a process
    /// that has the old one goes on with the keys that it has.
    ///
    /// # Errors
    /// `Internal` when a key is no key of its algorithm, or none is left; then the keys stay as they were.
    pub fn reload(&self, config: &Config, rows: &[KeyRow], now: Timestamp) -> Result<bool> {
        let unlocked = stored::unlock_rows(config, rows).ok();
        let master = unlocked.as_ref().map(|unlocked| &unlocked.master);
        self.access.reload(master, rows, now)
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
