//! Refresh generations and notes of use.

use uuid::Uuid;

use super::session::{SessionRow, columns};
use crate::domain::{SessionId, Timestamp, UserId};
use crate::error::Result;
use crate::store::conn::{Conn, Raw, answered, execute, on, place};
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
    /// `exp` of the new refresh token, unless the absolute end comes first.
    pub refresh_expires_at: Timestamp,
    /// The new idle end, unless the absolute end comes first.
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
    /// The idle end after this use, unless the absolute end comes first.
    pub idle_expires_at: Timestamp,
}

/// What a use of a session changes: at this time, of this generation, with this idle end.
macro_rules! touched {
    ($at:literal, $generation:literal, $idle_end:literal) => {
        concat!(
            "last_seen_at = case when last_seen_at < ",
            $at,
            " then ",
            $at,
            " else last_seen_at end,
                used_generation = case when used_generation < ",
            $generation,
            " and ",
            $generation,
            " <= generation
                    then ",
            $generation,
            " else used_generation end,
                idle_expires_at = case when idle_expires_at <= ",
            $at,
            " or ",
            $idle_end,
            " <= idle_expires_at
                    then idle_expires_at when ",
            $idle_end,
            " < expires_at then ",
            $idle_end,
            " else expires_at end"
        )
    };
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
                generation_expires_at = case when $10 < expires_at then $10 else expires_at end,
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
                .bind(step.added)
                .bind(step.refresh_expires_at),
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
        refresh_expires_at: Timestamp,
    ) -> Result<Option<SessionRow>> {
        const SQL: &str = concat!(
            "update sessions set retired_generation = generation, generation = generation + 1,
                retirements = retirements + 1, auth_time = $2,
                generation_issued_at = $2,
                generation_expires_at = case when $4 < expires_at then $4 else expires_at end,
                idle_expires_at = case when $3 < expires_at then $3 else expires_at end,
                last_seen_at = case when last_seen_at < $2 then $2 else last_seen_at end,
                replaced_generation = null, superseded = ''
             where id = $1 and revoked_at is null and idle_expires_at > $2
             returning ",
            columns!()
        );
        on!(
            self,
            sqlx::query_as(SQL)
                .bind(id.0)
                .bind(now)
                .bind(idle_expires_at)
                .bind(refresh_expires_at),
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

    /// Notes that a token was accepted: moves the last-seen time, the used generation and, if the session was live then, its
    /// idle end; never back.
    pub async fn touch_session(&mut self, touch: &Touch) -> Result<()> {
        const SQL: &str = concat!(
            "update sessions set ",
            touched!("$2", "$3", "$4"),
            " where id = $1 and revoked_at is null"
        );
        execute!(
            self,
            sqlx::query(SQL)
                .bind(touch.session.0)
                .bind(touch.at)
                .bind(touch.generation)
                .bind(touch.idle_expires_at)
        )
        .map(drop)
    }

    /// Does what [`touch_session`](Self::touch_session) does for many sessions in one statement, as far as it locks their rows
    /// without waiting: a statement that waits and holds many rows could meet another, which holds them in another order. Gives
    /// the sessions that it has written. Only on PostgreSQL; with SQLite a statement for each costs nothing more.
    async fn touch_free_sessions(&mut self, touches: &[Touch]) -> Result<Vec<Uuid>> {
        const SQL: &str = concat!(
            "with given as (select * from unnest($1::uuid[], $2::timestamptz[], $3::bigint[], $4::timestamptz[])
                    as given (session, used_at, used, idle_end)),
                free as (select id from sessions join given on id = session
                    where revoked_at is null for no key update of sessions skip locked)
             update sessions set ",
            touched!("given.used_at", "given.used", "given.idle_end"),
            " from given, free where sessions.id = given.session and free.id = given.session returning sessions.id"
        );
        let times = |time: fn(&Touch) -> Timestamp| -> Vec<_> {
            touches.iter().map(|touch| time(touch).to_offset()).collect()
        };
        let is_named = self.enter().await?;
        let done = match self.raw(place!()) {
            Raw::Postgres(conn) => {
                let query = sqlx::query_scalar(SQL)
                    .persistent(is_named)
                    .bind(touches.iter().map(|touch| touch.session.0).collect::<Vec<_>>())
                    .bind(times(|touch| touch.at))
                    .bind(touches.iter().map(|touch| touch.generation).collect::<Vec<_>>())
                    .bind(times(|touch| touch.idle_expires_at));
                answered(query.fetch_all(&mut *conn)).await
            }
            Raw::Sqlite(_) => Ok(Vec::new()),
        };
        self.finish(done).await
    }
}

impl Db {
    /// Writes notes of use, one for each session. SQLite gets them in one transaction, which costs one flush to disk instead of
    /// many. PostgreSQL gets them in one statement, and those whose rows others hold each by itself.
    pub async fn write_touches(&self, touches: &[Touch]) -> Result<()> {
        let mut conn = match self {
            Self::Postgres(_) => self.write().await?,
            Self::Sqlite { .. } => self.begin().await?,
        };
        let written = conn.touch_free_sessions(touches).await?;
        for touch in touches {
            if !written.contains(&touch.session.0) {
                conn.touch_session(touch).await?;
            }
        }
        conn.commit().await
    }
}
