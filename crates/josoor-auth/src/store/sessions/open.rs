//! Adding and finding sessions.

use sqlx::QueryBuilder;

use super::session::{NewSession, SessionRow, columns};
use crate::domain::{SessionId, Timestamp, UserId};
use crate::error::Result;
use crate::store::conn::{Conn, built, on};

/// The condition of [`LiveSince`] for a user's sessions, with its parameters from `$1` to `$6`.
macro_rules! is_live {
    () => {
        "user_id = $1 and revoked_at is null and expires_at > $2 and idle_expires_at > $2
           and ((acr <> '2' and last_seen_at > $3 and coalesce(auth_time, created_at) > $4)
             or (acr = '2' and last_seen_at > $5 and coalesce(auth_time, created_at) > $6))"
    };
}

macro_rules! bind_live {
    ($query:expr, $user:expr, $live:expr) => {{
        let ([used, used_two], [verified, verified_two]) = ($live.used_after, $live.verified_after);
        let query = $query.bind($user.0).bind($live.now);
        query.bind(used).bind(verified).bind(used_two).bind(verified_two)
    }};
}

impl Conn {
    /// Adds a session.
    pub async fn insert_session(&mut self, new: &NewSession<'_>) -> Result<SessionRow> {
        const SQL: &str = concat!(
            "insert into sessions (id, user_id, created_at, last_seen_at, expires_at, idle_expires_at, ip, user_agent,
                generation, generation_issued_at, generation_expires_at, used_generation, superseded, transport, device_id,
                on_known_device, auth_time, amr, acr)
             values ($1, $2, $3, $3, $4, $5, $6, $7, 1, $3, $14, 0, '', $8, $9, $10, $11, $12, $13)
             returning ",
            columns!()
        );
        on!(
            self,
            sqlx::query_as(SQL)
                .bind(new.id.0)
                .bind(new.user_id.0)
                .bind(new.created_at)
                .bind(new.expires_at)
                .bind(new.idle_expires_at)
                .bind(new.ip)
                .bind(new.user_agent)
                .bind(new.transport.as_str())
                .bind(new.device)
                .bind(new.on_known_device)
                .bind(new.auth_time)
                .bind(new.amr)
                .bind(new.acr)
                .bind(new.refresh_expires_at),
            fetch_one
        )
    }

    /// Records another verification of the user of a session, if the session is live.
    pub async fn record_verification(
        &mut self,
        id: SessionId,
        auth_time: Timestamp,
        amr: &str,
        acr: &str,
        now: Timestamp,
    ) -> Result<Option<SessionRow>> {
        const SQL: &str = concat!(
            "update sessions set auth_time = $2, amr = $3, acr = $4
             where id = $1 and revoked_at is null and expires_at > $5 and idle_expires_at > $5
             returning ",
            columns!()
        );
        on!(
            self,
            sqlx::query_as(SQL)
                .bind(id.0)
                .bind(auth_time)
                .bind(amr)
                .bind(acr)
                .bind(now),
            fetch_optional
        )
    }

    /// The session with this id, live or ended.
    pub async fn session_by_id(&mut self, id: SessionId) -> Result<Option<SessionRow>> {
        const SQL: &str = concat!("select ", columns!(), " from sessions where id = $1");
        on!(self, sqlx::query_as(SQL).bind(id.0), fetch_optional)
    }

    /// The sessions with these ids that are still there, live or ended, in any order.
    pub async fn sessions_by_ids(&mut self, ids: &[SessionId]) -> Result<Vec<SessionRow>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        built!(
            self,
            {
                let mut query =
                    QueryBuilder::new(concat!("select ", columns!(), " from sessions where id in ("));
                let mut list = query.separated(", ");
                for id in ids {
                    list.push_bind(id.0);
                }
                query.push(")");
                query
            },
            // Every length is a statement of its own.
            build_query_as().persistent(false).fetch_all
        )
    }

    /// Users with live sessions, by id after `after`, up to `limit`.
    pub async fn users_with_sessions(
        &mut self,
        after: UserId,
        now: Timestamp,
        limit: i64,
    ) -> Result<Vec<UserId>> {
        const SQL: &str = "select distinct user_id from sessions
             where revoked_at is null and expires_at > $2 and idle_expires_at > $2 and user_id > $1
             order by user_id limit $3";
        let ids: Vec<i64> = on!(
            self,
            sqlx::query_scalar(SQL).bind(after.0).bind(now).bind(limit),
            fetch_all
        )?;
        Ok(ids.into_iter().map(UserId).collect())
    }

    /// A user's live sessions, the latest first; up to 1,001, so that a list of 1,000 knows whether there are more.
    pub async fn live_sessions(&mut self, user: UserId, live: &LiveSince) -> Result<Vec<SessionRow>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from sessions where ",
            is_live!(),
            " order by created_at desc, id limit 1001"
        );
        on!(self, bind_live!(sqlx::query_as(SQL), user, live), fetch_all)
    }

    /// A user's sessions, live or ended, as long as they are kept; the latest first, up to `limit`.
    pub async fn sessions_of(&mut self, user: UserId, limit: i64) -> Result<Vec<SessionRow>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from sessions where user_id = $1 order by created_at desc, id limit $2"
        );
        on!(self, sqlx::query_as(SQL).bind(user.0).bind(limit), fetch_all)
    }

    /// Up to `limit` of a user's live sessions, after `offset` later ones, and how many there are in all.
    pub async fn page_of_live_sessions(
        &mut self,
        user: UserId,
        live: &LiveSince,
        limit: i64,
        offset: i64,
    ) -> Result<SessionPage> {
        const COUNT: &str = concat!(
            "select count(*) from (select 1 as one from sessions where ",
            is_live!(),
            " limit $7) as counted"
        );
        const PAGE: &str = concat!(
            "select ",
            columns!(),
            " from sessions where ",
            is_live!(),
            " order by created_at desc, id limit $7 offset $8"
        );
        let counted: i64 = on!(
            self,
            bind_live!(sqlx::query_scalar(COUNT), user, live).bind(COUNTED + 1),
            fetch_one
        )?;
        let sessions = on!(
            self,
            bind_live!(sqlx::query_as(PAGE), user, live)
                .bind(limit)
                .bind(offset),
            fetch_all
        )?;
        Ok(SessionPage {
            sessions,
            total: counted.min(COUNTED),
            total_is_capped: counted > COUNTED,
        })
    }
}

/// Which sessions of a user are live: by their rows, and by when they were last used and last verified.
#[derive(Clone, Copy, Debug)]
pub struct LiveSince {
    /// Now.
    pub now: Timestamp,
    /// What is used later than this is live; of a session of level 1, and of level 2.
    pub used_after: [Timestamp; 2],
    /// The same of the last interactive verification.
    pub verified_after: [Timestamp; 2],
}

/// More sessions of a user than this are not counted.
const COUNTED: i64 = 10_000;

/// A page of a user's live sessions, the latest first.
#[derive(Clone, Debug)]
pub struct SessionPage {
    /// The sessions.
    pub sessions: Vec<SessionRow>,
    /// How many there are on all pages.
    pub total: i64,
    /// Whether there are more than `total`.
    pub total_is_capped: bool,
}
