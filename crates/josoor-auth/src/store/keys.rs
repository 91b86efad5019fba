//! The table `keys`: signing keys, sealed under the master key before they come here.

use super::audit::rows::NewAudit;
use super::conn::{Conn, execute, on};
use super::db::Db;
use super::row::from_row;
use crate::domain::{Audit, Timestamp};
use crate::error::Result;

/// One key.
#[derive(Clone, Debug)]
pub struct KeyRow {
    /// Its name in token headers.
    pub kid: String,
    /// `access:<algorithm>` or `server`.
    pub purpose: String,
    /// The key, encrypted.
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether it is the one that signs.
    pub is_current: bool,
}

from_row!(KeyRow {
    kid,
    purpose,
    sealed,
    created_at,
    is_current
});

impl Conn {
    /// The keys of a purpose, the current one first.
    pub async fn keys_for(&mut self, purpose: &str) -> Result<Vec<KeyRow>> {
        const SQL: &str = "select kid, purpose, sealed, created_at, is_current from keys
             where purpose = $1 order by is_current desc, created_at desc";
        on!(self, sqlx::query_as(SQL).bind(purpose), fetch_all)
    }

    /// All keys.
    pub async fn all_keys(&mut self) -> Result<Vec<KeyRow>> {
        const SQL: &str =
            "select kid, purpose, sealed, created_at, is_current from keys order by purpose, created_at desc";
        on!(self, sqlx::query_as(SQL), fetch_all)
    }

    /// Adds the first current key of a purpose; false when there is one.
    pub async fn insert_first_key(&mut self, key: &KeyRow) -> Result<bool> {
        const SQL: &str = "insert into keys (kid, purpose, sealed, created_at, is_current)
             values ($1, $2, $3, $4, $5) on conflict do nothing";
        let inserted = execute!(
            self,
            sqlx::query(SQL)
                .bind(key.kid.as_str())
                .bind(key.purpose.as_str())
                .bind(key.sealed.as_slice())
                .bind(key.created_at)
                .bind(true)
        )?;
        Ok(inserted == 1)
    }
}

impl Db {
    /// Adds the first current key of a purpose, with its audit row. Of several nodes that start together one wins; the others
    /// read its key afterwards.
    pub async fn add_first_key(&self, key: &KeyRow) -> Result<()> {
        let mut tx = self.begin().await?;
        if tx.insert_first_key(key).await? {
            tx.insert_audit(&NewAudit {
                reason: Some(key.purpose.as_str()),
                ..NewAudit::by_operator(Audit::KeyChange, key.created_at)
            })
            .await?;
        }
        tx.commit().await
    }
}
