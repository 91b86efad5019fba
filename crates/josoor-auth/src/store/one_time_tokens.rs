//! The table `one_time_tokens`. The token itself is not in it: it is derived from the row's id under the server-only
//! key, so that who reads the table can redeem nothing.

use uuid::Uuid;

use super::conn::{Conn, execute, on};
use super::row::from_row;
use crate::domain::{Email, Purpose, SessionId, Timestamp, UserId};
use crate::error::Result;

/// A token to add.
#[derive(Clone, Copy, Debug)]
pub struct NewOneTimeToken<'a> {
    /// What the token is derived from.
    pub id: Uuid,
    /// What it is good for.
    pub purpose: Purpose,
    /// Whose it is, if it is anybody's.
    pub user: Option<UserId>,
    /// The address that it verifies or restores.
    pub email: Option<&'a Email>,
    /// The session that asked.
    pub session: Option<SessionId>,
    /// What of the account must still be so when it is used.
    pub bound_to: Option<&'a str>,
    /// Now.
    pub created_at: Timestamp,
    /// Its end; set again when its mail is sent.
    pub expires_at: Timestamp,
    /// Whether it goes out by mail: then the links before it stay good until it does.
    pub is_pending: bool,
}

/// A one-time token, as stored.
#[derive(Clone, Debug)]
pub struct OneTimeToken {
    /// What the token is derived from.
    pub id: Uuid,
    /// What it is good for; see [`Purpose::as_str`].
    pub purpose: String,
    user_id: Option<i64>,
    /// The address that it verifies or restores.
    pub email: Option<String>,
    email_key: Option<String>,
    session_id: Option<Uuid>,
    /// What of the account must still be so.
    pub bound_to: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its end.
    pub expires_at: Timestamp,
    /// When it did its work.
    pub used_at: Option<Timestamp>,
    /// Whether the mail with its link waits.
    pub is_pending: bool,
    mail_id: Option<i64>,
}

from_row!(OneTimeToken as columns {
    id,
    purpose,
    user_id,
    email,
    email_key,
    session_id,
    bound_to,
    created_at,
    expires_at,
    used_at,
    is_pending,
    mail_id
});

impl OneTimeToken {
    /// Whose it is, if it is anybody's.
    pub fn user_id(&self) -> Option<UserId> {
        self.user_id.map(UserId)
    }

