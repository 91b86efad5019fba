//! The keys in the database, encrypted with the master key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josoor_auth_verify::Algorithm;
use zeroize::Zeroizing;

use super::access_key::{generate_access_key, purpose_of};
use super::master::{MasterKey, SealedFormat, master_key};
use crate::config::{self, Config};
use crate::crypto;
use crate::domain::Timestamp;
use crate::error::{Error, Result};
use crate::store::{AuditKey, Db, KeyRow};

/// The purpose of the server-only key in the table `keys`.
pub(super) const SERVER_PURPOSE: &str = "server";

/// The purpose of the key of the audit trail, which is stored once the master key that it came from was replaced.
const AUDIT_PURPOSE: &str = "audit";

/// Reads the keys in the database, and adds those that are missing.
pub(super) struct StoredKeys<'a> {
    pub(super) db: &'a Db,
    pub(super) unlocked: &'a Unlocked,
    /// How a new key is encrypted.
    pub(super) format: SealedFormat,
    pub(super) now: Timestamp,
}

impl StoredKeys<'_> {
    /// The material of the server-only key; generated first when there is none.
    pub(super) async fn server_key(&self) -> Result<Zeroizing<Vec<u8>>> {
        let row = self
            .ensure(SERVER_PURPOSE, || {
                let kid = URL_SAFE_NO_PAD.encode(crypto::random_bytes::<9>());
                Ok((kid, Zeroizing::new(crypto::random_bytes::<32>().to_vec())))
            })
            .await?;
        let (opened, _) = self.unlocked.master.open(&name_of(&row), &row.sealed)?;
        Ok(opened)
    }

    /// Generates an access key where there is none of the algorithm.
    pub(super) async fn ensure_access_key(&self, algorithm: Algorithm) -> Result<()> {
        self.ensure(&purpose_of(algorithm), || generate_access_key(algorithm))
            .await
            .map(drop)
    }

    /// The newest key of a purpose that is still in force.
    async fn ensure(
        &self,
        purpose: &str,
        generate: impl FnOnce() -> Result<(String, Zeroizing<Vec<u8>>)>,
    ) -> Result<KeyRow> {
        let newest = |rows: Vec<KeyRow>| rows.into_iter().find(|row| row.verifies_at(self.now));
        let rows = self.db.read().await?.keys_for(purpose).await?;
        if let Some(row) = newest(rows) {
            return Ok(row);
        }
        let (kid, secret) = generate()?;
        let row = self
            .unlocked
            .seal(purpose, kid, &secret, self.format, self.now, None)?;
        self.db.add_first_key(&row).await?;
        // This one, or that of a node that was quicker. From the writer, which sees every commit.
        let rows = self.db.write().await?.keys_for(purpose).await?;
        newest(rows).ok_or_else(|| Error::Internal(anyhow::anyhow!("the key {purpose} was not stored")))
    }
}

/// What a stored key is authenticated with.
fn name_of(row: &KeyRow) -> String {
    format!("{} {}", row.purpose, row.kid)
}

