//! The table `outbox`: mails, queued in the transaction of the act that they tell of and sent afterwards.
//!
//! Some rows are requests by strangers, such as "I forgot my password". They are queued without looking whether anybody
//! has the address, so that no answer and no time tells; the job that takes them up looks, and queues the mails.

use uuid::Uuid;

use super::{Conn, execute, from_row, on};
use crate::error::{Error, Result};
use crate::types::{Email, Locale, Timestamp, UserId};

/// What a row of the outbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MailKind {
    /// Request: somebody typed this address into "forgot password".
    ResetRequest,
    /// Request: somebody without a session asked for the mail that proves this address once more.
    VerifyRequest,
    /// Request: somebody wants to register this address, under `verify_first`. `token_id` names the registration.
    RegistrationRequest,
    /// Request: the user wants this address instead of the present one. `token_id` names the change.
    EmailChangeRequest,

    /// The link that proves the address of an account.
    VerifyEmail,
    /// The link that proves the address and makes the account, under `verify_first`.
    FinishRegistration,
    /// Somebody wanted to register an address that has an account.
    AlreadyRegistered,
    /// The link that sets another password.
    ResetPassword,
    /// The link that sets the first password of an account that an administrator made.
    Invitation,
    /// Notice: the password was changed.
    PasswordChanged,
    /// The link that makes this address the account's.
    ConfirmEmail,
    /// Notice, to the owner of an account: somebody wanted this address for another one.
    EmailWanted,
    /// Notice to the old address: the account has another one now. With the link that undoes it.
    EmailChanged,
    /// Notice to the new address: it is the account's now.
    EmailChangeDone,
    /// Notice: the change of the address was undone.
    EmailRestored,
    /// Notice: an old refresh token was used again, so the session was ended.
    RefreshReuse,
    /// Notice: the account was deleted.
    AccountDeleted,
}

