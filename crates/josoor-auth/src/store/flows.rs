//! The table `flows`: what is half done in a browser or another client. Any node serves the next step.

use uuid::Uuid;

use super::conn::{Conn, execute, on};
use super::row::from_row;
use crate::domain::{SessionId, Timestamp, UserId};
use crate::error::Result;

/// What is half done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum FlowKind {
    /// A sign-in that waits for its second factor.
    SignIn,
    /// The enrolment of an authenticator app that waits for its first code.
    EnrollTotp,
    /// The registration of a passkey that waits for it.
    EnrollPasskey,
    /// A sign-in that waits for the code of a mail.
    MailCode,
    /// A session whose user waits for the code of a mail.
    StepUp,
}

impl FlowKind {
    /// As stored.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// A flow to add.
#[derive(Debug)]
pub struct NewFlow<'a> {
    /// Fresh.
    pub id: Uuid,
    /// What is half done.
    pub kind: FlowKind,
    /// What the client that began it is known by.
    pub client_mac: Option<&'a [u8]>,
    /// Whose it is.
    pub user: UserId,
    /// The user's version: a later one ends the flow.
    pub user_version: i64,
    /// The session that began it.
    pub session: Option<SessionId>,
    /// What was verified, sealed.
    pub sealed: &'a [u8],
    /// Now.
    pub created_at: Timestamp,
    /// Its end.
    pub expires_at: Timestamp,
}

/// A flow, as stored.
#[derive(Clone, Debug)]
pub struct FlowRow {
    /// The flow.
    pub id: Uuid,
    kind: String,
    /// What the client that began it is known by.
    pub client_mac: Option<Vec<u8>>,
    user_id: Option<i64>,
    /// The user's version when it began.
    pub user_version: Option<i64>,
    /// What was verified, sealed.
    pub sealed: Vec<u8>,
    attempts: i64,
    /// When it began.
    pub created_at: Timestamp,
    expires_at: Timestamp,
    consumed_at: Option<Timestamp>,
}

from_row!(FlowRow as columns {
    id,
    kind,
    client_mac,
    user_id,
    user_version,
    sealed,
    attempts,
    created_at,
    expires_at,
    consumed_at
});

impl FlowRow {
    /// Whose it is.
    pub fn user_id(&self) -> Option<UserId> {
        self.user_id.map(UserId)
    }

    /// Whether it is of this kind and goes on after fewer than `attempts_at_most` attempts.
    pub fn is_open(&self, kind: FlowKind, attempts_at_most: i64, now: Timestamp) -> bool {
        self.kind == kind.as_str()
            && self.consumed_at.is_none()
            && self.attempts < attempts_at_most
            && now < self.expires_at
    }
}

impl Conn {
    /// Adds a flow.
    pub async fn insert_flow(&mut self, new: &NewFlow<'_>) -> Result<()> {
        const SQL: &str =
            "insert into flows (id, kind, client_mac, user_id, user_version, session_id, sealed, created_at, expires_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        execute!(
            self,
            sqlx::query(SQL)
                .bind(new.id)
                .bind(new.kind.as_str())
                .bind(new.client_mac)
                .bind(new.user.0)
                .bind(new.user_version)
                .bind(new.session.map(|session| session.0))
                .bind(new.sealed)
                .bind(new.created_at)
                .bind(new.expires_at)
        )
        .map(drop)
    }

    /// Adds a flow that waits for the code of a mail to this address, of which it is not known whether it has an account.
    pub async fn insert_mail_flow(
        &mut self,
        id: Uuid,
        client_mac: &[u8],
        email_key: &str,
        sealed: &[u8],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<()> {
        const SQL: &str =
            "insert into flows (id, kind, client_mac, email_key, sealed, created_at, expires_at)
             values ($1, $2, $3, $4, $5, $6, $7)";
        execute!(
            self,
            sqlx::query(SQL)
                .bind(id)
                .bind(FlowKind::MailCode.as_str())
                .bind(client_mac)
                .bind(email_key)
                .bind(sealed)
                .bind(now)
                .bind(until)
        )
        .map(drop)
    }

    /// The flow with this id.
    pub async fn flow(&mut self, id: Uuid) -> Result<Option<FlowRow>> {
        const SQL: &str = concat!("select ", columns!(), " from flows where id = $1");
        on!(self, sqlx::query_as(SQL).bind(id), fetch_optional)
    }

    /// The latest flow of a kind that a session has begun and that was not consumed.
    pub async fn flow_of_session(&mut self, session: SessionId, kind: FlowKind) -> Result<Option<FlowRow>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from flows where session_id = $1 and kind = $2 and consumed_at is null
              order by created_at desc, id limit 1"
        );
        on!(
            self,
            sqlx::query_as(SQL).bind(session.0).bind(kind.as_str()),
            fetch_optional
        )
    }

    /// Counts an attempt; `None` when the flow is over, or had `at_most` before. Gives how many there are now.
    pub async fn count_flow_attempt(
        &mut self,
        id: Uuid,
        at_most: i64,
        now: Timestamp,
    ) -> Result<Option<i64>> {
        const SQL: &str = "update flows set attempts = attempts + 1
             where id = $1 and consumed_at is null and expires_at > $3 and attempts < $2
             returning attempts";
        on!(
            self,
            sqlx::query_scalar(SQL).bind(id).bind(at_most).bind(now),
            fetch_optional
        )
    }

    /// Ends a flow; of any number of callers one wins.
    pub async fn consume_flow(&mut self, id: Uuid, now: Timestamp) -> Result<bool> {
        const SQL: &str =
            "update flows set consumed_at = $2 where id = $1 and consumed_at is null and expires_at > $2";
        Ok(execute!(self, sqlx::query(SQL).bind(id).bind(now))? == 1)
    }

    /// Ends all flows of one kind of a user.
    pub async fn end_flows(&mut self, user: UserId, kind: FlowKind, now: Timestamp) -> Result<()> {
        const SQL: &str =
            "update flows set consumed_at = $3 where user_id = $1 and kind = $2 and consumed_at is null";
        execute!(self, sqlx::query(SQL).bind(user.0).bind(kind.as_str()).bind(now)).map(drop)
    }

    /// Removes up to `limit` flows that ended before a time. How many went.
    pub async fn purge_flows(&mut self, before: Timestamp, limit: i64) -> Result<u64> {
        const SQL: &str = "delete from flows where id in (select id from flows where expires_at < $1 order by expires_at limit $2)";
        execute!(self, sqlx::query(SQL).bind(before).bind(limit))
    }
}