/// The master key, after it decrypted the stored keys.
pub struct Unlocked {
    pub(super) master: MasterKey,
    /// The key of the audit trail, where it is another than the master key's.
    audit: Option<Zeroizing<[u8; 32]>>,
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
        AuditKey::new(self.audit_bytes())
    }

    fn audit_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.audit.clone().unwrap_or_else(|| self.master.audit.clone())
    }

    fn seal(
        &self,
        purpose: &str,
        kid: String,
        secret: &[u8],
        format: SealedFormat,
        created_at: Timestamp,
        signs_from: Option<Timestamp>,
    ) -> Result<KeyRow> {
        let mut row = KeyRow {
            kid,
            purpose: purpose.to_owned(),
            sealed: Vec::new(),
            created_at,
            is_current: true,
            signs_from,
            verifies_until: None,
        };
        row.sealed = self.master.seal(&name_of(&row), secret, format)?;
        Ok(row)
    }

    /// A new access key, encrypted. The times of its row are to be set.
    ///
    /// # Errors
    /// `Internal`.
    pub fn new_access_key(&self, algorithm: Algorithm, now: Timestamp) -> Result<KeyRow> {
        let (kid, secret) = generate_access_key(algorithm)?;
        let purpose = purpose_of(algorithm);
        self.seal(&purpose, kid, &secret, SealedFormat::Versioned, now, Some(now))
    }

    /// The stored keys, encrypted with another master key: each row with what is to be stored, and the row of the key of the
    /// audit trail where there is none yet. With `renew` the server-only key and that of the trail are new ones, for when the
    /// master key leaked; otherwise they stay, so that tokens stay good and the trail can be checked from its beginning.
    ///
    /// # Errors
    /// `Internal` when a key cannot be decrypted, or the new master key is the old one.
    pub fn reseal(
        &self,
        rows: &[KeyRow],
        new: &config::MasterKey,
        renew: bool,
        now: Timestamp,
    ) -> Result<Resealed> {
        let new = Self {
            master: MasterKey::new(new.expose(), "the new master key")?,
            audit: None,
            is_new: false,
            is_versioned: true,
        };
        if crypto::equal(&*new.master.backup, &*self.master.backup) {
            return Err(Error::Internal(anyhow::anyhow!(
                "the new master key is the one that is in use; `josoor-auth key generate` prints another"
            )));
        }
        let mut sealed = Vec::with_capacity(rows.len());
        for row in rows {
            let (mut plain, _) = self.master.open(&name_of(row), &row.sealed)?;
            if renew && matches!(row.purpose.as_str(), SERVER_PURPOSE | AUDIT_PURPOSE) {
                plain = Zeroizing::new(crypto::random_bytes::<32>().to_vec());
            }
            let again = new.master.seal(&name_of(row), &plain, SealedFormat::Versioned)?;
            sealed.push((row.kid.clone(), again));
        }
        let audit = if rows.iter().any(|row| row.purpose == AUDIT_PURPOSE) {
            None
        } else {
            let kid = URL_SAFE_NO_PAD.encode(crypto::random_bytes::<9>());
            let format = SealedFormat::Versioned;
            let key = if renew {
                Zeroizing::new(crypto::random_bytes())
            } else {
                self.audit_bytes()
            };
            Some(new.seal(AUDIT_PURPOSE, kid, &*key, format, now, None)?)
        };
        Ok(Resealed { keys: sealed, audit })
    }
}

/// The stored keys under another master key.
pub struct Resealed {
    /// Id and encrypted material of each.
    pub keys: Vec<(String, Vec<u8>)>,
    /// The key of the audit trail, where it was not stored before.
    pub audit: Option<KeyRow>,
}

impl std::fmt::Debug for Resealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resealed")
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

/// Finds the master key. For a database without keys it is generated where that is allowed.
///
/// # Errors
/// `Internal` when it does not decrypt the stored server-only key; nothing has been written then. `StoreUnavailable`.
pub async fn unlock(config: &Config, db: &Db) -> Result<Unlocked> {
    // From the writer, which sees every commit.
    let rows = db.write().await?.all_keys().await?;
    unlock_rows(config, &rows)
}

/// As [`unlock`], with the keys that were read.
///
/// # Errors
/// `Internal` when the master key does not decrypt the server-only key.
pub(super) fn unlock_rows(config: &Config, rows: &[KeyRow]) -> Result<Unlocked> {
    let master = master_key(config, rows.is_empty())?;
    let (mut is_versioned, mut audit) = (false, None);
    for row in rows {
        match row.purpose.as_str() {
            SERVER_PURPOSE => {
                let (_, format) = master.open(&name_of(row), &row.sealed)?;
                is_versioned |= row.is_current && format == SealedFormat::Versioned;
            }
            AUDIT_PURPOSE => {
                let (bytes, _) = master.open(&name_of(row), &row.sealed)?;
                let bytes = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| {
                    Error::Internal(anyhow::anyhow!(
                        "the stored key of the audit trail has a wrong length"
                    ))
                })?;
                audit = Some(Zeroizing::new(bytes));
            }
            _ => {}
        }
    }
    Ok(Unlocked {
        master,
        audit,
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
        .filter(|row| master.open(&name_of(row), &row.sealed).is_err())
        .map(|row| row.kid)
        .collect())
}
