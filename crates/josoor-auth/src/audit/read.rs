//! Lists, and rows that are not written within another act.

use std::fmt::Write as _;

use crate::act::Client;
use crate::app::App;
use crate::domain::{Audit, UserId};
use crate::error::Result;
use crate::store::{AuditFilter, AuditRow, NewAudit};

/// How many rows a user is shown as counted.
pub(crate) const ACTIVITY_COUNTED: i64 = 1000;

/// With which rows a user answers for what came before them.
pub(crate) const ANSWERS: [Audit; 2] = [Audit::ActivityConfirm, Audit::ActivityReport];

/// Rows that match, the latest first, and the cursor of the next page, if there is one.
pub async fn list(
    app: &App,
    filter: &AuditFilter,
    before: Option<i64>,
    limit: i64,
) -> Result<(Vec<AuditRow>, Option<i64>)> {
    let mut rows = app.db.read().await?.list_audit(filter, before, limit + 1).await?;
    let more = i64::try_from(rows.len()).is_ok_and(|count| count > limit);
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = rows.last().filter(|_| more).map(|row| row.id);
    Ok((rows, next))
}

/// A page of what happened to a user.
#[derive(Debug)]
pub struct Activity {
    /// The rows, the latest first.
    pub rows: Vec<AuditRow>,
    /// How many there are on all pages, counted up to 1,000.
    pub total: i64,
    /// Whether there are more than `total`.
    pub total_is_capped: bool,
    /// The latest row with which the user answered for what came before it, if it is among the latest 1,000.
    pub answered: Option<i64>,
}

/// Up to `limit` rows of what happened to a user, after `offset` later ones.
pub async fn activity(app: &App, user: UserId, limit: i64, offset: i64) -> Result<Activity> {
    let mut conn = app.db.read().await?;
    let (rows, counted) = conn
        .activity_of(user, limit, offset, ACTIVITY_COUNTED + 1)
        .await?;
    let (_, answered) = conn.latest_activity_of(user, ANSWERS, ACTIVITY_COUNTED).await?;
    Ok(Activity {
        rows,
        total: counted.min(ACTIVITY_COUNTED),
        total_is_capped: counted > ACTIVITY_COUNTED,
        answered,
    })
}

/// Records that rows are written to a file or a download.
pub async fn record_export(app: &App, what: &str, client: &Client) -> Result<()> {
    let row = NewAudit {
        reason: Some(what),
        ..client.audit(Audit::Export, app.clock.now())
    };
    app.db.write().await?.insert_audit(&row).await
}

/// Records that the service starts with other settings than at its last start. A fingerprint is kept, no value.
pub async fn record_configuration(app: &App) -> Result<()> {
    let mut settings = String::new();
    for entry in app.config.sources() {
        // Writing to a String cannot fail.
        let _ = writeln!(settings, "{} = {}", entry.key, entry.value);
    }
    let print = app.keys.tag("configuration", &[settings.as_bytes()]);
    let print: String = print[..8].iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    let last = app
        .db
        .read()
        .await?
        .last_audit(Audit::ConfigurationChange)
        .await?;
    if last.is_some_and(|row| row.reason.as_deref() == Some(&print)) {
        return Ok(());
    }
    let client = Client::default();
    let row = NewAudit {
        reason: Some(&print),
        ..client.audit(Audit::ConfigurationChange, app.clock.now())
    };
    app.db.write().await?.insert_audit(&row).await
}
