//! The table `one_time_tokens`. The token itself is not in it: it is derived from the row's id under the server-only
//! key, so that who reads the table can redeem nothing.

use std::time::Duration;

use uuid::Uuid;

use super::{Conn, execute, from_row, on};
use crate::error::Result;
use crate::types::{Email, SessionId, Timestamp, UserId};

/// What a one-time token is good for. The purpose goes into the token itself: one for another purpose is not even
/// recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Makes the first administrator.
    Setup,
    /// Sets a password: after "forgot password".
    ResetPassword,
    /// Sets the first password of an account that an administrator made.
    Invitation,
    /// Proves the address of an account.
    VerifyEmail,
    /// Proves the address of a registration and makes the account.
    Registration,
    /// Makes another address the account's.
    ChangeEmail,
    /// Gives an account its old address back.
    UndoEmailChange,
    /// Restores a deleted account, with the address that the token names.
    UndoDeletion,
    /// Ends all that can sign in to an account.
    SecureAccount,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Setup,
        Self::ResetPassword,
        Self::Invitation,
        Self::VerifyEmail,
        Self::Registration,
        Self::ChangeEmail,
        Self::UndoEmailChange,
        Self::UndoDeletion,
        Self::SecureAccount,
    ];

    /// How long a token of this purpose is good for.
    pub const fn lifetime(self) -> Duration {
        match self {
            Self::ResetPassword => Duration::from_mins(30),
            Self::Setup => Duration::from_hours(1),
            Self::VerifyEmail | Self::Registration | Self::ChangeEmail => Duration::from_hours(24),
            // A restoration of a deleted account ends with the account's grace, which is a setting.
            Self::UndoEmailChange | Self::UndoDeletion | Self::SecureAccount => Duration::from_hours(72),
            Self::Invitation => Duration::from_hours(7 * 24),
        }
    }

    /// As stored, and as it goes into the token.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::ResetPassword => "reset_password",
            Self::Invitation => "invitation",
            Self::VerifyEmail => "verify_email",
            Self::Registration => "registration",
            Self::ChangeEmail => "change_email",
            Self::UndoEmailChange => "undo_email_change",
            Self::UndoDeletion => "undo_deletion",
            Self::SecureAccount => "secure_account",
        }
    }
}

/// A token to add.
#[derive(Clone, Copy, Debug)]
pub struct NewOneTimeToken<'a> {
    /// What the token is derived from.
    pub id: Uuid,
    /// What it is good for.
    pub purpose: Purpose,
    /// Whose it is, if it is anybody's.
    pub user: Option<UserId>,
    /// The address that it proves or restores.
    pub email: Option<&'a Email>,
    /// The session that asked.
    pub session: Option<SessionId>,
    /// What of the account must still be so when it is used.
    pub bound_to: Option<&'a str>,
    /// Now.
    pub created_at: Timestamp,
    /// Its end.
    pub expires_at: Timestamp,
}

/// A one-time token, as stored.
#[derive(Clone, Debug)]
pub struct OneTimeToken {
    /// What the token is derived from.
    pub id: Uuid,
    /// What it is good for; see [`Purpose::as_str`].
    pub purpose: String,
    user_id: Option<i64>,
    /// The address that it proves or restores.
    pub email: Option<String>,
    session_id: Option<Uuid>,
    /// What of the account must still be so.
    pub bound_to: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its end.
    pub expires_at: Timestamp,
    /// When it did its work.
    pub used_at: Option<Timestamp>,
}

from_row!(OneTimeToken {
    id,
    purpose,
    user_id,
    email,
    session_id,
    bound_to,
    created_at,
    expires_at,
    used_at
});

impl OneTimeToken {
    /// Whose it is, if it is anybody's.
    pub fn user_id(&self) -> Option<UserId> {
        self.user_id.map(UserId)
    }

    /// The session that asked for it.
    pub fn session_id(&self) -> Option<SessionId> {
        self.session_id.map(SessionId)
    }
}

impl Conn {
    /// Adds a token.
    pub async fn insert_one_time_token(&mut self, new: &NewOneTimeToken<'_>) -> Result<()> {
        const SQL: &str =
            "insert into one_time_tokens (id, purpose, user_id, email, email_key, session_id, bound_to,
                created_at, expires_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        execute!(
            self,
            sqlx::query(SQL)
                .bind(new.id)
                .bind(new.purpose.as_str())
                .bind(new.user.map(|user| user.0))
                .bind(new.email.map(Email::address))
                .bind(new.email.map(Email::key))
                .bind(new.session.map(|session| session.0))
                .bind(new.bound_to)
                .bind(new.created_at)
                .bind(new.expires_at)
        )
        .map(drop)
    }

