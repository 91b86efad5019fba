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
    /// `access:<algorithm>`, `server` or `audit`.
    pub purpose: String,
    /// The key, encrypted.
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether it is the newest of its purpose: the one that signs, or will.
    pub is_current: bool,
    /// When it begins to sign; `None`: with its creation.
    pub signs_from: Option<Timestamp>,
    /// When what it has signed is no longer accepted.
    pub verifies_until: Option<Timestamp>,
}

from_row!(KeyRow {
    kid,
    purpose,
    sealed,
    created_at,
    is_current,
    signs_from,
    verifies_until
});

impl KeyRow {
    /// When it begins to sign.
    pub fn begins_at(&self) -> Timestamp {
        self.signs_from.unwrap_or(self.created_at)
    }

    /// Whether what it has signed is accepted.
    pub fn verifies_at(&self, now: Timestamp) -> bool {
        self.verifies_until.is_none_or(|until| now < until)
    }
}

/// What every change of keys locks, and counts.
const GUARD: &str = "keys";

impl Conn {
    /// The keys of a purpose, the current one first.
    pub async fn keys_for(&mut self, purpose: &str) -> Result<Vec<KeyRow>> {
        const SQL: &str =
            "select kid, purpose, sealed, created_at, is_current, signs_from, verifies_until from keys
             where purpose = $1 order by is_current desc, created_at desc";
        on!(self, sqlx::query_as(SQL).bind(purpose), fetch_all)
    }

    /// All keys.
    pub async fn all_keys(&mut self) -> Result<Vec<KeyRow>> {
        const SQL: &str =
            "select kid, purpose, sealed, created_at, is_current, signs_from, verifies_until from keys
             order by purpose, created_at desc";
        on!(self, sqlx::query_as(SQL), fetch_all)
    }

    /// Counts the changes of keys: another number than before says that they are to be read again.
    pub async fn key_changes(&mut self) -> Result<i64> {
        const SQL: &str = "select passes from guards where name = 'keys'";
        on!(self, sqlx::query_scalar(SQL), fetch_one)
    }

    /// Waits for every other unit of work that changes keys, and tells running nodes that this one does.
    pub async fn change_keys(&mut self) -> Result<()> {
        self.pass_guard(GUARD).await
    }

    /// Adds the first current key of a purpose; false when there is one.
    pub async fn insert_first_key(&mut self, key: &KeyRow) -> Result<bool> {
        const SQL: &str =
            "insert into keys (kid, purpose, sealed, created_at, is_current, signs_from, verifies_until)
             values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing";
        let inserted = execute!(
            self,
            sqlx::query(SQL)
                .bind(key.kid.as_str())
                .bind(key.purpose.as_str())
                .bind(key.sealed.as_slice())
                .bind(key.created_at)
                .bind(key.is_current)
                .bind(key.signs_from)
                .bind(key.verifies_until)
        )?;
        Ok(inserted == 1)
    }

    /// Adds a key as the current one of its purpose, in place of the one that was.
    pub async fn insert_next_key(&mut self, key: &KeyRow) -> Result<bool> {
        const SQL: &str = "update keys set is_current = $2 where purpose = $1 and is_current";
        execute!(self, sqlx::query(SQL).bind(key.purpose.as_str()).bind(false))?;
        self.insert_first_key(key).await
    }

    /// What a key has signed is accepted until `until`, at most.
    pub async fn end_key(&mut self, kid: &str, until: Timestamp) -> Result<bool> {
        const SQL: &str = "update keys set verifies_until = $2
             where kid = $1 and (verifies_until is null or verifies_until > $2)";
        Ok(execute!(self, sqlx::query(SQL).bind(kid).bind(until))? == 1)
    }

    /// Stores a key under another encryption.
    pub async fn reseal_key(&mut self, kid: &str, sealed: &[u8]) -> Result<bool> {
        const SQL: &str = "update keys set sealed = $2 where kid = $1";
        Ok(execute!(self, sqlx::query(SQL).bind(kid).bind(sealed))? == 1)
    }

    /// Removes up to `limit` keys that were accepted until before `before`. How many there were.
    pub async fn purge_keys(&mut self, before: Timestamp, limit: i64) -> Result<u64> {
        const SQL: &str = "delete from keys where kid in
             (select kid from keys where verifies_until < $1 order by verifies_until limit $2)";
        execute!(self, sqlx::query(SQL).bind(before).bind(limit))
    }
}

impl Db {
    /// Adds a key where none of its purpose is in force, with its audit row. Of several nodes that start together one wins; the others
    /// read its key afterwards.
    pub async fn add_first_key(&self, key: &KeyRow) -> Result<()> {
        let mut tx = self.begin().await?;
        tx.change_keys().await?;
        let rows = tx.keys_for(&key.purpose).await?;
        if !rows.iter().any(|row| row.verifies_at(key.created_at)) && tx.insert_next_key(key).await? {
            tx.insert_audit(&NewAudit {
                reason: Some(key.purpose.as_str()),
                ..NewAudit::by_operator(Audit::KeyChange, key.created_at)
            })
            .await?;
        }
        tx.commit().await
    }
}
