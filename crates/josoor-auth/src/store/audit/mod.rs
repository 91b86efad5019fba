//! The table `audit`: who did what, in the transaction that did it. Rows are added, each with its code, and removed after the
//! retention time. Of a written row only what is personal can be erased.

mod chain;

pub use chain::{ChainEnd, Seal};
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::audit_codes::AuditKey;
use super::{Conn, execute, from_row, on, store_error};
use crate::domain::{SessionId, Timestamp, UserId};
use crate::error::{Error, Result};

/// The acts that are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audit {
    /// An account was made.
    Register,
    /// Somebody signed in, or failed to.
    SignIn,
    /// A session was ended.
    SessionRevoke,
    /// An old refresh token was presented again.
    RefreshReuse,
    /// A user's name or language was changed.
    UserUpdate,
    /// A user's role was changed.
    RoleChange,
    /// A user was activated or deactivated.
    ActivationChange,
    /// A user was deleted.
    UserDelete,
    /// A deleted user was restored, or a frozen account released.
    UserRestore,
    /// A deleted user was removed for good.
    UserPurge,
    /// The owner's mail ended all that could sign in to an account.
    AccountSecure,
    /// The owner was told of a sign-in from a new device.
    NewDevice,
    /// An administrator made an account and invited its owner.
    UserInvite,
    /// A user was brought in from elsewhere.
    UserImport,
    /// Users or audit rows were written to a file.
    Export,
    /// A link to set a password was asked for, by the owner or an administrator.
    PasswordResetRequest,
    /// A password was set with such a link.
    PasswordReset,
    /// A password was changed by somebody who knew it.
    PasswordChange,
    /// An address was proved.
    EmailVerify,
    /// Another address was asked for.
    EmailChangeRequest,
    /// An account's address was changed.
    EmailChange,
    /// An account's old address was restored.
    EmailChangeUndo,
    /// A known device was forgotten.
    DeviceForget,
    /// A key was made or replaced.
    KeyChange,
    /// The service started with other settings than before.
    ConfigurationChange,
    /// The audit trail began, or a rule for its rows did.
    AuditBoundary,
    /// The audit trail's chain was begun again by an operator.
    AuditRebase,
    /// What is personal was erased from rows of the audit trail.
    AuditErase,
}

impl Audit {
    /// All of them.
    pub const ALL: [Self; 28] = [
        Self::Register,
        Self::SignIn,
        Self::SessionRevoke,
        Self::RefreshReuse,
        Self::UserUpdate,
        Self::RoleChange,
        Self::ActivationChange,
        Self::UserDelete,
        Self::UserRestore,
        Self::UserPurge,
        Self::AccountSecure,
        Self::NewDevice,
        Self::UserInvite,
        Self::UserImport,
        Self::Export,
        Self::PasswordResetRequest,
        Self::PasswordReset,
        Self::PasswordChange,
        Self::EmailVerify,
        Self::EmailChangeRequest,
        Self::EmailChange,
        Self::EmailChangeUndo,
        Self::DeviceForget,
        Self::KeyChange,
        Self::ConfigurationChange,
        Self::AuditBoundary,
        Self::AuditRebase,
        Self::AuditErase,
    ];

    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::SignIn => "sign_in",
            Self::SessionRevoke => "session_revoke",
            Self::RefreshReuse => "refresh_reuse",
            Self::UserUpdate => "user_update",
            Self::RoleChange => "role_change",
            Self::ActivationChange => "activation_change",
            Self::UserDelete => "user_delete",
            Self::UserRestore => "user_restore",
            Self::UserPurge => "user_purge",
            Self::AccountSecure => "account_secure",
            Self::NewDevice => "new_device",
            Self::UserInvite => "user_invite",
            Self::UserImport => "user_import",
            Self::Export => "export",
            Self::PasswordResetRequest => "password_reset_request",
            Self::PasswordReset => "password_reset",
            Self::PasswordChange => "password_change",
            Self::EmailVerify => "email_verify",
            Self::EmailChangeRequest => "email_change_request",
            Self::EmailChange => "email_change",
            Self::EmailChangeUndo => "email_change_undo",
            Self::DeviceForget => "device_forget",
            Self::KeyChange => "key_change",
            Self::ConfigurationChange => "configuration_change",
            Self::AuditBoundary => "audit_boundary",
            Self::AuditRebase => "audit_rebase",
            Self::AuditErase => "audit_erase",
        }
    }
}

