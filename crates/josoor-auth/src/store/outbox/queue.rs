//! Queueing mails, and taking them up.

use uuid::Uuid;

use super::content::Content;
use crate::domain::{Email, Locale, MailClass, MailKind, Timestamp, UserId};
use crate::error::{Error, Result};
use crate::store::conn::{Conn, execute, on};
use crate::store::row::from_row;

/// The reason of a row that waits because the budget of its class is spent.
pub const OVER_BUDGET: &str = "the budget of its class is spent";

// The budgets from which a row has been taken, as bits of `MailRow::granted`.

/// Of the network that caused it.
pub const BY_NETWORK: i64 = 1;
/// Of its recipient.
pub const BY_RECIPIENT: i64 = 2;
/// Of its class.
pub const BY_CLASS: i64 = 4;

/// Why a mail was not sent, as it is noted with its row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailError {
    /// The mail server's reply code (RFC 5321, 4.2).
    pub code: Option<u16>,
    /// Its enhanced status code (RFC 3463), such as `5.7.60`.
    pub status: Option<String>,
    /// The whole reason, on one line. It holds no secret.
    pub text: String,
}

impl From<&str> for MailError {
    /// A reason of our own.
    fn from(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            ..Self::default()
        }
    }
}

/// What waits in one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// The class, as stored.
    class: i64,
    /// How many rows wait.
    pub waiting: i64,
    /// How many of them have met a spent budget.
    pub over_budget: i64,
    /// When the oldest was asked for.
    pub oldest: Timestamp,
}

from_row!(Backlog {
    class,
    waiting,
    over_budget,
    oldest
});

impl Backlog {
    /// The class.
    pub fn class(&self) -> MailClass {
        let known = MailClass::ALL
            .into_iter()
            .find(|class| *class as i64 == self.class);
        known.unwrap_or(MailClass::Other)
    }
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
    /// What its text names, or who asked.
    pub content: Content,
    /// The network whose request without a session causes it, where its mails are counted by network.
    pub network: Option<String>,
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
    /// What its text names, or who asked.
    pub content: Content,
    /// The network whose request without a session caused it, where its mails are counted by network.
    pub network: Option<String>,
    /// The budgets from which it has been taken, as bits of the sender's.
    pub granted: i64,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// How often it was taken up, this time included.
    pub attempts: i64,
    /// Until when no other node takes it up.
    pub due_at: Timestamp,
    /// When it was sent, if it was.
    pub sent_at: Option<Timestamp>,
    /// When an operator last had it tried again.
    pub retried_at: Option<Timestamp>,
}

impl MailRow {
    /// From when the time is counted after which it is given up.
    pub fn tried_since(&self) -> Timestamp {
        self.retried_at.unwrap_or(self.created_at)
    }
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
    network: Option<String>,
    granted: i64,
    created_at: Timestamp,
    attempts: i64,
    due_at: Timestamp,
    sent_at: Option<Timestamp>,
    retried_at: Option<Timestamp>,
}

from_row!(Stored as columns {
    id,
    kind,
    recipient,
    recipient_key,
    locale,
    user_id,
    token_id,
    details,
    network,
    granted,
    created_at,
    attempts,
    due_at,
    sent_at,
    retried_at
});

impl TryFrom<Stored> for MailRow {
    type Error = Error;

    fn try_from(row: Stored) -> Result<Self> {
        let kind = row
            .kind
            .parse()
            .map_err(|_| Error::Internal(anyhow::anyhow!("the outbox has a mail of a kind unknown here")))?;
        Ok(Self {
            id: row.id,
            kind,
            recipient: row.recipient,
            recipient_key: row.recipient_key,
            locale: row.locale,
            user: row.user_id.map(UserId),
            token: row.token_id,
            content: Content::from_json(kind, &row.details)?,
            network: row.network,
            granted: row.granted,
            created_at: row.created_at,
            attempts: row.attempts,
            due_at: row.due_at,
            sent_at: row.sent_at,
            retried_at: row.retried_at,
        })
    }
}

