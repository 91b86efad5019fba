//! The table `one_time_tokens`. The token itself is not in it: it is derived from the row's id under the server-only
//! key, so that who reads the table can redeem nothing.

use uuid::Uuid;

use super::{Conn, execute, from_row, on};
use crate::error::Result;
use crate::types::{Timestamp, UserId};

/// A one-time token, as stored.
#[derive(Clone, Debug)]
pub struct OneTimeToken {
    /// What the token is derived from.
    pub id: Uuid,
    /// What it is good for.
    pub purpose: String,
    user_id: Option<i64>,
    /// Its end.
    pub expires_at: Timestamp,
    /// When it did its work.
    pub used_at: Option<Timestamp>,
}

from_row!(OneTimeToken {
    id,
    purpose,
    user_id,
    expires_at,
    used_at
});

impl OneTimeToken {
    /// Whose it is, if it is anybody's.
    pub fn user_id(&self) -> Option<UserId> {
        self.user_id.map(UserId)
    }
}

impl Conn {
    /// Adds a token.
    pub async fn insert_one_time_token(
        &mut self,
        id: Uuid,
        purpose: &str,
        user: Option<UserId>,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<()> {
        const SQL: &str = "insert into one_time_tokens (id, purpose, user_id, created_at, expires_at)
             values ($1, $2, $3, $4, $5)";
        let user = user.map(|user| user.0);
        execute!(
            self,
            sqlx::query(SQL)
                .bind(id)
                .bind(purpose)
                .bind(user)
                .bind(now)
                .bind(expires_at)
        )
        .map(drop)
    }

    /// The token with this id.
    pub async fn one_time_token(&mut self, id: Uuid) -> Result<Option<OneTimeToken>> {
        const SQL: &str =
            "select id, purpose, user_id, expires_at, used_at from one_time_tokens where id = $1";
        on!(self, sqlx::query_as(SQL).bind(id), fetch_optional)
    }

    /// Uses a token up; of any number of callers one wins.
    pub async fn claim_one_time_token(&mut self, id: Uuid, now: Timestamp) -> Result<bool> {
        const SQL: &str =
            "update one_time_tokens set used_at = $2 where id = $1 and used_at is null and expires_at > $2";
        Ok(execute!(self, sqlx::query(SQL).bind(id).bind(now))? == 1)
    }

    /// Ends every unused token of a purpose that belongs to nobody.
    pub async fn expire_one_time_tokens(&mut self, purpose: &str, now: Timestamp) -> Result<u64> {
        const SQL: &str = "update one_time_tokens set expires_at = $2
             where purpose = $1 and user_id is null and used_at is null and expires_at > $2";
        execute!(self, sqlx::query(SQL).bind(purpose).bind(now))
    }

    /// Removes up to `limit` tokens that ended before `before`. How many went.
    pub async fn purge_one_time_tokens(&mut self, before: Timestamp, limit: i64) -> Result<u64> {
        const SQL: &str = "delete from one_time_tokens where id in
            (select id from one_time_tokens where expires_at < $1 limit $2)";
        execute!(self, sqlx::query(SQL).bind(before).bind(limit))
    }
}