/// A row to add.
#[derive(Clone, Copy, Debug)]
pub struct NewAudit<'a> {
    /// When.
    pub at: Timestamp,
    /// What.
    pub action: Audit,
    /// Whether it took place.
    pub succeeded: bool,
    /// Why, where there is a reason to tell.
    pub reason: Option<&'a str>,
    /// Who did it; `None` for the command line and for strangers.
    pub actor: Option<UserId>,
    /// To whom.
    pub subject: Option<UserId>,
    /// The session concerned.
    pub session: Option<SessionId>,
    /// The client's address.
    pub ip: Option<&'a str>,
    /// The client's `User-Agent`.
    pub user_agent: Option<&'a str>,
    /// The request's id.
    pub request_id: Option<&'a str>,
    /// The id that the client gave the request.
    pub client_request_id: Option<&'a str>,
}

impl NewAudit<'_> {
    /// An act of the command line or of the service itself, to be completed.
    pub const fn by_operator(action: Audit, at: Timestamp) -> Self {
        Self {
            at,
            action,
            succeeded: true,
            reason: None,
            actor: None,
            subject: None,
            session: None,
            ip: None,
            user_agent: None,
            request_id: None,
            client_request_id: None,
        }
    }

    /// `success` or `failure`.
    pub const fn outcome(&self) -> &'static str {
        if self.succeeded { "success" } else { "failure" }
    }
}

/// A row, as stored.
#[derive(Clone, Debug)]
pub struct AuditRow {
    /// Grows with the order of writing, and has gaps.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// What; see [`Audit::as_str`].
    pub action: String,
    /// `success` or `failure`.
    pub outcome: String,
    /// Why.
    pub reason: Option<String>,
    /// Who did it.
    pub actor_id: Option<i64>,
    /// To whom.
    pub subject_id: Option<i64>,
    /// The session concerned.
    pub session_id: Option<Uuid>,
    /// The client's address.
    pub ip: Option<String>,
    /// The client's `User-Agent`.
    pub user_agent: Option<String>,
    /// The request's id.
    pub request_id: Option<String>,
    /// The id that the client gave the request.
    pub client_request_id: Option<String>,
    /// The position in the chain, once it is sealed.
    pub seq: Option<i64>,
    /// The code that seals it.
    pub mac: Option<Vec<u8>>,
    /// Names the row in its own code.
    pub nonce: Option<Uuid>,
    /// The row's own code; see [`AuditKey`].
    pub row_mac: Option<Vec<u8>>,
    /// Where that code comes from; see [`MacOrigin`](super::MacOrigin).
    pub mac_origin: i64,
    /// The salt of the commitment to `ip`.
    pub ip_salt: Option<Vec<u8>>,
    /// The commitment itself, once `ip` was erased.
    pub ip_commitment: Option<Vec<u8>>,
    /// The salt of the commitment to `user_agent`.
    pub user_agent_salt: Option<Vec<u8>>,
    /// The commitment itself, once `user_agent` was erased.
    pub user_agent_commitment: Option<Vec<u8>>,
    /// When the sealer refused the row.
    pub refused_at: Option<Timestamp>,
}

from_row!(AuditRow {
    id,
    at,
    action,
    outcome,
    reason,
    actor_id,
    subject_id,
    session_id,
    ip,
    user_agent,
    request_id,
    client_request_id,
    seq,
    mac,
    nonce,
    row_mac,
    mac_origin,
    ip_salt,
    ip_commitment,
    user_agent_salt,
    user_agent_commitment,
    refused_at
});

macro_rules! columns {
    () => {
        "id, at, action, outcome, reason, actor_id, subject_id, session_id, ip, user_agent, request_id, client_request_id, seq, mac, nonce,
         row_mac, mac_origin, ip_salt, ip_commitment, user_agent_salt, user_agent_commitment, refused_at"
    };
}
use columns;

const SELECT: &str = concat!("select ", columns!(), " from audit where true");

/// Which rows a list holds.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// About this user.
    pub subject: Option<UserId>,
    /// By this user.
    pub actor: Option<UserId>,
    /// Only this.
    pub action: Option<Audit>,
    /// `success` or `failure`.
    pub outcome: Option<&'static str>,
    /// From this moment on.
    pub from: Option<Timestamp>,
    /// Before this moment.
    pub to: Option<Timestamp>,
    /// About this session.
    pub session: Option<SessionId>,
    /// From this network address.
    pub ip: Option<String>,
    /// In this request.
    pub request_id: Option<String>,
    /// Only rows with ids above this one.
    pub after: Option<i64>,
}

/// Rows that are written in one statement: 15 values each, far below what both engines take.
const ROWS_AT_ONCE: usize = 500;