impl Conn {
    /// Queues a mail or a request, in the caller's unit of work.
    pub async fn queue_mail(&mut self, new: &NewMail<'_>) -> Result<()> {
        const SQL: &str =
            "insert into outbox (kind, recipient, recipient_key, locale, user_id, token_id, details,
                created_at, attempts, due_at, class, network)
             values ($1, $2, $3, $4, $5, $6, $7, $8, 0, $8, $9, $10)";
        let details = new.content.to_json()?;
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
                .bind(new.kind.class() as i64)
                .bind(new.network.as_deref())
        )
        .map(drop)
    }

    /// Takes up a due row of a class, if there is one, to others than these recipients, by the addresses' canonical forms: no
    /// other node takes it up before `until`. Of several nodes at the same moment each gets another row or none.
    pub async fn take_mail_except(
        &mut self,
        recipients: &[String],
        class: MailClass,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<MailRow>> {
        const DUE: &str = "select id, due_at, recipient_key from outbox
             where class = $1 and due_at <= $2 and sent_at is null and dropped_at is null
             order by due_at, attempts, id limit 64";
        const TAKE: &str = concat!(
            "update outbox set due_at = $3, attempts = attempts + 1, is_taken = true
             where id = $1 and due_at = $2 and sent_at is null and dropped_at is null
             returning ",
            columns!()
        );
        let due: Vec<(i64, Timestamp, String)> =
            on!(self, sqlx::query_as(DUE).bind(class as i64).bind(now), fetch_all)?;
        for (id, due_at, recipient) in due {
            if recipients.contains(&recipient) {
                continue;
            }
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

    /// Goes on with a row that was taken up: no other node takes it up before `until`. Whether it was still ours.
    pub async fn extend_mail(&mut self, row: &mut MailRow, until: Timestamp) -> Result<bool> {
        const SQL: &str = "update outbox set due_at = $3
             where id = $1 and due_at = $2 and sent_at is null and dropped_at is null";
        let was_ours = execute!(self, sqlx::query(SQL).bind(row.id).bind(row.due_at).bind(until))? == 1;
        if was_ours {
            row.due_at = until;
        }
        Ok(was_ours)
    }

    /// Gives back what a process took up that cannot run any more: every row that is in hand until a time that no lease
    /// reaches. A clock that was set back leaves such rows. How many.
    pub async fn free_mails(&mut self, now: Timestamp, no_lease_until: Timestamp) -> Result<u64> {
        const SQL: &str = "update outbox set due_at = $1, is_taken = false
             where is_taken and due_at > $2 and sent_at is null and dropped_at is null";
        execute!(self, sqlx::query(SQL).bind(now).bind(no_lease_until))
    }

    /// Notes that a row that was taken up was sent. Whether it was still ours.
    pub async fn finish_mail(&mut self, row: &MailRow, now: Timestamp) -> Result<bool> {
        const SQL: &str = "update outbox
             set sent_at = $3, last_error = null, error_code = null, error_status = null, is_taken = false
             where id = $1 and due_at = $2 and sent_at is null and dropped_at is null";
        Ok(execute!(self, sqlx::query(SQL).bind(row.id).bind(row.due_at).bind(now))? == 1)
    }

    /// Gives a row back, to be taken up again at `due_at`, with the reason why it was not sent.
    pub async fn defer_mail(&mut self, row: &MailRow, due_at: Timestamp, error: &MailError) -> Result<bool> {
        self.release_mail(row, due_at, row.attempts, error).await
    }

    /// Notes from which budgets a row has been taken. Whether it was still ours.
    pub async fn grant_mail(&mut self, row: &MailRow, granted: i64) -> Result<bool> {
        const SQL: &str = "update outbox set granted = $3
             where id = $1 and due_at = $2 and sent_at is null and dropped_at is null";
        Ok(execute!(self, sqlx::query(SQL).bind(row.id).bind(row.due_at).bind(granted))? == 1)
    }

    /// Gives a row back without counting the attempt: `attempts` is what it says from then on.
    pub async fn release_mail(
        &mut self,
        row: &MailRow,
        due_at: Timestamp,
        attempts: i64,
        error: &MailError,
    ) -> Result<bool> {
        const SQL: &str = "update outbox
             set due_at = $3, last_error = $4, error_code = $5, error_status = $6, attempts = $7, granted = $8,
                 is_taken = false
             where id = $1 and due_at = $2 and sent_at is null and dropped_at is null";
        Ok(execute!(
            self,
            sqlx::query(SQL)
                .bind(row.id)
                .bind(row.due_at)
                .bind(due_at)
                .bind(error.text.as_str())
                .bind(error.code.map(i64::from))
                .bind(error.status.as_deref())
                .bind(attempts)
                .bind(row.granted)
        )? == 1)
    }

    /// Ends a row that will not be sent, with the reason.
    pub async fn drop_mail(&mut self, row: &MailRow, now: Timestamp, error: &MailError) -> Result<bool> {
        const SQL: &str = "update outbox
             set dropped_at = $3, last_error = $4, error_code = $5, error_status = $6, is_taken = false
             where id = $1 and due_at = $2 and sent_at is null and dropped_at is null";
        Ok(execute!(
            self,
            sqlx::query(SQL)
                .bind(row.id)
                .bind(row.due_at)
                .bind(now)
                .bind(error.text.as_str())
                .bind(error.code.map(i64::from))
                .bind(error.status.as_deref())
        )? == 1)
    }

    /// Removes a request that was processed, in the unit of work that queues what follows from it. Whether it was
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

    /// What waits, by class; nothing for a class in which nothing does.
    pub async fn mail_backlog(&mut self) -> Result<Vec<Backlog>> {
        const SQL: &str = "select class, count(*) as waiting,
                count(case when last_error = $1 then 1 end) as over_budget, min(created_at) as oldest
             from outbox where sent_at is null and dropped_at is null group by class order by class";
        on!(self, sqlx::query_as(SQL).bind(OVER_BUDGET), fetch_all)
    }

    /// Removes every row about a user's account.
    pub async fn delete_mails_of(&mut self, user: UserId) -> Result<u64> {
        const SQL: &str = "delete from outbox where user_id = $1";
        execute!(self, sqlx::query(SQL).bind(user.0))
    }

    /// Removes up to `limit` rows that are done and were queued before `before`. How many were removed.
    pub async fn purge_outbox(&mut self, before: Timestamp, limit: i64) -> Result<u64> {
        const SQL: &str = "delete from outbox where id in
            (select id from outbox where created_at < $1 and (sent_at is not null or dropped_at is not null) limit $2)";
        execute!(self, sqlx::query(SQL).bind(before).bind(limit))
    }
}
