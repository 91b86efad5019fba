//! Revoking and removing sessions, and the limit of live ones.

use uuid::Uuid;

use super::session::{SessionRow, columns};
use crate::domain::{RevokeReason, SessionId, Timestamp, UserId};
use crate::error::Result;
use crate::store::conn::{Conn, execute, on};

impl Conn {
    /// Revokes a session, if it is live. `None` when it was not.
    pub async fn revoke_session(
        &mut self,
        id: SessionId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<Option<SessionRow>> {
        const SQL: &str = concat!(
            "update sessions set revoked_at = $2, revoke_reason = $3
             where id = $1 and revoked_at is null and expires_at > $2 and idle_expires_at > $2
             returning ",
            columns!()
        );
        on!(
            self,
            sqlx::query_as(SQL).bind(id.0).bind(now).bind(reason.as_str()),
            fetch_optional
        )
    }

    /// Revokes every live session of every user. How many there were.
    pub async fn revoke_every_session(&mut self, reason: RevokeReason, now: Timestamp) -> Result<u64> {
        const SQL: &str = "update sessions set revoked_at = $1, revoke_reason = $2
             where revoked_at is null and expires_at > $1 and idle_expires_at > $1";
        execute!(self, sqlx::query(SQL).bind(now).bind(reason.as_str()))
    }

    /// Revokes a session by a token of it, if it is live and the token's generation is not retired.
    pub async fn revoke_session_by_token(
        &mut self,
        id: SessionId,
        generation: i64,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<Option<SessionRow>> {
        const SQL: &str = concat!(
            "update sessions set revoked_at = $2, revoke_reason = $3
             where id = $1 and revoked_at is null and expires_at > $2 and idle_expires_at > $2 and retired_generation < $4
             returning ",
            columns!()
        );
        on!(
            self,
            sqlx::query_as(SQL)
                .bind(id.0)
                .bind(now)
                .bind(reason.as_str())
                .bind(generation),
            fetch_optional
        )
    }

    /// Revokes all live sessions of a user but, if given, one.
    pub async fn revoke_sessions_of(
        &mut self,
        user: UserId,
        except: Option<SessionId>,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<Vec<SessionRow>> {
        const SQL: &str = concat!(
            "update sessions set revoked_at = $2, revoke_reason = $3
             where user_id = $1 and id <> $4 and revoked_at is null and expires_at > $2 and idle_expires_at > $2
             returning ",
            columns!()
        );
        let except = except.map_or(Uuid::nil(), |id| id.0);
        on!(
            self,
            sqlx::query_as(SQL)
                .bind(user.0)
                .bind(now)
                .bind(reason.as_str())
                .bind(except),
            fetch_all
        )
    }

    /// How many live sessions a user has; counted up to `at_most`.
    pub async fn count_live_sessions_of(
        &mut self,
        user: UserId,
        now: Timestamp,
        at_most: i64,
    ) -> Result<i64> {
        const SQL: &str = "select count(*) from (select 1 from sessions
             where user_id = $1 and revoked_at is null and expires_at > $2 and idle_expires_at > $2 limit $3) as live";
        on!(
            self,
            sqlx::query_scalar(SQL).bind(user.0).bind(now).bind(at_most),
            fetch_one
        )
    }

    /// The live sessions of a user that may be revoked for a new one, up to `limit`: those that were never used first, then those
    /// that were unused for longest; none that was used on a known device since `recent`.
    pub async fn dispensable_sessions(
        &mut self,
        user: UserId,
        now: Timestamp,
        recent: Timestamp,
        limit: i64,
    ) -> Result<Vec<SessionId>> {
        const SQL: &str = "select id from sessions
             where user_id = $1 and revoked_at is null and expires_at > $2 and idle_expires_at > $2
               and not (on_known_device and last_seen_at > $3 and (used_generation > 0 or generation > 1))
             order by case when used_generation = 0 and generation = 1 then 0 else 1 end, last_seen_at, created_at, id
             limit $4";
        let ids: Vec<Uuid> = on!(
            self,
            sqlx::query_scalar(SQL)
                .bind(user.0)
                .bind(now)
                .bind(recent)
                .bind(limit),
            fetch_all
        )?;
        Ok(ids.into_iter().map(SessionId).collect())
    }

    /// Claims the mail that reports too many sessions to the owner of an account: at most one since `before`.
    pub async fn claim_session_limit_mail(
        &mut self,
        user: UserId,
        now: Timestamp,
        before: Timestamp,
    ) -> Result<bool> {
        const SQL: &str = "update users set session_limit_mailed_at = $2
             where id = $1 and (session_limit_mailed_at is null or session_limit_mailed_at <= $3)";
        Ok(execute!(self, sqlx::query(SQL).bind(user.0).bind(now).bind(before))? == 1)
    }

    /// Removes up to `limit` sessions whose absolute end lies before `before`. How many were removed.
    pub async fn purge_sessions(&mut self, before: Timestamp, limit: i64) -> Result<u64> {
        const SQL: &str = "delete from sessions where id in
            (select id from sessions where expires_at < $1 order by expires_at limit $2)";
        execute!(self, sqlx::query(SQL).bind(before).bind(limit))
    }
}
