//! The table `audit`: who did what, in the transaction that did it. Rows are added, each with its code, and removed after the
//! retention time. Of a written row only what is personal can be erased.

use sqlx::QueryBuilder;
use uuid::Uuid;

use super::audit_codes::{AuditKey, Blanked, Signed};
use super::{Conn, Db, execute, from_row, on, store_error};
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

/// A row's place in the chain.
#[derive(Clone, Debug)]
pub struct Seal {
    /// The row.
    pub id: i64,
    /// Its position.
    pub seq: i64,
    /// The code of the position.
    pub mac: [u8; 32],
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

/// An end of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainEnd {
    /// The position of the row.
    pub seq: i64,
    /// Its code.
    pub mac: Vec<u8>,
    /// Authenticates this end.
    pub tag: Vec<u8>,
}

from_row!(ChainEnd { seq, mac, tag });

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

    /// Up to `limit` rows that are not in the chain yet and were not refused, in the order of their ids.
    pub async fn unsealed_audit(&mut self, limit: i64) -> Result<Vec<AuditRow>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from audit where seq is null and refused_at is null order by id limit $1"
        );
        on!(self, sqlx::query_as(SQL).bind(limit), fetch_all)
    }

    /// Up to `limit` rows with ids above `after` that are not in the chain, refused or not, in the order of their ids.
    pub async fn unchained_audit(&mut self, after: i64, limit: i64) -> Result<Vec<AuditRow>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from audit where seq is null and id > $1 order by id limit $2"
        );
        on!(self, sqlx::query_as(SQL).bind(after).bind(limit), fetch_all)
    }

    /// Up to `limit` ids of rows that were refused.
    pub async fn refused_audit(&mut self, limit: i64) -> Result<Vec<i64>> {
        const SQL: &str = "select id from audit where refused_at is not null order by id limit $1";
        on!(self, sqlx::query_scalar(SQL).bind(limit), fetch_all)
    }

    /// The row at a position.
    pub async fn audit_at(&mut self, seq: i64) -> Result<Option<AuditRow>> {
        const SQL: &str = concat!("select ", columns!(), " from audit where seq = $1");
        on!(self, sqlx::query_as(SQL).bind(seq), fetch_optional)
    }

    /// The last position that a row has.
    pub async fn last_audit_position(&mut self) -> Result<i64> {
        const SQL: &str = "select coalesce(max(seq), 0) from audit";
        on!(self, sqlx::query_scalar(SQL), fetch_one)
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

    /// Up to `limit` sealed rows about a person that hold something personal, in the order of the chain: acts of the
    /// person, and acts of strangers on the person's account. Other people's acts hold what is theirs.
    pub async fn personal_audit_of(&mut self, user: UserId, limit: i64) -> Result<Vec<AuditRow>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from audit where (actor_id = $1 or (actor_id is null and subject_id = $1))
                and seq is not null and (ip is not null or user_agent is not null or ip_salt is not null
                    or user_agent_salt is not null)
             order by seq limit $2"
        );
        on!(self, sqlx::query_as(SQL).bind(user.0).bind(limit), fetch_all)
    }

    /// How many rows about a person, as in [`personal_audit_of`](Self::personal_audit_of), are not in the chain.
    pub async fn count_unsealed_of(&mut self, user: UserId) -> Result<i64> {
        const SQL: &str = "select count(*) from audit where seq is null
             and (actor_id = $1 or (actor_id is null and subject_id = $1))
             and (ip is not null or user_agent is not null)";
        on!(self, sqlx::query_scalar(SQL).bind(user.0), fetch_one)
    }

    /// How many rows after a position got their code from the sealer.
    pub async fn count_adopted(&mut self, after: i64) -> Result<i64> {
        const SQL: &str = "select count(*) from audit where seq > $1 and mac_origin = 1";
        on!(self, sqlx::query_scalar(SQL).bind(after), fetch_one)
    }

    /// Whether a row that is due since `before` is not in the chain.
    pub async fn has_late_audit(&mut self, before: Timestamp) -> Result<bool> {
        const SQL: &str = "select id from audit where seq is null and refused_at is null and at < $1 limit 1";
        let late: Option<i64> = on!(self, sqlx::query_scalar(SQL).bind(before), fetch_optional)?;
        Ok(late.is_some())
    }

    /// Marks rows that this service did not write.
    pub async fn refuse_audit(&mut self, ids: &[i64], now: Timestamp) -> Result<()> {
        for id in ids {
            const SQL: &str = "update audit set refused_at = $2 where id = $1 and seq is null";
            execute!(self, sqlx::query(SQL).bind(*id).bind(now))?;
        }
        Ok(())
    }

    /// Gives rows that were written without a code, or refused, the one that the sealer made for them.
    pub async fn adopt_audit(&mut self, rows: &[(i64, Signed)]) -> Result<()> {
        for (id, signed) in rows {
            const SQL: &str = "update audit set nonce = $2, row_mac = $3, mac_origin = 1, ip_salt = $4,
                    user_agent_salt = $5, refused_at = null,
                    ip_commitment = case when ip is null then ip_commitment end,
                    user_agent_commitment = case when user_agent is null then user_agent_commitment end
                 where id = $1 and seq is null";
            execute!(
                self,
                sqlx::query(SQL)
                    .bind(*id)
                    .bind(signed.nonce)
                    .bind(signed.row_mac.as_slice())
                    .bind(signed.ip_salt.as_deref())
                    .bind(signed.user_agent_salt.as_deref())
            )?;
        }
        Ok(())
    }

    /// Takes what is personal out of rows.
    pub async fn blank_audit(&mut self, rows: &[Blanked]) -> Result<()> {
        for row in rows {
            const SQL: &str =
                "update audit set ip = null, ip_salt = null, user_agent = null, user_agent_salt = null,
                    ip_commitment = $2, user_agent_commitment = $3, nonce = $4, row_mac = $5, mac_origin = $6
                 where id = $1";
            execute!(
                self,
                sqlx::query(SQL)
                    .bind(row.id)
                    .bind(row.ip_commitment.as_deref())
                    .bind(row.user_agent_commitment.as_deref())
                    .bind(row.nonce)
                    .bind(row.row_mac.as_deref())
                    .bind(row.origin)
            )?;
        }
        Ok(())
    }

    /// Begins the trail, once for all nodes and for good. Whether it was this call.
    pub async fn pass_audit_begin(&mut self) -> Result<bool> {
        const SQL: &str = "update guards set passes = 1 where name = 'audit-begin' and passes = 0";
        Ok(execute!(self, sqlx::query(SQL))? == 1)
    }

    /// Nonces that several rows have. Only asked when [`Db::has_audit_index`] does not hold.
    pub async fn repeated_audit(&mut self) -> Result<Vec<i64>> {
        const SQL: &str =
            "select max(id) from audit where nonce is not null group by nonce having count(*) > 1 limit 100";
        on!(self, sqlx::query_scalar(SQL), fetch_all)
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

    /// Puts rows into the chain.
    pub async fn seal_audit(&mut self, seals: &[Seal]) -> Result<u64> {
        fn push<'a, E>(query: &mut QueryBuilder<E>, seals: &'a [Seal])
        where
            E: sqlx::Database,
            i64: sqlx::Encode<'a, E> + sqlx::Type<E>,
            &'a [u8]: sqlx::Encode<'a, E> + sqlx::Type<E>,
        {
            query.push_values(seals, |mut row, seal| {
                row.push_bind(seal.id)
                    .push_bind(seal.seq)
                    .push_bind(seal.mac.as_slice());
            });
            query.push(") as sealed where audit.id = sealed.column1 and audit.seq is null");
        }
        // The columns of a bare `values` have these names in both engines.
        const HEAD: &str =
            "update audit set seq = sealed.column2, mac = sealed.column3, refused_at = null from (";
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

impl Db {
    /// How many connections nodes of the version before have to this database. They write rows without a code.
    pub async fn count_previous_connections(&self) -> Result<i64> {
        // A session of another role shows its name to none but superusers; nodes share a role.
        const SQL: &str = "select count(*) from pg_stat_activity
             where datname = current_database() and application_name = 'josoor-auth'";
        match self {
            Self::Postgres(pool) => sqlx::query_scalar(SQL)
                .fetch_one(&**pool)
                .await
                .map_err(store_error),
            Self::Sqlite { .. } => Ok(0),
        }
    }

    /// Whether the index is there that admits no nonce twice.
    pub async fn has_audit_index(&self) -> Result<bool> {
        const POSTGRES: &str = "select count(*) from pg_index
             where indexrelid = to_regclass('audit_nonce') and indrelid = to_regclass('audit') and indisunique
                and indisvalid and indpred is null and indexprs is null and indnkeyatts = 1
                and pg_get_indexdef(indexrelid, 1, false) = 'nonce'";
        const SQLITE: &str = "select count(*) from pragma_index_list('audit') as list, pragma_index_info(list.name) as info
             where list.name = 'audit_nonce' and list.\"unique\" = 1 and list.partial = 0 and info.name = 'nonce'
                and (select count(*) from pragma_index_info('audit_nonce')) = 1";
        let found: i64 = match self {
            Self::Postgres(pool) => sqlx::query_scalar(POSTGRES).fetch_one(&**pool).await,
            Self::Sqlite { readers, .. } => sqlx::query_scalar(SQLITE).fetch_one(readers).await,
        }
        .map_err(store_error)?;
        Ok(found == 1)
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
