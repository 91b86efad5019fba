//! Refresh generations and notes of use.

use super::session::{SessionRow, columns};
use crate::domain::{SessionId, Timestamp, UserId};
use crate::error::Result;
use crate::store::conn::{Conn, execute, on};
use crate::store::db::Db;

/// A step to the next refresh generation, and the state that the session must be in for it.
#[derive(Debug)]
pub struct Rotation<'a> {
    /// The session.
    pub id: SessionId,
    /// Its user.
    pub user: UserId,
    /// The current generation.
    pub from: i64,
    /// Only while no access token of `from` was accepted.
    pub only_if_unused: bool,
    /// The generation that the next one replaces.
    pub replaced: i64,
    /// The remembered generations; `None` for those that the row has.
    pub kept: Option<&'a str>,
    /// The newly superseded generation, to be appended to them.
    pub added: &'a str,
    /// Now: `iat` of the new refresh token.
    pub issued_at: Timestamp,
    /// `exp` of the new refresh token and the new idle end, unless the absolute end comes first.
    pub idle_expires_at: Timestamp,
}

/// That a token of a session was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// The session.
    pub session: SessionId,
    /// The generation of the token.
    pub generation: i64,
    /// When.
    pub at: Timestamp,
}

impl Conn {
    /// Issues the next generation, if the session is live and in the state that was decided on. This one statement decides
    /// between any number of refreshes, and between a refresh and a revocation.
    ///
    /// Of the remembered generations the last 360 characters are kept: more than eight entries of any size, so that an entry
    /// that is cut in two is not among the last eight, which alone are read.
    pub async fn rotate_session(&mut self, step: &Rotation<'_>) -> Result<Option<SessionRow>> {
        const SQL: &str = concat!(
            "update sessions set generation = generation + 1, generation_issued_at = $4,
                generation_expires_at = case when $5 < expires_at then $5 else expires_at end,
                idle_expires_at = case when $5 < expires_at then $5 else expires_at end,
                last_seen_at = case when last_seen_at < $4 then $4 else last_seen_at end, replaced_generation = $6,
                superseded = substr(coalesce($8, superseded), case when length(coalesce($8, superseded)) > 360
                    then length(coalesce($8, superseded)) - 359 else 1 end) || ',' || $9
             where id = $1 and user_id = $2 and generation = $3 and revoked_at is null and idle_expires_at > $4
               and expires_at > $4 and (used_generation < $3 or not $7)
             returning ",
            columns!()
        );
        on!(
            self,
            sqlx::query_as(SQL)
                .bind(step.id.0)
                .bind(step.user.0)
                .bind(step.from)
                .bind(step.issued_at)
                .bind(step.idle_expires_at)
                .bind(step.replaced)
                .bind(step.only_if_unused)
                .bind(step.kept)
                .bind(step.added),
            fetch_optional
        )
    }

    /// Issues a new generation and retires all before it, used or not, after the user was verified again. `None` when the session
    /// has ended.
    pub async fn retire_generations(
        &mut self,
        id: SessionId,
        now: Timestamp,
        idle_expires_at: Timestamp,
    ) -> Result<Option<SessionRow>> {
        const SQL: &str = concat!(
            "update sessions set retired_generation = generation, generation = generation + 1,
                retirements = retirements + 1, auth_time = $2,
                generation_issued_at = $2, generation_expires_at = $3, idle_expires_at = $3,
                last_seen_at = case when last_seen_at < $2 then $2 else last_seen_at end,
                replaced_generation = null, superseded = ''
             where id = $1 and revoked_at is null and idle_expires_at > $2
             returning ",
            columns!()
        );
        on!(
            self,
            sqlx::query_as(SQL).bind(id.0).bind(now).bind(idle_expires_at),
            fetch_optional
        )
    }

    /// Moves the idle end of a live session without a new generation, while `generation` is the current one; never back.
    pub async fn extend_session(
        &mut self,
        id: SessionId,
        generation: i64,
        idle_expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<Option<SessionRow>> {
        const SQL: &str = concat!(
            "update sessions set last_seen_at = case when last_seen_at < $3 then $3 else last_seen_at end,
                idle_expires_at = case when idle_expires_at < $2 then $2 else idle_expires_at end
             where id = $1 and revoked_at is null and idle_expires_at > $3 and generation = $4
             returning ",
            columns!()
        );
        on!(
            self,
            sqlx::query_as(SQL)
                .bind(id.0)
                .bind(idle_expires_at)
                .bind(now)
                .bind(generation),
            fetch_optional
        )
    }

    /// Notes that a token was accepted: moves the last-seen time and the used generation, never back.
    pub async fn touch_session(&mut self, touch: &Touch) -> Result<()> {
        const SQL: &str = "update sessions set
                last_seen_at = case when last_seen_at < $2 then $2 else last_seen_at end,
                used_generation = case when used_generation < $3 and $3 <= generation then $3 else used_generation end
             where id = $1 and revoked_at is null";
        execute!(
            self,
            sqlx::query(SQL)
                .bind(touch.session.0)
                .bind(touch.at)
                .bind(touch.generation)
        )
        .map(drop)
    }
}

impl Db {
    /// Writes notes of use. SQLite gets them in one transaction, which costs one flush to disk instead of many.
    /// PostgreSQL gets each by itself: a transaction that held many rows could meet another, which holds them in
    /// another order.
    pub async fn write_touches(&self, touches: &[Touch]) -> Result<()> {
        let mut conn = match self {
            Self::Postgres(_) => self.write().await?,
            Self::Sqlite { .. } => self.begin().await?,
        };
        for touch in touches {
            conn.touch_session(touch).await?;
        }
        conn.commit().await
    }
}
