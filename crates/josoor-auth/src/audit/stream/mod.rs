//! Sealed rows for other systems, in the order of the chain and at least once: syslog messages, and a signed webhook.
//!
//! How far a stream has come is in the table `audit_streams`. One node at a time, which holds a lease, hands rows over; when it is
//! gone another one goes on where it stood, and may repeat the last rows. A receiver knows repeated rows by `seq` and `mac`; after a
//! restore the same `seq` comes with another `mac`. Rows past their retention are not handed over any more.

mod connect;
mod syslog;
mod webhook;

use std::time::Duration;

use futures_util::future::join_all;

use self::syslog::Syslog;
use self::webhook::Webhook;
use super::chain::HEAD;
use crate::app::App;
use crate::error::{Error, Result};
use crate::store::AuditRow;
use crate::telemetry::codes;

/// Between two looks for new rows.
const EVERY: Duration = Duration::from_secs(1);

/// Rows that are handed over at once.
const BATCH: i64 = 100;

/// How long the receiver may take for a batch.
const PATIENCE: Duration = Duration::from_secs(15);

/// Longer than a batch may take.
const LEASE_TIME: Duration = Duration::from_secs(30);

/// Between two attempts, at most.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

const SYSLOG_LEASE: &str = "audit-stream-syslog";
const WEBHOOK_LEASE: &str = "audit-stream-webhook";

/// What a node may hold of the streams.
pub(super) const STREAM_LEASES: [&str; 2] = [SYSLOG_LEASE, WEBHOOK_LEASE];

/// One receiver.
enum Receiver {
    Syslog(Syslog),
    Webhook(Webhook),
}

impl Receiver {
    /// The name of the stream, in the database and in the figures.
    const fn name(&self) -> &'static str {
        match self {
            Self::Syslog(_) => "syslog",
            Self::Webhook(_) => "webhook",
        }
    }

    const fn lease(&self) -> &'static str {
        match self {
            Self::Syslog(_) => SYSLOG_LEASE,
            Self::Webhook(_) => WEBHOOK_LEASE,
        }
    }

    async fn send(&mut self, rows: &[AuditRow], app: &App) -> anyhow::Result<()> {
        match self {
            Self::Syslog(syslog) => syslog.send(rows).await,
            Self::Webhook(webhook) => webhook.send(rows, app.clock.now()).await,
        }
    }
}

/// Hands sealed rows to the receivers of the settings for as long as the service runs.
pub async fn stream_regularly(app: App) {
    let config = &app.config.audit;
    let origin = &app.config.server.public_url;
    let syslog = config
        .syslog
        .as_ref()
        .map(|target| Receiver::Syslog(Syslog::new(target, origin)));
    let webhook = config
        .webhook
        .as_ref()
        .map(|webhook| Receiver::Webhook(Webhook::new(webhook)));
    join_all(
        [syslog, webhook]
            .into_iter()
            .flatten()
            .map(|receiver| follow(&app, receiver)),
    )
    .await;
    // Without a receiver there is nothing to do, and a task that ends is started again.
    std::future::pending::<()>().await;
}

async fn follow(app: &App, mut receiver: Receiver) {
    let mut failures = 0;
    loop {
        let pause = match hand_over(app, &mut receiver).await {
            Ok(more) => {
                if failures > 0 {
                    tracing::info!(stream = receiver.name(), "audit rows are handed over again");
                }
                failures = 0;
                if more { Duration::ZERO } else { EVERY }
            }
            Err(error) => {
                if failures == 0 {
                    tracing::warn!(
                        code = codes::AUDIT_STREAM_FAILING,
                        stream = receiver.name(),
                        error = &error as &(dyn std::error::Error + 'static),
                        "audit rows cannot be handed over; trying again"
                    );
                }
                failures += 1;
                LONGEST_PAUSE.min(EVERY * 2_u32.pow(failures.min(6)))
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Hands over the next rows, if this node holds the stream's lease or can take it. Whether there may be more.
async fn hand_over(app: &App, receiver: &mut Receiver) -> Result<bool> {
    let name = receiver.name();
    let mut conn = app.db.read().await?;
    let head = conn.chain_end(HEAD).await?.map_or(0, |head| head.seq);
    let position = conn.stream_position(name).await?;
    drop(conn);
    let Some(position) = position else {
        let mut conn = app.db.write().await?;
        conn.begin_stream(name, head, app.clock.now()).await?;
        return Ok(true);
    };
    app.metrics
        .audit_stream_behind(name, head.saturating_sub(position));
    if head <= position || !take(app, receiver.lease()).await? {
        return Ok(false);
    }
    // Where it stands now: another node may have moved it before the lease was this node's.
    let mut conn = app.db.read().await?;
    let from = conn.stream_position(name).await?.unwrap_or(position);
    let rows = conn.sealed_after(from, BATCH).await?;
    drop(conn);
    let Some(to) = rows.last().and_then(|row| row.seq) else {
        return Ok(false);
    };
    let sent = tokio::time::timeout(PATIENCE, receiver.send(&rows, app)).await;
    sent.map_err(|_| anyhow::anyhow!("the receiver took longer than {} s", PATIENCE.as_secs()))
        .flatten()
        .map_err(Error::Internal)?;
    let mut conn = app.db.write().await?;
    conn.move_stream(name, from, to, app.clock.now()).await?;
    app.metrics.audit_streamed(name, rows.len() as u64);
    app.metrics.audit_stream_behind(name, head.saturating_sub(to));
    Ok(true)
}

/// Whether this node hands over the rows of a stream for the next while.
async fn take(app: &App, lease: &str) -> Result<bool> {
    let now = app.clock.now();
    let mut conn = app.db.write().await?;
    conn.take_lease(lease, app.audit.holder, now, now.plus(LEASE_TIME))
        .await
}
