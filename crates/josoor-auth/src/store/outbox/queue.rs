//! Queueing mails, and taking them up.

use uuid::Uuid;

use super::content::Content;
use crate::domain::{Email, Locale, MailClass, MailKind, Timestamp, UserId};
use crate::error::{Error, Result};
use crate::store::conn::{Conn, execute, on};
use crate::store::row::from_row;

/// The reason of a row that waits because the budget of its class is spent.
pub const OVER_BUDGET: &str = "the budget of its class is spent";

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
    sent_at
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

    /// Takes up a due row of a class, if there is one: no other node takes it up before `until`. Of several nodes at the same
    /// moment each gets another row or none.
    pub async fn take_mail(
        &mut self,
        class: MailClass,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<MailRow>> {
        const DUE: &str = "select id, due_at from outbox
             where class = $1 and due_at <= $2 and sent_at is null and dropped_at is null
             order by due_at, id limit 8";
        const TAKE: &str = concat!(
            "update outbox set due_at = $3, attempts = attempts + 1
             where id = $1 and due_at = $2 and sent_at is null and dropped_at is null
             returning ",
            columns!()
        );
        let due: Vec<(i64, Timestamp)> =
            on!(self, sqlx::query_as(DUE).bind(class as i64).bind(now), fetch_all)?;
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
        const SQL: &str = "update outbox set due_at = $3, last_error = $4, granted = $5
             where id = $1 and due_at = $2 and sent_at is null and dropped_at is null";
        Ok(execute!(
            self,
            sqlx::query(SQL)
                .bind(row.id)
                .bind(row.due_at)
                .bind(due_at)
                .bind(reason)
                .bind(row.granted)
        )? == 1)
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
        reason: &str,
    ) -> Result<bool> {
        const SQL: &str = "update outbox set due_at = $3, attempts = $5, last_error = $4, granted = $6
             where id = $1 and due_at = $2 and sent_at is null and dropped_at is null";
        Ok(execute!(
            self,
            sqlx::query(SQL)
                .bind(row.id)
                .bind(row.due_at)
                .bind(due_at)
                .bind(reason)
                .bind(attempts)
                .bind(row.granted)
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

    /// How many rows wait.
    pub async fn count_waiting_mails(&mut self) -> Result<i64> {
        const SQL: &str = "select count(*) from outbox where sent_at is null and dropped_at is null";
        on!(self, sqlx::query_scalar(SQL), fetch_one)
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
