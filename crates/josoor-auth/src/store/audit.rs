//! The table `audit`: who did what, in the transaction that did it. Rows are added and, after the retention time,
//! removed; never changed.

use sqlx::QueryBuilder;
use uuid::Uuid;

use super::{Conn, execute, from_row, on};
use crate::error::Result;
use crate::types::{SessionId, Timestamp, UserId};

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
}

impl Audit {
    /// All of them.
    pub const ALL: [Self; 25] = [
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
        }
    }
}

/// A row to add.
#[derive(Debug)]
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
    /// The position in the chain, once it is sealed.
    pub seq: Option<i64>,
    /// The code that seals it.
    pub mac: Option<Vec<u8>>,
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
    seq,
    mac
});

macro_rules! columns {
    () => {
        "id, at, action, outcome, reason, actor_id, subject_id, session_id, ip, user_agent, request_id, seq, mac"
    };
}

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

/// An end of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainEnd {
    /// The position of the row.
    pub seq: i64,
    /// Its code.
    pub mac: Vec<u8>,
    /// Proves that the service has set this end itself.
    pub tag: Vec<u8>,
}

from_row!(ChainEnd { seq, mac, tag });

impl Conn {
    /// Adds a row.
    pub async fn insert_audit(&mut self, new: &NewAudit<'_>) -> Result<()> {
        const SQL: &str =
            "insert into audit (at, action, outcome, reason, actor_id, subject_id, session_id, ip,
                user_agent, request_id)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        let outcome = if new.succeeded { "success" } else { "failure" };
        execute!(
            self,
            sqlx::query(SQL)
                .bind(new.at)
                .bind(new.action.as_str())
                .bind(outcome)
                .bind(new.reason)
                .bind(new.actor.map(|id| id.0))
                .bind(new.subject.map(|id| id.0))
                .bind(new.session.map(|id| id.0))
                .bind(new.ip)
                .bind(new.user_agent)
                .bind(new.request_id)
        )
        .map(drop)
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

    /// Adds a row like `new` for each session of `user` that was ended at its time for its reason, in one statement.
    pub async fn insert_audit_of_ended(&mut self, user: UserId, new: &NewAudit<'_>) -> Result<()> {
        const SQL: &str =
            "insert into audit (at, action, outcome, reason, actor_id, subject_id, session_id, ip,
                user_agent, request_id)
             select revoked_at, $3, 'success', revoke_reason, $5, user_id, id, $6, $7, $8 from sessions
             where user_id = $1 and revoked_at = $2 and revoke_reason = $4";
        execute!(
            self,
            sqlx::query(SQL)
                .bind(user.0)
                .bind(new.at)
                .bind(new.action.as_str())
                .bind(new.reason)
                .bind(new.actor.map(|id| id.0))
                .bind(new.ip)
                .bind(new.user_agent)
                .bind(new.request_id)
        )
        .map(drop)
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