    /// The token with this id.
    pub async fn one_time_token(&mut self, id: Uuid) -> Result<Option<OneTimeToken>> {
        const SQL: &str =
            "select id, purpose, user_id, email, session_id, bound_to, created_at, expires_at, used_at
             from one_time_tokens where id = $1";
        on!(self, sqlx::query_as(SQL).bind(id), fetch_optional)
    }

    /// Uses a token up; of any number of callers one wins.
    pub async fn claim_one_time_token(&mut self, id: Uuid, now: Timestamp) -> Result<bool> {
        const SQL: &str =
            "update one_time_tokens set used_at = $2 where id = $1 and used_at is null and expires_at > $2";
        Ok(execute!(self, sqlx::query(SQL).bind(id).bind(now))? == 1)
    }

    // A token that is ended gets an end that it was never good before: a moment ago would not do, because the clock of
    // the next node may be behind, or this one's may be set back.

    /// Ends a token, unless it was used.
    pub async fn expire_one_time_token(&mut self, id: Uuid) -> Result<()> {
        const SQL: &str =
            "update one_time_tokens set expires_at = created_at where id = $1 and used_at is null";
        execute!(self, sqlx::query(SQL).bind(id)).map(drop)
    }

    /// Ends every unused token of a purpose that belongs to this user, or, with `None`, to nobody.
    pub async fn expire_one_time_tokens(
        &mut self,
        purpose: Purpose,
        user: Option<UserId>,
        now: Timestamp,
    ) -> Result<u64> {
        const SQL: &str = "update one_time_tokens set expires_at = created_at
             where purpose = $1 and coalesce(user_id, 0) = $2 and used_at is null and expires_at > $3";
        let user = user.map_or(0, |user| user.0);
        execute!(self, sqlx::query(SQL).bind(purpose.as_str()).bind(user).bind(now))
    }

    /// Ends every unused token of a purpose and user that was made at a moment or after it.
    pub async fn expire_one_time_tokens_since(
        &mut self,
        purpose: Purpose,
        user: UserId,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<u64> {
        const SQL: &str = "update one_time_tokens set expires_at = created_at
             where purpose = $1 and user_id = $2 and created_at >= $3 and used_at is null and expires_at > $4";
        execute!(
            self,
            sqlx::query(SQL)
                .bind(purpose.as_str())
                .bind(user.0)
                .bind(since)
                .bind(now)
        )
    }

    /// A good token of a purpose that belongs to this user and is about this address, if there is one.
    pub async fn open_one_time_token(
        &mut self,
        purpose: Purpose,
        user: UserId,
        email_key: &str,
        now: Timestamp,
    ) -> Result<Option<Uuid>> {
        const SQL: &str = "select id from one_time_tokens
             where purpose = $1 and user_id = $2 and email_key = $3 and used_at is null and expires_at > $4
             order by created_at desc limit 1";
        on!(
            self,
            sqlx::query_scalar(SQL)
                .bind(purpose.as_str())
                .bind(user.0)
                .bind(email_key)
                .bind(now),
            fetch_optional
        )
    }

    /// Whether a token is still good that is of this purpose, about this address and bound to this.
    pub async fn has_one_time_token_for(
        &mut self,
        purpose: Purpose,
        email_key: &str,
        bound_to: &str,
        now: Timestamp,
    ) -> Result<bool> {
        const SQL: &str = "select count(*) from one_time_tokens
             where email_key = $1 and purpose = $2 and bound_to = $3 and used_at is null and expires_at > $4";
        let count: i64 = on!(
            self,
            sqlx::query_scalar(SQL)
                .bind(email_key)
                .bind(purpose.as_str())
                .bind(bound_to)
                .bind(now),
            fetch_one
        )?;
        Ok(count > 0)
    }

    /// Ends every unused token of a purpose that is about this address and belongs to nobody.
    pub async fn expire_one_time_tokens_for(
        &mut self,
        purpose: Purpose,
        email_key: &str,
        now: Timestamp,
    ) -> Result<u64> {
        const SQL: &str = "update one_time_tokens set expires_at = created_at
             where purpose = $1 and email_key = $2 and user_id is null and used_at is null and expires_at > $3";
        execute!(
            self,
            sqlx::query(SQL).bind(purpose.as_str()).bind(email_key).bind(now)
        )
    }

    /// Removes up to `limit` tokens that ended before `before`. How many went.
    pub async fn purge_one_time_tokens(&mut self, before: Timestamp, limit: i64) -> Result<u64> {
        const SQL: &str = "delete from one_time_tokens where id in
            (select id from one_time_tokens where expires_at < $1 limit $2)";
        execute!(self, sqlx::query(SQL).bind(before).bind(limit))
    }
}