impl MailKind {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::ResetRequest,
        Self::VerifyRequest,
        Self::RegistrationRequest,
        Self::EmailChangeRequest,
        Self::VerifyEmail,
        Self::FinishRegistration,
        Self::AlreadyRegistered,
        Self::ResetPassword,
        Self::Invitation,
        Self::PasswordChanged,
        Self::ConfirmEmail,
        Self::EmailWanted,
        Self::EmailChanged,
        Self::EmailChangeDone,
        Self::EmailRestored,
        Self::RefreshReuse,
        Self::AccountDeleted,
    ];

    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ResetRequest => "reset_request",
            Self::VerifyRequest => "verify_request",
            Self::RegistrationRequest => "registration_request",
            Self::EmailChangeRequest => "email_change_request",
            Self::VerifyEmail => "verify_email",
            Self::FinishRegistration => "finish_registration",
            Self::AlreadyRegistered => "already_registered",
            Self::ResetPassword => "reset_password",
            Self::Invitation => "invitation",
            Self::PasswordChanged => "password_changed",
            Self::ConfirmEmail => "confirm_email",
            Self::EmailWanted => "email_wanted",
            Self::EmailChanged => "email_changed",
            Self::EmailChangeDone => "email_change_done",
            Self::EmailRestored => "email_restored",
            Self::RefreshReuse => "refresh_reuse",
            Self::AccountDeleted => "account_deleted",
        }
    }

    /// Whether the row is looked into instead of sent.
    pub const fn is_request(self) -> bool {
        matches!(
            self,
            Self::ResetRequest | Self::VerifyRequest | Self::RegistrationRequest | Self::EmailChangeRequest
        )
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What the text of a mail names besides its recipient and its link.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct MailDetails {
    /// The user's name, where the greeting may use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The account's present address, in mails to another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The new address, in mails to the old one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_email: Option<String>,
    /// From which network address the act came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// With which program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// The id of the request, for the audit row of a request that is looked into later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// A row to add.
#[derive(Debug)]
pub struct NewMail<'a> {
    /// What.
    pub kind: MailKind,
    /// To which address.
    pub recipient: &'a Email,
    /// In which language.
    pub locale: Locale,
    /// Whose account it is about.
    pub user: Option<UserId>,
    /// The one-time token of its link.
    pub token: Option<Uuid>,
    /// What its text names.
    pub details: MailDetails,
    /// Now.
    pub at: Timestamp,
}

/// A row, taken up.
#[derive(Clone, Debug)]
pub struct MailRow {
    /// Its id, by the order of asking.
    pub id: i64,
    /// What.
    pub kind: MailKind,
    /// To which address.
    pub recipient: String,
    /// The address's canonical form.
    pub recipient_key: String,
    /// In which language.
    pub locale: Locale,
    /// Whose account it is about.
    pub user: Option<UserId>,
    /// The one-time token of its link.
    pub token: Option<Uuid>,
    /// What its text names.
    pub details: MailDetails,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// How often it was taken up, this time included.
    pub attempts: i64,
    /// Until when nobody else takes it up.
    pub due_at: Timestamp,
    /// When it was sent, if it was.
    pub sent_at: Option<Timestamp>,
}

struct Stored {
    id: i64,
    kind: String,
    recipient: String,
    recipient_key: String,
    locale: Locale,
    user_id: Option<i64>,
    token_id: Option<Uuid>,
    details: String,
    created_at: Timestamp,
    attempts: i64,
    due_at: Timestamp,
    sent_at: Option<Timestamp>,
}

from_row!(Stored {
    id,
    kind,
    recipient,
    recipient_key,
    locale,
    user_id,
    token_id,
    details,
    created_at,
    attempts,
    due_at,
    sent_at
});

macro_rules! columns {
    () => {
        "id, kind, recipient, recipient_key, locale, user_id, token_id, details, created_at, attempts, due_at, \
         sent_at"
    };
}

impl TryFrom<Stored> for MailRow {
    type Error = Error;

    fn try_from(row: Stored) -> Result<Self> {
        let kind = MailKind::parse(&row.kind).ok_or_else(|| {
            Error::Internal(anyhow::anyhow!("the outbox has a mail of a kind unknown here"))
        })?;
        Ok(Self {
            id: row.id,
            kind,
            recipient: row.recipient,
            recipient_key: row.recipient_key,
            locale: row.locale,
            user: row.user_id.map(UserId),
            token: row.token_id,
            details: serde_json::from_str(&row.details).map_err(Error::internal)?,
            created_at: row.created_at,
            attempts: row.attempts,
            due_at: row.due_at,
            sent_at: row.sent_at,
        })
    }
}

impl Conn {
    /// Queues a mail or a request, in the caller's unit of work.
    pub async fn queue_mail(&mut self, new: &NewMail<'_>) -> Result<()> {
        const SQL: &str =
            "insert into outbox (kind, recipient, recipient_key, locale, user_id, token_id, details,
                created_at, attempts, due_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, 0, $8)";
        let details = serde_json::to_string(&new.details).map_err(Error::internal)?;
        execute!(
            self,
            sqlx::query(SQL)
                .bind(new.kind.as_str())
                .bind(new.recipient.address())
                .bind(new.recipient.key())
                .bind(new.locale.as_str())
                .bind(new.user.map(|user| user.0))
                .bind(new.token)
                .bind(details)
                .bind(new.at)
        )
        .map(drop)
    }

    /// Takes up a due row, if there is one: nobody else takes it up before `until`. Of several nodes that look at the same
    /// moment each gets another row or none.
    pub async fn take_mail(&mut self, now: Timestamp, until: Timestamp) -> Result<Option<MailRow>> {
        const DUE: &str = "select id, due_at from outbox
             where due_at <= $1 and sent_at is null and dropped_at is null order by due_at, id limit 8";
        const TAKE: &str = concat!(
            "update outbox set due_at = $3, attempts = attempts + 1
             where id = $1 and due_at = $2 and sent_at is null and dropped_at is null
             returning ",
            columns!()
        );
        let due: Vec<(i64, Timestamp)> = on!(self, sqlx::query_as(DUE).bind(now), fetch_all)?;
        for (id, due_at) in due {
            let row = on!(
                self,
                sqlx::query_as::<_, Stored>(TAKE)
                    .bind(id)
                    .bind(due_at)
                    .bind(until),
                fetch_optional
            )?;
            if let Some(row) = row {
                return row.try_into().map(Some);
            }
        }
        Ok(None)
    }

    /// Notes that a row that was taken up was sent. Whether it was still ours.
    pub async fn finish_mail(&mut self, row: &MailRow, now: Timestamp) -> Result<bool> {
        const SQL: &str = "update outbox set sent_at = $3, last_error = null
             where id = $1 and due_at = $2 and sent_at is null and dropped_at is null";
        Ok(execute!(self, sqlx::query(SQL).bind(row.id).bind(row.due_at).bind(now))? == 1)
    }

    /// Gives a row back, to be taken up again at `due_at`, with the reason why it was not sent.
    pub async fn defer_mail(&mut self, row: &MailRow, due_at: Timestamp, reason: &str) -> Result<bool> {
        const SQL: &str = "update outbox set due_at = $3, last_error = $4
             where id = $1 and due_at = $2 and sent_at is null and dropped_at is null";
        Ok(execute!(
            self,
            sqlx::query(SQL)
                .bind(row.id)
                .bind(row.due_at)
                .bind(due_at)
                .bind(reason)
        )? == 1)
    }

    /// Gives a row back without counting the attempt: `attempts` is what it says from then on.
    pub async fn release_mail(
        &mut self,
        row: &MailRow,
        due_at: Timestamp,
        attempts: i64,
        reason: &str,
    ) -> Result<bool> {
        const SQL: &str = "update outbox set due_at = $3, attempts = $5, last_error = $4
             where id = $1 and due_at = $2 and sent_at is null and dropped_at is null";
        Ok(execute!(
            self,
            sqlx::query(SQL)
                .bind(row.id)
                .bind(row.due_at)
                .bind(due_at)
                .bind(reason)
                .bind(attempts)
        )? == 1)
    }

    /// Ends a row that will not be sent, with the reason.
    pub async fn drop_mail(&mut self, row: &MailRow, now: Timestamp, reason: &str) -> Result<bool> {
        const SQL: &str = "update outbox set dropped_at = $3, last_error = $4
             where id = $1 and due_at = $2 and sent_at is null and dropped_at is null";
        Ok(execute!(
            self,
            sqlx::query(SQL)
                .bind(row.id)
                .bind(row.due_at)
                .bind(now)
                .bind(reason)
        )? == 1)
    }

    /// Removes a request that was looked into, in the unit of work that queues what follows from it. Whether it was
    /// still ours: if not, nothing must follow.
    pub async fn settle_request(&mut self, row: &MailRow) -> Result<bool> {
        const SQL: &str = "delete from outbox where id = $1 and due_at = $2";
        Ok(execute!(self, sqlx::query(SQL).bind(row.id).bind(row.due_at))? == 1)
    }

    /// The last mails that were sent, the latest first: what the development mailbox shows.
    pub async fn sent_mails(&mut self, limit: i64) -> Result<Vec<MailRow>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from outbox where sent_at is not null order by id desc limit $1"
        );
        let rows: Vec<Stored> = on!(self, sqlx::query_as(SQL).bind(limit), fetch_all)?;
        rows.into_iter().map(MailRow::try_from).collect()
    }

    /// How many rows wait.
    pub async fn count_waiting_mails(&mut self) -> Result<i64> {
        const SQL: &str = "select count(*) from outbox where sent_at is null and dropped_at is null";
        on!(self, sqlx::query_scalar(SQL), fetch_one)
    }

    /// Removes up to `limit` rows that are done and were queued before `before`. How many went.
    pub async fn purge_outbox(&mut self, before: Timestamp, limit: i64) -> Result<u64> {
        const SQL: &str = "delete from outbox where id in
            (select id from outbox where created_at < $1 and (sent_at is not null or dropped_at is not null) limit $2)";
        execute!(self, sqlx::query(SQL).bind(before).bind(limit))
    }
}
