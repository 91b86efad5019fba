//! The outbox, for administrators and operators: what waits, what was given up and why, and trying it again.

use crate::act::{Client, Entry};
use crate::app::App;
use crate::crypto;
use crate::domain::{Audit, Email, MailKind, MailState};
use crate::error::{Error, NotRetryable, Result};
use crate::mail::{self, SendError};
use crate::store::{MailSummary, OutboxFilter};

/// How many rows a list counts at most.
pub const COUNTED_AT_MOST: i64 = 10_000;

/// Up to `limit` of the rows that match, the latest first, after `offset` later ones; and how many match, up to
/// [`COUNTED_AT_MOST`] and one more.
///
/// # Errors
/// `StoreUnavailable`.
pub async fn list(
    app: &App,
    filter: OutboxFilter,
    limit: i64,
    offset: i64,
) -> Result<(Vec<MailSummary>, i64)> {
    let mut conn = app.db.read().await?;
    conn.list_outbox(filter, limit, offset, COUNTED_AT_MOST + 1).await
}

/// Has a mail tried now that waits or was given up. One that a node has in hand at this moment stays as it is.
///
/// # Errors
/// `NotFound`; `MailNotRetryable` for one that was sent, or whose link is of no use any more.
pub async fn retry(app: &App, id: i64, client: &Client) -> Result<MailSummary> {
    let mut act = app.act(client).await?;
    let row = act.tx.outbox_row(id).await?.ok_or(Error::NotFound)?;
    if row.state() == MailState::Sent {
        return Err(Error::MailNotRetryable(NotRetryable::Sent));
    }
    let kind = row.kind.parse::<MailKind>();
    if kind.is_ok_and(|kind| kind.purpose().is_some()) && !act.tx.may_link_be_sent(id, act.now).await? {
        return Err(Error::MailNotRetryable(NotRetryable::LinkGone));
    }
    if !act.tx.retry_mail(id, act.now).await? {
        return Ok(row);
    }
    let row = act.tx.outbox_row(id).await?.ok_or(Error::NotFound)?;
    act.audit(Entry::success(Audit::MailRetry).subject(row.user()));
    act.wake_mailer();
    act.commit().await?;
    Ok(row)
}

/// Has every mail tried now that waits. How many.
///
/// # Errors
/// `StoreUnavailable`.
pub async fn retry_waiting(app: &App, client: &Client) -> Result<u64> {
    let mut act = app.act(client).await?;
    let count = act.tx.retry_waiting_mails(act.now).await?;
    if count > 0 {
        act.audit(Entry::success(Audit::MailRetry));
        act.wake_mailer();
    }
    act.commit().await?;
    Ok(count)
}

/// Sends a mail to an address at once, past the outbox and all limits, to test the mail server. The inner result is the mail
/// server's.
///
/// # Errors
/// `StoreUnavailable`, for the audit row.
pub async fn send_test(app: &App, to: &Email, client: &Client) -> Result<std::result::Result<(), SendError>> {
    let id = uuid::Builder::from_random_bytes(crypto::random_bytes()).into_uuid();
    let public_url = app.config.server.public_url.to_string();
    let mail = mail::test_mail(
        to.address(),
        app.config.mail.locale,
        &public_url,
        &app.config.branding,
        id,
    );
    let sent = app.mailer.send(&mail).await;
    let entry = match &sent {
        Ok(()) => Entry::success(Audit::MailTest),
        Err(_) => Entry::failure(Audit::MailTest, "not_sent"),
    };
    app.record(client, entry).await?;
    Ok(sent)
}
