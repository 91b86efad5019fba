//! How taking up a row can end, and what is noted with the row.

use std::time::Duration;

use crate::app::App;
use crate::crypto;
use crate::error::Result;
use crate::store::{MailError, MailRow};
use crate::telemetry::codes;

/// How taking up a row ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Sent,
    Settled,
    Dropped,
    Deferred,
    /// The mail server takes nothing: nothing else need be tried for now.
    Away,
    /// Another node has it, or the store failed; the lease brings the row back.
    Lost,
}

impl Outcome {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Settled => "settled",
            Self::Dropped => "dropped",
            Self::Deferred => "deferred",
            Self::Away => "away",
            Self::Lost => "lost",
        }
    }
}

pub(super) async fn drop_row(app: &App, row: &MailRow, error: &MailError) -> Result<Outcome> {
    tracing::warn!(
        code = codes::MAIL_DROPPED,
        mail = row.id,
        kind = row.kind.as_str(),
        reason = error.text,
        smtp_code = error.code,
        enhanced_code = error.status,
        "a mail is dropped"
    );
    app.db
        .write()
        .await?
        .drop_mail(row, app.clock.now(), error)
        .await?;
    Ok(Outcome::Dropped)
}

pub(super) async fn defer(app: &App, row: &MailRow, wait: Duration, error: &MailError) -> Result<Outcome> {
    let due = app.clock.now().plus(wait);
    app.db.write().await?.defer_mail(row, due, error).await?;
    Ok(Outcome::Deferred)
}

/// Puts a row off that could not be sent now.
pub(super) async fn put_off(
    app: &App,
    row: &MailRow,
    back_off: (Duration, Duration),
    error: &MailError,
) -> Result<Outcome> {
    defer(app, row, doubled(back_off, row.attempts), error).await
}

/// Each time twice as long as before, from the first to the longest, and a little more by chance, so that many do not come
/// back at once.
pub(super) fn doubled((first, longest): (Duration, Duration), attempts: i64) -> Duration {
    let doublings = u32::try_from(attempts.clamp(1, 16) - 1).unwrap_or(0);
    let wait = first.saturating_mul(1 << doublings).min(longest);
    let [chance] = crypto::random_bytes::<1>();
    wait + wait.mul_f64(f64::from(chance) / 1024.0)
}
