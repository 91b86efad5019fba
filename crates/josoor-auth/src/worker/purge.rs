//! Periodic clean-up.

use std::time::Duration;

use crate::account::{self, deletion};
use crate::admin::stats;
use crate::app::App;
use crate::audit;
use crate::auth::devices;
use crate::domain::Timestamp;
use crate::error::Result;
use crate::telemetry::codes;

/// Between two rounds of purging.
const EVERY: Duration = Duration::from_mins(10);

/// Rows removed in one statement: few enough not to delay other writers.
const STEP: i64 = 500;

/// The pause between two steps.
const PAUSE: Duration = Duration::from_millis(20);

/// What is past its last possible moment stays for a while, so that "why was I signed out?" can be answered.
const KEEP_ENDED: Duration = Duration::from_hours(24);

/// Mails that were sent or given up stay for this long, for those who look into a complaint.
const KEEP_MAILS: Duration = Duration::from_hours(7 * 24);

/// Failed sign-ins to addresses without an account are counted for this long.
const KEEP_FAILURES: Duration = Duration::from_hours(30 * 24);

/// Removes what is past its time, for ever.
pub async fn purge_regularly(app: App) {
    loop {
        tokio::time::sleep(EVERY).await;
        // With a limit, because a connection whose other end has gone silent answers never.
        match tokio::time::timeout(EVERY, purge(&app)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(
                code = codes::PURGE_STOPPED,
                error = &error as &(dyn std::error::Error + 'static),
                "purging stopped early; it goes on next time"
            ),
            Err(_) => tracing::warn!(
                code = codes::PURGE_STOPPED,
                "purging took too long; it goes on next time"
            ),
        }
    }
}

/// Removes, in small steps, sessions, one-time tokens and keys whose last possible moment was a day ago, flows that are over, deleted
/// accounts after their grace, what accounts had before changes that cannot be undone any more, counts of failed sign-ins to addresses without an account, changes that no copy can contradict any more, and
/// audit rows past their retention. Stores the statistics of days that are over.
pub async fn purge(app: &App) -> Result<()> {
    let now = app.clock.now();
    let ended = now.minus(KEEP_ENDED);
    in_steps(app, ended, async |app, before| {
        app.db.write().await?.purge_sessions(before, STEP).await
    })
    .await?;
    in_steps(app, ended, async |app, before| {
        app.db.write().await?.purge_one_time_tokens(before, STEP).await
    })
    .await?;
    in_steps(app, now, async |app, before| {
        app.db.write().await?.purge_flows(before, STEP).await
    })
    .await?;
    in_steps(app, now, async |app, before| {
        let due = app.db.read().await?.users_to_purge(before, STEP).await?;
        let mut purged = 0;
        for id in due {
            purged += u64::from(deletion::purge(app, id).await?);
        }
        Ok(purged)
    })
    .await?;
    let past = now
        .minus(account::WINDOW * 2)
        .minus(app.config.account.deletion_grace);
    in_steps(app, past, async |app, before| {
        app.db.write().await?.purge_past_credentials(before, STEP).await
    })
    .await?;
    in_steps(app, now.minus(KEEP_FAILURES), async |app, before| {
        app.db.write().await?.purge_failed_sign_ins(before, STEP).await
    })
    .await?;
    let kept_since = now.minus(KEEP_MAILS);
    in_steps(app, kept_since, async |app, before| {
        app.db.write().await?.purge_outbox(before, STEP).await
    })
    .await?;
    in_steps(app, ended, async |app, before| {
        app.db.write().await?.purge_changes(before, STEP).await
    })
    .await?;
    in_steps(app, ended, async |app, before| {
        app.db.write().await?.purge_keys(before, STEP).await
    })
    .await?;
    in_steps(app, now.minus(devices::KEEP_FORGOTTEN), async |app, forgotten| {
        let unused = forgotten
            .plus(devices::KEEP_FORGOTTEN)
            .minus(devices::DEVICE_LIFE);
        let mut conn = app.db.write().await?;
        conn.purge_devices(forgotten, unused, STEP).await
    })
    .await?;
    // Before the rows that are counted go; they go also when they cannot be counted.
    let stored = stats::store_days(app).await;
    let retained = now.minus(app.config.audit.retention);
    in_steps(app, retained, async |app, before| {
        audit::prune(app, before, STEP).await
    })
    .await?;
    stored
}

async fn in_steps(
    app: &App,
    before: Timestamp,
    step: impl AsyncFn(&App, Timestamp) -> Result<u64>,
) -> Result<()> {
    while step(app, before).await? > 0 {
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
