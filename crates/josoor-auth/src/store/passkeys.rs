//! The passkeys in the table `credentials`, and their challenges in `flows`.

use uuid::Uuid;

use super::conn::{Conn, execute, on};
use super::row::from_row;
use crate::domain::{Timestamp, UserId};
use crate::error::Result;

/// A passkey, as stored.
#[derive(Clone, Debug)]
pub struct Passkey {
    /// What the API calls it.
    pub id: Uuid,
    user_id: i64,
    /// What its owner calls it.
    pub label: Option<String>,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
    /// The credential's id.
    pub external_id: Vec<u8>,
    /// The public key, as COSE.
    pub public_key: Vec<u8>,
    /// How the authenticator is reached, separated by blanks.
    pub transports: Option<String>,
    /// Whether it can be copied to other devices of its user.
    pub is_backup_eligible: bool,
    /// Whether it is.
    pub is_backed_up: bool,
    /// The host or domain that it is for.
    pub rp_id: Option<String>,
}

from_row!(Passkey as columns {
    id,
    user_id,
    label,
    created_at,
    last_used_at,
    external_id,
    public_key,
    transports,
    is_backup_eligible,
    is_backed_up,
    rp_id
});

/// A passkey to add.
#[derive(Debug)]
pub struct NewPasskey<'a> {
    /// Fresh.
    pub id: Uuid,
    /// Whose it is.
    pub user: UserId,
    /// What its owner calls it.
    pub label: &'a str,
    /// The credential's id.
    pub external_id: &'a [u8],
    /// The public key, as COSE.
    pub public_key: &'a [u8],
    /// The signature counter.
    pub counter: i64,
    /// The model of the authenticator.
    pub aaguid: Uuid,
    /// How the authenticator is reached, separated by blanks.
    pub transports: &'a str,
    /// Whether it can be copied to other devices of its user.
    pub is_backup_eligible: bool,
    /// Whether it is.
    pub is_backed_up: bool,
    /// The host or domain that it is for.
    pub rp_id: &'a str,
    /// Now.
    pub created_at: Timestamp,
}

impl Passkey {
    /// Whose it is.
    pub const fn user_id(&self) -> UserId {
        UserId(self.user_id)
    }
}

impl Conn {
    /// Adds a passkey; false when there is one with this credential id, of whichever user.
    pub async fn insert_passkey(&mut self, new: &NewPasskey<'_>) -> Result<bool> {
        const SQL: &str = "insert into credentials (id, user_id, kind, label, created_at, confirmed_at, counter, external_id, public_key,
                aaguid, transports, is_backup_eligible, is_backed_up, rp_id)
             values ($1, $2, 'passkey', $3, $4, $4, $5, $6, $7, $8, $9, $10, $11, $12)
             on conflict (external_id) do nothing";
        let added = execute!(
            self,
            sqlx::query(SQL)
                .bind(new.id)
                .bind(new.user.0)
                .bind(new.label)
                .bind(new.created_at)
                .bind(new.counter)
                .bind(new.external_id)
                .bind(new.public_key)
                .bind(new.aaguid)
                .bind(new.transports)
                .bind(new.is_backup_eligible)
                .bind(new.is_backed_up)
                .bind(new.rp_id)
        )?;
        Ok(added == 1)
    }

    /// The passkeys of a user, in the order in which they were added.
    pub async fn passkeys_of(&mut self, user: UserId) -> Result<Vec<Passkey>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from credentials where user_id = $1 and kind = 'passkey' order by created_at, id limit 1000"
        );
        on!(self, sqlx::query_as(SQL).bind(user.0), fetch_all)
    }

    /// The passkey with this credential id.
    pub async fn passkey_by_external_id(&mut self, id: &[u8]) -> Result<Option<Passkey>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from credentials where external_id = $1 and kind = 'passkey'"
        );
        on!(self, sqlx::query_as(SQL).bind(id), fetch_optional)
    }

    /// Notes a use, if the counter has grown, or the authenticator has none and never had one; of any number of callers with one
    /// counter above zero one succeeds.
    pub async fn use_passkey(
        &mut self,
        id: Uuid,
        counter: i64,
        is_backed_up: bool,
        now: Timestamp,
    ) -> Result<bool> {
        const SQL: &str = "update credentials set counter = $2, is_backed_up = $3, last_used_at = $4
             where id = $1 and kind = 'passkey' and (counter < $2 or (counter = 0 and $2 = 0))";
        Ok(execute!(
            self,
            sqlx::query(SQL)
                .bind(id)
                .bind(counter)
                .bind(is_backed_up)
                .bind(now)
        )? == 1)
    }

    /// Renames a passkey of a user. `None` when the user has no such passkey.
    pub async fn rename_passkey(&mut self, user: UserId, id: Uuid, label: &str) -> Result<Option<Passkey>> {
        const SQL: &str = concat!(
            "update credentials set label = $3 where user_id = $1 and id = $2 and kind = 'passkey' returning ",
            columns!()
        );
        on!(
            self,
            sqlx::query_as(SQL).bind(user.0).bind(id).bind(label),
            fetch_optional
        )
    }

    /// Removes a passkey of a user. False when the user has no such passkey.
    pub async fn delete_passkey(&mut self, user: UserId, id: Uuid) -> Result<bool> {
        const SQL: &str = "delete from credentials where user_id = $1 and id = $2 and kind = 'passkey'";
        Ok(execute!(self, sqlx::query(SQL).bind(user.0).bind(id))? == 1)
    }

    /// The hosts and domains other than this one that passkeys are for, with how many, the most first; a few of them.
    pub async fn passkeys_elsewhere(&mut self, rp_id: &str) -> Result<Vec<(String, i64)>> {
        const SQL: &str = "select rp_id, count(*) from credentials where kind = 'passkey' and rp_id <> $1
             group by rp_id order by count(*) desc, rp_id limit 5";
        on!(self, sqlx::query_as(SQL).bind(rp_id), fetch_all)
    }

    /// Records that a challenge was answered, until it is too old anyway; of any number of callers one succeeds.
    pub async fn consume_passkey_challenge(
        &mut self,
        nonce: Uuid,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool> {
        const SQL: &str = "insert into flows (id, kind, sealed, created_at, expires_at, consumed_at)
             values ($1, 'passkey_challenge', $2, $3, $4, $3) on conflict (id) do nothing";
        let recorded = execute!(
            self,
            sqlx::query(SQL).bind(nonce).bind(&b""[..]).bind(now).bind(until)
        )?;
        Ok(recorded == 1)
    }
}
