//! The table `changes`: what every node must apply, written in the transaction of the change.

use uuid::Uuid;

use super::conn::{Conn, execute, on};
use super::row::from_row;
use super::sessions::session::SessionRow;
use crate::domain::{RevokeReason, SessionId, Timestamp, UserId};
use crate::error::Result;

/// One row: a session was revoked, or (without a session) a user was changed or removed.
#[derive(Clone, Debug)]
pub struct Change {
    /// Grows, but not in the order of the commits.
    pub id: i64,
    /// When the act took place.
    pub at: Timestamp,
    user_id: i64,
    session_id: Option<Uuid>,
    /// Why the session was revoked.
    pub reason: Option<RevokeReason>,
    /// Until when a copy of what changed could be considered fresh anywhere.
    pub until: Timestamp,
    retired_session: Option<Uuid>,
    retired_generation: Option<i64>,
}

from_row!(Change as columns {
    id,
    at,
    user_id,
    session_id,
    reason,
    until,
    retired_session,
    retired_generation
});

impl Change {
    /// The user who was changed, or whose session was revoked.
    pub const fn user_id(&self) -> UserId {
        UserId(self.user_id)
    }

    /// The session that was revoked.
    pub fn session_id(&self) -> Option<SessionId> {
        self.session_id.map(SessionId)
    }

    /// The session that goes on with a new generation, and the generation up to which it is retired.
    pub fn retired(&self) -> Option<(SessionId, i64)> {
        Some((SessionId(self.retired_session?), self.retired_generation?))
    }
}

impl Conn {
    /// Records that a session was revoked.
    pub async fn record_revocation(
        &mut self,
        session: &SessionRow,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<()> {
        const SQL: &str =
            "insert into changes (at, user_id, session_id, reason, until) values ($1, $2, $3, $4, $5)";
        let (user, id) = (session.user_id().0, session.id().0);
        execute!(
            self,
            sqlx::query(SQL)
                .bind(now)
                .bind(user)
                .bind(id)
                .bind(reason.as_str())
                .bind(session.expires_at)
        )
        .map(drop)
    }

    /// Records, in one statement, that all sessions of a user were revoked: those that were revoked at `now`.
    pub async fn record_revocations_of(
        &mut self,
        user: UserId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<()> {
        const SQL: &str = "insert into changes (at, user_id, session_id, reason, until)
             select revoked_at, user_id, id, revoke_reason, expires_at from sessions
             where user_id = $1 and revoked_at = $2 and revoke_reason = $3";
        execute!(
            self,
            sqlx::query(SQL).bind(user.0).bind(now).bind(reason.as_str())
        )
        .map(drop)
    }

    /// Records that a user was changed or removed. Copies of it can be considered fresh until `until`.
    pub async fn record_user_change(&mut self, user: UserId, now: Timestamp, until: Timestamp) -> Result<()> {
        const SQL: &str = "insert into changes (at, user_id, until) values ($1, $2, $3)";
        execute!(self, sqlx::query(SQL).bind(now).bind(user.0).bind(until)).map(drop)
    }

    /// Records that a session's generations up to its retired one are rejected from now on. To nodes of older releases the row is
    /// a change of the user.
    pub async fn record_retirement(&mut self, session: &SessionRow, now: Timestamp) -> Result<()> {
        const SQL: &str = "insert into changes (at, user_id, until, retired_session, retired_generation) values ($1, $2, $3, $4, $5)";
        execute!(
            self,
            sqlx::query(SQL)
                .bind(now)
                .bind(session.user_id().0)
                .bind(session.expires_at)
                .bind(session.id().0)
                .bind(session.retired_generation)
        )
        .map(drop)
    }

    /// Up to `limit` changes, by time and id, after the one made at `since` with the id `after`; with 0 for `after`, from
    /// that moment on.
    pub async fn changes_since(&mut self, since: Timestamp, after: i64, limit: i64) -> Result<Vec<Change>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from changes where (at, id) > ($1, $2) order by at, id limit $3"
        );
        on!(
            self,
            sqlx::query_as(SQL).bind(since).bind(after).bind(limit),
            fetch_all
        )
    }

    /// Removes up to `limit` changes that no copy can contradict any more. How many were removed.
    pub async fn purge_changes(&mut self, before: Timestamp, limit: i64) -> Result<u64> {
        const SQL: &str =
            "delete from changes where id in (select id from changes where until < $1 limit $2)";
        execute!(self, sqlx::query(SQL).bind(before).bind(limit))
    }
}
