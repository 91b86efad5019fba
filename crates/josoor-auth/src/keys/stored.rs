//! The keys in the database, encrypted with the master key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::master::{MasterKey, SealedFormat, master_key};
use crate::config::Config;
use crate::crypto;
use crate::domain::Timestamp;
use crate::error::{Error, Result};
use crate::store::{AuditKey, Db, KeyRow};

/// The purpose of the server-only key in the table `keys`.
pub(super) const SERVER_PURPOSE: &str = "server";

/// Reads the keys in the database, and adds those that are missing.
pub(super) struct StoredKeys<'a> {
    pub(super) db: &'a Db,
    pub(super) unlocked: &'a Unlocked,
    /// How a new key is encrypted.
    pub(super) format: SealedFormat,
    pub(super) now: Timestamp,
}

impl StoredKeys<'_> {
    /// The id and the material of the current key of a purpose; generated first when there is none.
    pub(super) async fn current(
        &self,
        purpose: &str,
        generate: impl FnOnce() -> Result<Zeroizing<Vec<u8>>>,
    ) -> Result<(String, Zeroizing<Vec<u8>>)> {
        let master = &self.unlocked.master;
        let mut rows = self.db.read().await?.keys_for(purpose).await?;
        if !rows.iter().any(|row| row.is_current) {
            let kid = URL_SAFE_NO_PAD.encode(crypto::random_bytes::<9>());
            let sealed = master.seal(&format!("{purpose} {kid}"), &generate()?, self.format)?;
            let row = KeyRow {
                kid,
                purpose: purpose.to_owned(),
                sealed,
                created_at: self.now,
                is_current: true,
            };
            self.db.add_first_key(&row).await?;
            // This one, or that of a node that was quicker. From the writer, which sees every commit.
            rows = self.db.write().await?.keys_for(purpose).await?;
        }
        let row = rows
            .into_iter()
            .find(|row| row.is_current)
            .ok_or_else(|| Error::Internal(anyhow::anyhow!("the key {purpose} was not stored")))?;
        let (opened, _) = master.open(&format!("{purpose} {}", row.kid), &row.sealed)?;
        Ok((row.kid, opened))
    }
}

/// The master key, after it decrypted the stored keys.
pub struct Unlocked {
    master: MasterKey,
    /// Whether no key is stored yet.
    pub is_new: bool,
    /// Whether the server-only key is stored as [`SealedFormat::Versioned`].
    pub is_versioned: bool,
}

impl std::fmt::Debug for Unlocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unlocked")
            .field("is_new", &self.is_new)
            .field("is_versioned", &self.is_versioned)
            .finish_non_exhaustive()
    }
}

impl Unlocked {
    /// The key of the audit trail.
    pub fn audit_key(&self) -> AuditKey {
        AuditKey::new(self.master.audit.clone())
    }
}

/// Finds the master key. For a database without keys it is generated where that is allowed.
///
/// # Errors
/// `Internal` when it does not decrypt the stored server-only key; nothing has been written then. `StoreUnavailable`.
pub async fn unlock(config: &Config, db: &Db) -> Result<Unlocked> {
    // From the writer, which sees every commit.
    let rows = db.write().await?.all_keys().await?;
    let master = master_key(config, rows.is_empty())?;
    let mut is_versioned = false;
    for row in rows.iter().filter(|row| row.purpose == SERVER_PURPOSE) {
        let (_, format) = master.open(&format!("{} {}", row.purpose, row.kid), &row.sealed)?;
        is_versioned |= row.is_current && format == SealedFormat::Versioned;
    }
    Ok(Unlocked {
        master,
        is_new: rows.is_empty(),
        is_versioned,
    })
}

/// The ids of the stored keys that the configured master key does not decrypt.
pub async fn unreadable_keys(config: &Config, db: &Db) -> Result<Vec<String>> {
    let master = master_key(config, false)?;
    let rows = db.read().await?.all_keys().await?;
    Ok(rows
        .into_iter()
        .filter(|row| {
            master
                .open(&format!("{} {}", row.purpose, row.kid), &row.sealed)
                .is_err()
        })
        .map(|row| row.kid)
        .collect())
}
