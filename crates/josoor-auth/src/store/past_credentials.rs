//! The table `past_credentials`: what an account had until a moment, kept for as long as what happened at that moment can be
//! undone.

use super::conn::{Conn, execute, on};
use super::row::from_row;
use crate::domain::{Timestamp, UserId};
use crate::error::Result;

/// What a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PastKind {
    /// The hash of a password.
    Password,
    /// The epoch of the devices that were known.
    Epoch,
    /// A verified address, as it was typed.
    Address,
}

impl PastKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Epoch => "epoch",
            Self::Address => "address",
        }
    }
}

/// A row.
#[derive(Clone, Debug)]
pub struct PastCredential {
    kind: String,
    /// The hash, the epoch or the address.
    pub value: String,
    /// Until when the account had it.
    pub until: Timestamp,
}

from_row!(PastCredential { kind, value, until });

impl PastCredential {
    /// Whether it is of this kind.
    pub fn is(&self, kind: PastKind) -> bool {
        self.kind == kind.as_str()
    }
}

impl Conn {
    /// Notes what a user had until now. The user is locked.
    pub async fn insert_past_credential(
        &mut self,
        user: UserId,
        kind: PastKind,
        value: &str,
        until: Timestamp,
        recovers: bool,
    ) -> Result<()> {
        const SQL: &str = "insert into past_credentials (user_id, kind, value, until, recovers)
             values ($1, $2, $3, $4, $5)";
        execute!(
            self,
            sqlx::query(SQL)
                .bind(user.0)
                .bind(kind.as_str())
                .bind(value)
                .bind(until)
                .bind(recovers)
        )
        .map(drop)
    }

    /// What a user had until a moment after `since`, the earliest first.
    pub async fn past_credentials(&mut self, user: UserId, since: Timestamp) -> Result<Vec<PastCredential>> {
        const SQL: &str = "select kind, value, until from past_credentials
             where user_id = $1 and until > $2 order by until, id limit 1000";
        on!(self, sqlx::query_as(SQL).bind(user.0).bind(since), fetch_all)
    }

    /// What recovers a user's frozen account.
    pub async fn recovering_credentials(&mut self, user: UserId) -> Result<Vec<PastCredential>> {
        const SQL: &str = "select kind, value, until from past_credentials
             where user_id = $1 and recovers order by until, id limit 1000";
        on!(self, sqlx::query_as(SQL).bind(user.0), fetch_all)
    }

    /// Decides what recovers a user's account: what it had until one of two moments. What it had later goes, and what
    /// recovered the account before recovers it no more.
    pub async fn choose_recovering_credentials(
        &mut self,
        user: UserId,
        established: Timestamp,
        changed: Timestamp,
    ) -> Result<()> {
        const LATER: &str = "delete from past_credentials where user_id = $1 and until > $2";
        const CHOOSE: &str = "update past_credentials set recovers = (until = $2 or until = $3)
             where user_id = $1";
        execute!(self, sqlx::query(LATER).bind(user.0).bind(changed))?;
        execute!(
            self,
            sqlx::query(CHOOSE).bind(user.0).bind(established).bind(changed)
        )
        .map(drop)
    }

    /// Removes all that is kept of a user's past.
    pub async fn delete_past_credentials(&mut self, user: UserId) -> Result<u64> {
        const SQL: &str = "delete from past_credentials where user_id = $1";
        execute!(self, sqlx::query(SQL).bind(user.0))
    }

    /// Removes up to `limit` rows that ended before `before` and recover nothing. How many went.
    pub async fn purge_past_credentials(&mut self, before: Timestamp, limit: i64) -> Result<u64> {
        const SQL: &str = "delete from past_credentials where id in
            (select id from past_credentials where until < $1 and not recovers limit $2)";
        execute!(self, sqlx::query(SQL).bind(before).bind(limit))
    }
}
