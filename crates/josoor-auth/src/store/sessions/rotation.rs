//! Refresh generations and notes of use.

use super::session::{SessionRow, columns};
use crate::domain::{SessionId, Timestamp};
use crate::error::Result;
use crate::store::conn::{Conn, execute, on};
use crate::store::db::Db;

/// A step to the next refresh generation, with what must still be true for it to happen.
#[derive(Debug)]
pub struct Rotation {
    /// The session.
    pub id: SessionId,
    /// The generation that the decision was made on.
    pub from: i64,
    /// Happens only while no access token of `from` was accepted: the current generation is given up unused.
    pub only_if_unused: bool,
    /// Whose place the new generation takes.
    pub replaced: i64,
    /// The remembered generations, after the step.
    pub superseded: String,
    /// Now: `iat` of the new refresh token.
    pub issued_at: Timestamp,
    /// `exp` of the new refresh token and the new idle end.
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
    /// Takes the step, if the session is still as the decision saw it and live. This one statement
    /// decides between any number of refreshes, and between a refresh and a revocation.
    pub async fn rotate_session(&mut self, step: &Rotation) -> Result<Option<SessionRow>> {
        const SQL: &str = concat!(
            "update sessions set generation = generation + 1, generation_issued_at = $3, generation_expires_at = $4,
                idle_expires_at = $4, last_seen_at = case when last_seen_at < $3 then $3 else last_seen_at end, replaced_generation = $5, superseded = $6
             where id = $1 and generation = $2 and revoked_at is null and idle_expires_at > $3
               and (used_generation < $2 or not $7)
             returning ",
            columns!()
        );
        on!(
            self,
            sqlx::query_as(SQL)
                .bind(step.id.0)
                .bind(step.from)
                .bind(step.issued_at)
                .bind(step.idle_expires_at)
                .bind(step.replaced)
                .bind(step.superseded.as_str())
                .bind(step.only_if_unused),
            fetch_optional
        )
    }

    /// Makes the next generation, if `generation` is the current one of a live session, and its memory has less than `capacity`
    /// characters: what most refreshes are, in one statement. `superseding` is appended to the memory.
    pub async fn rotate_current(
        &mut self,
        id: SessionId,
        generation: i64,
        now: Timestamp,
        idle_expires_at: Timestamp,
        superseding: &str,
        capacity: i64,
    ) -> Result<Option<SessionRow>> {
        const SQL: &str = concat!(
            "update sessions set generation = generation + 1, generation_issued_at = $3,
                generation_expires_at = case when $4 < expires_at then $4 else expires_at end,
                idle_expires_at = case when $4 < expires_at then $4 else expires_at end,
                last_seen_at = case when last_seen_at < $3 then $3 else last_seen_at end, replaced_generation = generation,
                superseded = case when superseded = '' then $5 else superseded || ',' || $5 end
             where id = $1 and generation = $2 and revoked_at is null and idle_expires_at > $3 and expires_at > $3
               and length(superseded) < $6
             returning ",
            columns!()
        );
        on!(
            self,
            sqlx::query_as(SQL)
                .bind(id.0)
                .bind(generation)
                .bind(now)
                .bind(idle_expires_at)
                .bind(superseding)
                .bind(capacity),
            fetch_optional
        )
    }

    /// Begins a new generation and retires all before it, used or not. `None` when the session has ended.
    pub async fn retire_generations(
        &mut self,
        id: SessionId,
        now: Timestamp,
        idle_expires_at: Timestamp,
    ) -> Result<Option<SessionRow>> {
        const SQL: &str = concat!(
            "update sessions set retired_generation = generation, generation = generation + 1,
                retirements = retirements + 1,
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