    /// Whether the mail of this id may be sent with its link: the token is unused, was not ended, and its time has not passed,
    /// unless that has not begun or this mail has begun it without being sent.
    pub fn may_be_sent(&self, mail: i64, now: Timestamp) -> bool {
        let ended = self.expires_at <= self.created_at;
        let waits = self.is_pending || self.mail_id == Some(mail);
        self.used_at.is_none() && !ended && (waits || self.expires_at > now)
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
                created_at, expires_at, is_pending)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
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
                .bind(new.is_pending)
        )
        .map(drop)
    }

    /// The token with this id.
    pub async fn one_time_token(&mut self, id: Uuid) -> Result<Option<OneTimeToken>> {
        const SQL: &str = concat!("select ", columns!(), " from one_time_tokens where id = $1");
        on!(self, sqlx::query_as(SQL).bind(id), fetch_optional)
    }

    /// Whether a mail may still be sent with its link: see [`OneTimeToken::may_be_sent`]. False without a token.
    pub async fn may_link_be_sent(&mut self, mail: i64, now: Timestamp) -> Result<bool> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from one_time_tokens where id = (select token_id from outbox where id = $1)"
        );
        let token: Option<OneTimeToken> = on!(self, sqlx::query_as(SQL).bind(mail), fetch_optional)?;
        Ok(token.is_some_and(|token| token.may_be_sent(mail, now)))
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

    /// Ends every unused token of a purpose that belongs to this user, or, with `None`, to none.
    pub async fn expire_one_time_tokens(
        &mut self,
        purpose: Purpose,
        user: Option<UserId>,
        now: Timestamp,
    ) -> Result<u64> {
        const SQL: &str = "update one_time_tokens set expires_at = created_at
             where purpose = $1 and coalesce(user_id, 0) = $2 and used_at is null and (expires_at > $3 or is_pending)";
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
             where purpose = $1 and user_id = $2 and created_at >= $3 and used_at is null
               and (expires_at > $4 or is_pending)";
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

    /// The unused token for the first administrator that is good beyond `until`, and its end.
    pub async fn fresh_setup_token(&mut self, until: Timestamp) -> Result<Option<(Uuid, Timestamp)>> {
        const SQL: &str = "select id, expires_at from one_time_tokens
             where purpose = $1 and user_id is null and used_at is null and expires_at > $2
             order by created_at desc, id limit 1";
        on!(
            self,
            sqlx::query_as(SQL).bind(Purpose::Setup.as_str()).bind(until),
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

    /// Ends every unused token of a purpose that is about this address and belongs to no user.
    pub async fn expire_one_time_tokens_for(
        &mut self,
        purpose: Purpose,
        email_key: &str,
        now: Timestamp,
    ) -> Result<u64> {
        const SQL: &str = "update one_time_tokens set expires_at = created_at
             where purpose = $1 and email_key = $2 and user_id is null and used_at is null
               and (expires_at > $3 or is_pending)";
        execute!(
            self,
            sqlx::query(SQL).bind(purpose.as_str()).bind(email_key).bind(now)
        )
    }

    /// Begins the life of a link whose mail is about to be sent: it ends at `until`. False when the link must not be sent: it
    /// was used or ended, or a later mail's link has taken its place.
    pub async fn begin_link(
        &mut self,
        token: Uuid,
        mail: i64,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool> {
        // The purposes that replace each other are those of `Purpose::replaces`.
        const SQL: &str = "update one_time_tokens set is_pending = false, mail_id = $2, expires_at = $4
             where id = $1 and used_at is null and expires_at > created_at
               and (is_pending or mail_id = $2 or expires_at > $3)
               and not exists (select 1 from one_time_tokens as other
                   where (other.purpose = one_time_tokens.purpose
                       or (other.purpose in ('reset_password', 'invitation')
                           and one_time_tokens.purpose in ('reset_password', 'invitation')))
                     and one_time_tokens.purpose in ('reset_password', 'invitation', 'verify_email', 'change_email', 'sign_in')
                     and (other.user_id = one_time_tokens.user_id
                         or (other.user_id is null and one_time_tokens.user_id is null
                             and other.email_key = one_time_tokens.email_key))
                     and other.mail_id > $2 and other.used_at is null and other.expires_at > other.created_at
                     and other.expires_at > $3)";
        Ok(execute!(
            self,
            sqlx::query(SQL).bind(token).bind(mail).bind(now).bind(until)
        )? == 1)
    }

    /// Ends the links that the link of a mail that was sent replaces: those of its kind and account that earlier mails
    /// carried, or none. Links whose mails wait are left to replace it in their turn. The account is locked, or the guard of
    /// registrations is passed.
    pub async fn end_replaced_links(&mut self, token: &OneTimeToken, mail: i64) -> Result<u64> {
        const SQL: &str = "update one_time_tokens set expires_at = created_at
             where purpose in ($1, $2) and id <> $5
               and (user_id = $3 or ($3 = 0 and user_id is null and email_key = $4))
               and used_at is null and not is_pending and (mail_id is null or mail_id < $6) and expires_at > created_at
               and exists (select 1 from one_time_tokens as own
                   where own.id = $5 and own.mail_id = $6 and own.expires_at > own.created_at)";
        let purpose = token.purpose.parse().ok();
        let replaced = purpose.map_or(&[][..], Purpose::replaces);
        let (Some(first), Some(last)) = (replaced.first(), replaced.last()) else {
            return Ok(0);
        };
        execute!(
            self,
            sqlx::query(SQL)
                .bind(first.as_str())
                .bind(last.as_str())
                .bind(token.user_id.unwrap_or(0))
                .bind(token.email_key.as_deref())
                .bind(token.id)
                .bind(mail)
        )
    }

    /// Removes up to `limit` tokens that ended before `before`. How many went.
    pub async fn purge_one_time_tokens(&mut self, before: Timestamp, limit: i64) -> Result<u64> {
        const SQL: &str = "delete from one_time_tokens where id in
            (select id from one_time_tokens where expires_at < $1 limit $2)";
        execute!(self, sqlx::query(SQL).bind(before).bind(limit))
    }
}
