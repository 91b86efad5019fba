//! The table `audit`: who did what, in the transaction that did it. Rows are added and, after the retention time,
//! removed; never changed.

use super::{Conn, execute};
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
    /// A key was made or replaced.
    KeyChange,
    /// The service started with other settings than before.
    ConfigurationChange,
}

impl Audit {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Register,
        Self::SignIn,
        Self::SessionRevoke,
        Self::RefreshReuse,
        Self::UserUpdate,
        Self::RoleChange,
        Self::ActivationChange,
        Self::UserDelete,
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

    /// Removes up to `limit` rows older than `before`. How many went.
    pub async fn purge_audit(&mut self, before: Timestamp, limit: i64) -> Result<u64> {
        const SQL: &str =
            "delete from audit where id in (select id from audit where at < $1 order by at limit $2)";
        execute!(self, sqlx::query(SQL).bind(before).bind(limit))
    }
}