/// Builds and runs a statement on either engine.
macro_rules! built {
    ($conn:expr, $head:expr, |$query:ident| $fill:block) => {
        match $conn.raw() {
            super::Raw::Postgres(c) => {
                let mut $query = QueryBuilder::<sqlx::Postgres>::new($head);
                $fill
                $query.build().persistent(false).execute(&mut *c).await.map(drop)
            }
            super::Raw::Sqlite(c) => {
                let mut $query = QueryBuilder::<sqlx::Sqlite>::new($head);
                $fill
                $query.build().persistent(false).execute(&mut *c).await.map(drop)
            }
        }
        .map_err(store_error)
    };
}

impl Conn {
    /// The key that rows are authenticated with.
    pub fn audit_key(&self) -> Result<AuditKey> {
        let key = self.audit.get().cloned();
        key.ok_or_else(|| Error::Internal(anyhow::anyhow!("the key of the audit trail is not loaded")))
    }

    /// Adds a row with its code.
    pub async fn insert_audit(&mut self, new: &NewAudit<'_>) -> Result<()> {
        self.add_audit(new).await.map(drop)
    }

    /// Adds a row with its code, and gives it as it was stored.
    pub async fn insert_audit_row(&mut self, new: &NewAudit<'_>) -> Result<AuditRow> {
        const SQL: &str = concat!("select ", columns!(), " from audit where nonce = $1");
        let nonce = self.add_audit(new).await?;
        on!(self, sqlx::query_as(SQL).bind(nonce), fetch_one)
    }

    async fn add_audit(&mut self, new: &NewAudit<'_>) -> Result<Uuid> {
        const SQL: &str =
            "insert into audit (at, action, outcome, reason, actor_id, subject_id, session_id, ip,
                user_agent, request_id, nonce, row_mac, ip_salt, user_agent_salt, client_request_id)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
        let signed = self.audit_key()?.sign(new);
        execute!(
            self,
            sqlx::query(SQL)
                .bind(new.at)
                .bind(new.action.as_str())
                .bind(new.outcome())
                .bind(new.reason)
                .bind(new.actor.map(|id| id.0))
                .bind(new.subject.map(|id| id.0))
                .bind(new.session.map(|id| id.0))
                .bind(new.ip)
                .bind(new.user_agent)
                .bind(new.request_id)
                .bind(signed.nonce)
                .bind(signed.row_mac.as_slice())
                .bind(signed.ip_salt.as_deref())
                .bind(signed.user_agent_salt.as_deref())
                .bind(new.client_request_id)
        )
        .map(|_| signed.nonce)
    }

    /// Whether the row's actor has done the same to the same account since a time, in the same session or any other. Asked in
    /// the unit of work that has changed the account, so that two at once see each other.
    pub async fn has_done_since(&mut self, new: &NewAudit<'_>, since: Timestamp) -> Result<bool> {
        const SQL: &str = "select id from audit
             where subject_id = $1 and actor_id = $2 and action = $3 and outcome = $4 and at > $5 limit 1";
        let outcome = if new.succeeded { "success" } else { "failure" };
        let row: Option<i64> = on!(
            self,
            sqlx::query_scalar(SQL)
                .bind(new.subject.map(|id| id.0))
                .bind(new.actor.map(|id| id.0))
                .bind(new.action.as_str())
                .bind(outcome)
                .bind(since),
            fetch_optional
        )?;
        Ok(row.is_some())
    }

    /// Adds rows with their codes, several hundred in one statement.
    pub async fn insert_audits(&mut self, rows: &[NewAudit<'_>]) -> Result<()> {
        const INTO: &str =
            "insert into audit (at, action, outcome, reason, actor_id, subject_id, session_id, ip,
                user_agent, request_id, nonce, row_mac, ip_salt, user_agent_salt, client_request_id) ";
        let key = self.audit_key()?;
        for rows in rows.chunks(ROWS_AT_ONCE) {
            let signed: Vec<_> = rows.iter().map(|new| (new, key.sign(new))).collect();
            built!(self, INTO, |query| {
                query.push_values(&signed, |mut row, (new, signed)| {
                    row.push_bind(new.at)
                        .push_bind(new.action.as_str())
                        .push_bind(new.outcome())
                        .push_bind(new.reason)
                        .push_bind(new.actor.map(|id| id.0))
                        .push_bind(new.subject.map(|id| id.0))
                        .push_bind(new.session.map(|id| id.0))
                        .push_bind(new.ip)
                        .push_bind(new.user_agent)
                        .push_bind(new.request_id)
                        .push_bind(signed.nonce)
                        .push_bind(signed.row_mac.as_slice())
                        .push_bind(signed.ip_salt.as_deref())
                        .push_bind(signed.user_agent_salt.as_deref())
                        .push_bind(new.client_request_id);
                });
            })?;
        }
        Ok(())
    }

    /// The id of the latest row of this action that concerns a user.
    pub async fn latest_audit_of(&mut self, subject: UserId, action: Audit) -> Result<Option<i64>> {
        const SQL: &str = "select max(id) from audit where subject_id = $1 and action = $2";
        on!(
            self,
            sqlx::query_scalar(SQL).bind(subject.0).bind(action.as_str()),
            fetch_one
        )
    }

    /// Up to `limit` rows that match, the latest first, with ids below `before`.
    pub async fn list_audit(
        &mut self,
        filter: &AuditFilter,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<AuditRow>> {
        let rows = match self.raw() {
            super::Raw::Postgres(c) => {
                let mut query = QueryBuilder::new(SELECT);
                push_filter(&mut query, filter);
                push_page(&mut query, before, limit);
                query.build_query_as().fetch_all(&mut *c).await
            }
            super::Raw::Sqlite(c) => {
                let mut query = QueryBuilder::new(SELECT);
                push_filter(&mut query, filter);
                push_page(&mut query, before, limit);
                query.build_query_as().fetch_all(&mut *c).await
            }
        };
        rows.map_err(super::store_error)
    }

    /// One page of the rows about a user, or by the user, the latest first; and how many there are, `at_most` counted.
    pub async fn activity_of(
        &mut self,
        user: UserId,
        limit: i64,
        offset: i64,
        at_most: i64,
    ) -> Result<(Vec<AuditRow>, i64)> {
        const COUNT: &str = "select count(*) from
            (select 1 as one from audit where subject_id = $1 limit $2) as counted";
        const PAGE: &str = concat!(
            "select ",
            columns!(),
            " from audit where subject_id = $1 order by id desc limit $2 offset $3"
        );
        let total = on!(
            self,
            sqlx::query_scalar(COUNT).bind(user.0).bind(at_most),
            fetch_one
        )?;
        let rows = on!(
            self,
            sqlx::query_as(PAGE).bind(user.0).bind(limit).bind(offset),
            fetch_all
        )?;
        Ok((rows, total))
    }

    /// The latest row of an action.
    pub async fn last_audit(&mut self, action: Audit) -> Result<Option<AuditRow>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from audit where action = $1 order by id desc limit 1"
        );
        on!(self, sqlx::query_as(SQL).bind(action.as_str()), fetch_optional)
    }

    /// Up to `limit` rows of an action with ids above `after`, in the order of their ids.
    pub async fn audit_of(&mut self, action: Audit, after: i64, limit: i64) -> Result<Vec<AuditRow>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from audit where action = $1 and id > $2 order by id limit $3"
        );
        on!(
            self,
            sqlx::query_as(SQL).bind(action.as_str()).bind(after).bind(limit),
            fetch_all
        )
    }
}

