//! Reading the outbox, and trying a row again, for administrators and operators. Neither tokens nor the texts of mails are read.

use sqlx::QueryBuilder;

use super::queue::{BY_NETWORK, BY_RECIPIENT};
use crate::domain::{MailKind, MailState, Timestamp, UserId};
use crate::error::Result;
use crate::store::conn::{Conn, built, execute, on};
use crate::store::row::from_row;

const fn condition(state: MailState) -> &'static str {
    match state {
        MailState::Waiting => " and sent_at is null and dropped_at is null",
        MailState::Sent => " and sent_at is not null",
        MailState::Failed => " and dropped_at is not null",
    }
}

/// Which rows a list has.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutboxFilter {
    /// Only rows in this state.
    pub state: Option<MailState>,
    /// Only rows of this kind.
    pub kind: Option<MailKind>,
}

/// A row of the outbox, as administrators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailSummary {
    /// Its id, by the order of asking.
    pub id: i64,
    /// See [`MailKind::as_str`]; a node of a later release may have written one that is unknown here.
    pub kind: String,
    /// The address that it goes to.
    pub recipient: String,
    user_id: Option<i64>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// How often it was tried since it was asked for, or since an operator had it tried again.
    pub attempts: i64,
    /// When it is tried next, while it waits.
    pub due_at: Timestamp,
    /// When the mail server took it.
    pub sent_at: Option<Timestamp>,
    /// When it was given up.
    pub dropped_at: Option<Timestamp>,
    /// Why it was not sent.
    pub last_error: Option<String>,
    /// The mail server's reply code (RFC 5321, 4.2).
    pub error_code: Option<i64>,
    /// Its enhanced status code (RFC 3463).
    pub error_status: Option<String>,
}

from_row!(MailSummary as columns {
    id,
    kind,
    recipient,
    user_id,
    created_at,
    attempts,
    due_at,
    sent_at,
    dropped_at,
    last_error,
    error_code,
    error_status
});

impl MailSummary {
    /// Whose account it is about.
    pub fn user(&self) -> Option<UserId> {
        self.user_id.map(UserId)
    }

    /// Whether it was sent.
    pub const fn state(&self) -> MailState {
        match (self.sent_at, self.dropped_at) {
            (Some(_), _) => MailState::Sent,
            (None, Some(_)) => MailState::Failed,
            (None, None) => MailState::Waiting,
        }
    }
}

fn push_filter<E>(query: &mut QueryBuilder<E>, filter: OutboxFilter)
where
    E: sqlx::Database,
    &'static str: for<'q> sqlx::Encode<'q, E> + sqlx::Type<E>,
{
    if let Some(state) = filter.state {
        query.push(condition(state));
    }
    if let Some(kind) = filter.kind {
        query.push(" and kind = ").push_bind(kind.as_str());
    }
}

impl Conn {
    /// One page of the rows that match, the latest first; and how many there are, `at_most` counted.
    pub async fn list_outbox(
        &mut self,
        filter: OutboxFilter,
        limit: i64,
        offset: i64,
        at_most: i64,
    ) -> Result<(Vec<MailSummary>, i64)> {
        let total: i64 = built!(
            self,
            {
                let mut query =
                    QueryBuilder::new("select count(*) from (select 1 as one from outbox where true");
                push_filter(&mut query, filter);
                query.push(" limit ").push_bind(at_most).push(") as counted");
                query
            },
            build_query_scalar().fetch_one
        )?;
        let rows = built!(
            self,
            {
                let mut query = QueryBuilder::new(concat!("select ", columns!(), " from outbox where true"));
                push_filter(&mut query, filter);
                query.push(" order by id desc limit ").push_bind(limit);
                query.push(" offset ").push_bind(offset);
                query
            },
            build_query_as().fetch_all
        )?;
        Ok((rows, total))
    }

    /// Mails about a user's account, the latest first, up to `limit`.
    pub async fn mails_of(&mut self, user: UserId, limit: i64) -> Result<Vec<MailSummary>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from outbox where user_id = $1 order by id desc limit $2"
        );
        on!(self, sqlx::query_as(SQL).bind(user.0).bind(limit), fetch_all)
    }

    /// The row of this id.
    pub async fn outbox_row(&mut self, id: i64) -> Result<Option<MailSummary>> {
        const SQL: &str = concat!("select ", columns!(), " from outbox where id = $1");
        on!(self, sqlx::query_as(SQL).bind(id), fetch_optional)
    }

    /// Has a row tried now that waits or was given up, whatever the limits of its network and its recipient say. False for
    /// one that was sent, and for one that a node has in hand.
    pub async fn retry_mail(&mut self, id: i64, now: Timestamp) -> Result<bool> {
        const SQL: &str = "update outbox
             set due_at = $2, attempts = 0, dropped_at = null, retried_at = $2, granted = granted | $3, is_taken = false
             where id = $1 and sent_at is null and not (is_taken and due_at > $2)";
        Ok(execute!(
            self,
            sqlx::query(SQL)
                .bind(id)
                .bind(now)
                .bind(BY_NETWORK | BY_RECIPIENT)
        )? == 1)
    }

    /// Has every row tried now that waits and that no node has in hand. How many.
    pub async fn retry_waiting_mails(&mut self, now: Timestamp) -> Result<u64> {
        const SQL: &str = "update outbox set due_at = $1, attempts = 0, retried_at = $1, is_taken = false
             where sent_at is null and dropped_at is null and not (is_taken and due_at > $1)";
        execute!(self, sqlx::query(SQL).bind(now))
    }
}