    /// Up to `limit` rows that are not in the chain yet, in the order of their ids.
    pub async fn unsealed_audit(&mut self, limit: i64) -> Result<Vec<AuditRow>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from audit where seq is null order by id limit $1"
        );
        on!(self, sqlx::query_as(SQL).bind(limit), fetch_all)
    }

    /// Up to `limit` rows of the chain after a position, in its order.
    pub async fn sealed_audit(&mut self, after: i64, limit: i64) -> Result<Vec<AuditRow>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from audit where seq > $1 order by seq limit $2"
        );
        on!(self, sqlx::query_as(SQL).bind(after).bind(limit), fetch_all)
    }

    /// Up to `limit` rows at or before a position that should have been removed when the anchor moved past them.
    pub async fn audit_before_anchor(&mut self, seq: i64, limit: i64) -> Result<Vec<AuditRow>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from audit where seq <= $1 order by seq limit $2"
        );
        on!(self, sqlx::query_as(SQL).bind(seq).bind(limit), fetch_all)
    }

    /// Puts rows into the chain: id, position and code of each.
    pub async fn seal_audit(&mut self, seals: &[(i64, i64, [u8; 32])]) -> Result<u64> {
        fn push<'a, E>(query: &mut QueryBuilder<E>, seals: &'a [(i64, i64, [u8; 32])])
        where
            E: sqlx::Database,
            i64: sqlx::Encode<'a, E> + sqlx::Type<E>,
            &'a [u8]: sqlx::Encode<'a, E> + sqlx::Type<E>,
        {
            query.push_values(seals, |mut row, (id, seq, mac)| {
                row.push_bind(*id).push_bind(*seq).push_bind(mac.as_slice());
            });
            query.push(") as sealed where audit.id = sealed.column1 and audit.seq is null");
        }
        // The columns of a bare `values` have these names in both engines.
        const HEAD: &str = "update audit set seq = sealed.column2, mac = sealed.column3 from (";
        if seals.is_empty() {
            return Ok(0);
        }
        match self.raw() {
            super::Raw::Postgres(c) => {
                let mut query = QueryBuilder::new(HEAD);
                push(&mut query, seals);
                query
                    .build()
                    .execute(&mut *c)
                    .await
                    .map(|done| done.rows_affected())
            }
            super::Raw::Sqlite(c) => {
                let mut query = QueryBuilder::new(HEAD);
                push(&mut query, seals);
                query
                    .build()
                    .execute(&mut *c)
                    .await
                    .map(|done| done.rows_affected())
            }
        }
        .map_err(super::store_error)
    }

    /// An end of the chain: `head` or `anchor`.
    pub async fn chain_end(&mut self, name: &str) -> Result<Option<ChainEnd>> {
        const SQL: &str = "select seq, mac, tag from audit_chain where name = $1";
        on!(self, sqlx::query_as(SQL).bind(name), fetch_optional)
    }

    /// Moves an end of the chain, if it still stands at `from` (0: there is none yet). Whether it did.
    pub async fn move_chain_end(&mut self, name: &str, from: i64, to: &ChainEnd) -> Result<bool> {
        const INSERT: &str = "insert into audit_chain (name, seq, mac, tag) values ($1, 0, $2, $2)
             on conflict (name) do nothing";
        const MOVE: &str = "update audit_chain set seq = $3, mac = $4, tag = $5 where name = $1 and seq = $2";
        if from == 0 {
            let nothing: &[u8] = &[];
            execute!(self, sqlx::query(INSERT).bind(name).bind(nothing))?;
        }
        Ok(execute!(
            self,
            sqlx::query(MOVE)
                .bind(name)
                .bind(from)
                .bind(to.seq)
                .bind(to.mac.as_slice())
                .bind(to.tag.as_slice())
        )? == 1)
    }

    /// Removes the rows of the chain up to a position. How many went.
    pub async fn delete_audit_through(&mut self, seq: i64) -> Result<u64> {
        const SQL: &str = "delete from audit where seq <= $1";
        execute!(self, sqlx::query(SQL).bind(seq))
    }

    /// Takes work on for all nodes until `until`, or goes on with it. Whether it is this node's.
    pub async fn take_lease(
        &mut self,
        name: &str,
        holder: Uuid,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool> {
        const SQL: &str = "insert into leases (name, holder, until) values ($1, $2, $4)
             on conflict (name) do update set holder = excluded.holder, until = excluded.until
             where leases.holder = $2 or leases.until <= $3";
        Ok(execute!(
            self,
            sqlx::query(SQL).bind(name).bind(holder).bind(now).bind(until)
        )? == 1)
    }

    /// Gives work back before its time.
    pub async fn drop_lease(&mut self, name: &str, holder: Uuid) -> Result<()> {
        const SQL: &str = "delete from leases where name = $1 and holder = $2";
        execute!(self, sqlx::query(SQL).bind(name).bind(holder)).map(drop)
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