fn push_filter<'a, E>(query: &mut QueryBuilder<E>, filter: &'a AuditFilter)
where
    E: sqlx::Database,
    i64: sqlx::Encode<'a, E> + sqlx::Type<E>,
    &'a str: sqlx::Encode<'a, E> + sqlx::Type<E>,
    Timestamp: sqlx::Encode<'a, E> + sqlx::Type<E>,
    Uuid: sqlx::Encode<'a, E> + sqlx::Type<E>,
{
    if let Some(user) = filter.subject {
        query.push(" and subject_id = ").push_bind(user.0);
    }
    if let Some(user) = filter.actor {
        query.push(" and actor_id = ").push_bind(user.0);
    }
    if let Some(action) = filter.action {
        query.push(" and action = ").push_bind(action.as_str());
    }
    if let Some(outcome) = filter.outcome {
        query.push(" and outcome = ").push_bind(outcome);
    }
    if let Some(from) = filter.from {
        query.push(" and at >= ").push_bind(from);
    }
    if let Some(to) = filter.to {
        query.push(" and at < ").push_bind(to);
    }
    if let Some(session) = filter.session {
        query.push(" and session_id = ").push_bind(session.0);
    }
    if let Some(ip) = &filter.ip {
        query.push(" and ip = ").push_bind(ip.as_str());
    }
    if let Some(request) = &filter.request_id {
        query.push(" and request_id = ").push_bind(request.as_str());
    }
    if let Some(after) = filter.after {
        query.push(" and id > ").push_bind(after);
    }
}

fn push_page<'a, E>(query: &mut QueryBuilder<E>, before: Option<i64>, limit: i64)
where
    E: sqlx::Database,
    i64: sqlx::Encode<'a, E> + sqlx::Type<E>,
{
    if let Some(before) = before {
        query.push(" and id < ").push_bind(before);
    }
    query.push(" order by id desc limit ").push_bind(limit);
}
