//! Taking the outbox's rows up: looking into requests, sending mails.
//!
//! At least once: a row is marked as sent after the server has taken the mail, so a crash in between sends it again, with
//! the same `Message-ID`. In normal running once: a row is taken up by one conditional update, stays with its taker for as long
//! as the mail server takes, and a stopping service waits for what it has in hand.
//!
//! Resets go first, then notices, then everything else; several at once, but of one recipient's one after the other. Each mail is
//! taken from up to three budgets: of the network that caused it, of its recipient by kind, and of its class. While the budget of
//! a class is spent its rows are not even taken up.
//!
//! A link begins its life, and those before it end, when its mail is sent: a mail that waits or is dropped changes nothing.

mod budgets;
mod outcome;
mod take_up;

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use self::outcome::Outcome;
use self::take_up::{LEASE, take_up};
use crate::app::App;
use crate::domain::MailClass;
use crate::error::{Error, Result};
use crate::store::MailRow;
use crate::telemetry::{Scope, codes};

/// Rows in hand at once. Some mail servers take no more connections of one client.
const AT_ONCE: usize = 4;

/// Other nodes and the command line queue mails as well; they do not wake this one.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The pauses of the whole queue while the mail server takes nothing: the first and the longest.
const AWAY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// How often the state of what waits is read.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// Reads what waits, for metrics and `/readyz`, for as long as the service runs.
pub async fn watch(app: App) {
    loop {
        let backlog = async { app.db.read().await?.mail_backlog().await };
        // Without the database `/readyz` says so by itself.
        if let Ok(backlog) = backlog.await {
            app.outbox.note(&backlog);
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

/// Takes rows up for as long as the service runs.
pub async fn deliver(app: App) {
    let mut in_hand = FuturesUnordered::new();
    let mut recipients: Vec<String> = Vec::new();
    let mut pause = AWAY.0;
    let mut not_before = Instant::now();
    let mut failing = false;
    let mut is_begun = false;
    loop {
        let taken = async {
            if !is_begun {
                free_rows(&app).await?;
                is_begun = true;
            }
            // While the mail server takes nothing, one row is enough to see that it does again.
            let most = if app.outbox.is_away() { 1 } else { AT_ONCE };
            while recipients.len() < most && Instant::now() >= not_before {
                let Some(row) = take_next(&app, &recipients).await? else {
                    break;
                };
                let recipient = row.recipient_key.clone();
                recipients.push(recipient.clone());
                let work = app.clone();
                // Before the next row is taken, so that links begin in the order of their mails: one that a later one has
                // replaced would be dropped after it was counted. A task of its own, which a stopping service waits for: a mail
                // that the server has taken must not be sent again because no node was left to note it.
                let trace = app
                    .traces
                    .as_ref()
                    .and_then(|traces| traces.begin_outbox_row(row.kind.as_str()));
                let scope = Scope::of_background(trace);
                let work = app.finish(scope.run(async move { take_up(&work, row).await }));
                in_hand.push(async move { (recipient, work.await) });
            }
            Ok::<_, Error>(())
        };
        match taken.await {
            Ok(()) => {
                if failing {
                    tracing::info!("the outbox is read again");
                }
                failing = false;
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(
                        code = codes::OUTBOX_NOT_READ,
                        error = &error as &(dyn std::error::Error + 'static),
                        "the outbox cannot be read; trying again each second"
                    );
                }
                failing = true;
                not_before = Instant::now() + LOOK_EVERY;
            }
        }
        let woken = async {
            if Instant::now() < not_before {
                return tokio::time::sleep_until(not_before).await;
            }
            let _ = tokio::time::timeout(LOOK_EVERY, app.mail_queued.notified()).await;
        };
        tokio::select! {
            Some((recipient, outcome)) = in_hand.next(), if !in_hand.is_empty() => {
                if let Some(at) = recipients.iter().position(|one| *one == recipient) {
                    recipients.swap_remove(at);
                }
                // A panic costs its own row a lease, and nothing else.
                match outcome.unwrap_or(Outcome::Lost) {
                    Outcome::Away => {
                        not_before = Instant::now() + pause;
                        pause = (pause * 2).min(AWAY.1);
                    }
                    _ if !app.outbox.is_away() => pause = AWAY.0,
                    _ => {}
                }
            }
            () = woken => {}
        }
    }
}

/// Gives back the rows that a process had in hand before this machine's clock was set back.
async fn free_rows(app: &App) -> Result<()> {
    let now = app.clock.now();
    let mut conn = app.db.write().await?;
    conn.free_mails(now, now.plus(LEASE * 2)).await.map(drop)
}

/// Takes up the next due row of the classes whose budget is not spent, to a recipient of whom none is in hand.
async fn take_next(app: &App, recipients: &[String]) -> Result<Option<MailRow>> {
    let mut conn = app.db.write().await?;
    for class in MailClass::ALL {
        let now = app.clock.now();
        if !app.outbox.is_open(class, now) {
            continue;
        }
        let row = conn
            .take_mail_except(recipients, class, now, now.plus(LEASE))
            .await?;
        if row.is_some() {
            return Ok(row);
        }
        if recipients.is_empty() {
            app.outbox.settle(class);
        }
    }
    Ok(None)
}
