//! Taking the outbox's rows up: looking into requests, sending mails.
//!
//! At least once: a row is marked as sent after the server has taken the mail, so a crash in between sends it again, with
//! the same `Message-ID`. In normal running once: a row is taken up by one conditional update, and a stopping service
//! waits for what it has in hand.

use std::time::Duration;

use crate::app::App;
use crate::crypto;
use crate::error::{Error, Result};
use crate::limits::Limit;
use crate::mail::{self, SendError};
use crate::recovery;
use crate::store::{MailKind, MailRow};

/// How long a row that was taken up belongs to its taker; longer than sending ever takes.
const LEASE: Duration = Duration::from_mins(2);

/// Rows in hand at once.
const AT_ONCE: usize = 4;

/// Other nodes and the command line queue mails as well; they do not wake this one.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The pauses of the whole queue while the mail server is away: the first and the longest.
const AWAY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// The first and the longest wait of one row that the server put off.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(15));

/// A mail that could not be sent for this long is given up.
const GIVE_UP: Duration = Duration::from_hours(24);

/// How taking up a row ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Sent,
    Settled,
    Dropped,
    Deferred,
    /// The mail server is away: nothing else need be tried for now.
    Away,
    /// Somebody else has it, or the store failed; the lease brings the row back.
    Lost,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
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

/// Takes rows up for as long as the service runs.
pub async fn deliver(app: App) {
    let mut pause = AWAY.0;
    let mut away = false;
    let mut failing = false;
    loop {
        match round(&app).await {
            Ok(outcomes) => {
                if failing {
                    tracing::info!("the outbox is read again");
                }
                failing = false;
                if outcomes.contains(&Outcome::Away) {
                    away = true;
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(AWAY.1);
                    continue;
                }
                if outcomes.contains(&Outcome::Sent) {
                    if away {
                        tracing::info!("mail is sent again");
                    }
                    away = false;
                    pause = AWAY.0;
                }
                if !outcomes.is_empty() {
                    continue;
                }
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(error = ?error, "the outbox cannot be read; trying again each second");
                }
                failing = true;
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        let _ = tokio::time::timeout(LOOK_EVERY, app.mail_queued.notified()).await;
    }
}

/// Takes up as many rows as are due, up to [`AT_ONCE`], and waits for all of them.
async fn round(app: &App) -> Result<Vec<Outcome>> {
    let mut in_hand = Vec::new();
    let mut taken = Ok(());
    while in_hand.len() < AT_ONCE {
        let now = app.clock.now();
        let row = async { app.db.write().await?.take_mail(now, now.plus(LEASE)).await };
        match row.await {
            Ok(Some(row)) => {
                let (app, work) = (app.clone(), app.clone());
                // A task of its own, which a stopping service waits for: a mail that the server has taken must not be
                // sent again because nobody was left to note it.
                in_hand.push(app.finish(async move { take_up(&work, row).await }));
            }
            Ok(None) => break,
            Err(error) => {
                taken = Err(error);
                break;
            }
        }
    }
    let mut outcomes = Vec::with_capacity(in_hand.len());
    for work in in_hand {
        // A panic costs its own row a lease, and nothing else.
        outcomes.push(work.await.unwrap_or(Outcome::Lost));
    }
    taken.map(|()| outcomes)
}

async fn take_up(app: &App, row: MailRow) -> Outcome {
    let outcome = match try_take_up(app, &row).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::warn!(mail = row.id, kind = row.kind.as_str(), error = ?error, "a row of the outbox failed; it is tried again");
            put_off(app, &row, "failed").await.unwrap_or(Outcome::Lost)
        }
    };
    app.metrics.mail(row.kind.as_str(), outcome.as_str());
    outcome
}

async fn try_take_up(app: &App, row: &MailRow) -> Result<Outcome> {
    let now = app.clock.now();
    if now.since(row.created_at) > GIVE_UP {
        return drop_row(app, row, "it could not be sent for a day").await;
    }
    if row.kind.is_request() {
        recovery::resolve(app, row).await?;
        return Ok(Outcome::Settled);
    }
    if mail::purpose_of(row.kind).is_some() {
        let token = match row.token {
            Some(id) => app.db.write().await?.one_time_token(id).await?,
            None => None,
        };
        // Replaced by a newer one, used, or gone with its account: the mail would only puzzle.
        if !token.is_some_and(|token| token.used_at.is_none() && token.expires_at > now) {
            return drop_row(app, row, "its link is not good any more").await;
        }
    }
    // A mail is counted once, however often the server has to be asked.
    if row.attempts <= 1
        && let Some(outcome) = over_a_limit(app, row).await?
    {
        return Ok(outcome);
    }
    let mail = mail::render(row, &app.config.server.public_url.to_string(), &app.keys)?;
    match app.mailer.send(&mail).await {
        Ok(()) => {
            let finished = app.db.write().await?.finish_mail(row, app.clock.now()).await?;
            Ok(if finished { Outcome::Sent } else { Outcome::Lost })
        }
        Err(SendError::Away(reason)) => {
            if row.attempts <= 1 {
                tracing::warn!(reason, "mail cannot be sent; it waits");
            }
            app.db.write().await?.release_mail(row, now, 1, &reason).await?;
            Ok(Outcome::Away)
        }
        Err(SendError::Later(reason)) => put_off(app, row, &reason).await,
        Err(SendError::Never(reason)) => {
            tracing::warn!(
                mail = row.id,
                kind = row.kind.as_str(),
                reason,
                "a mail was refused for good"
            );
            drop_row(app, row, &reason).await
        }
    }
}

/// What becomes of a mail for which there is no room now; `None` when there is.
async fn over_a_limit(app: &App, row: &MailRow) -> Result<Option<Outcome>> {
    let limits = [
        (Limit::MailRecipient, "too many mails to this recipient"),
        (Limit::MailTotal, "too many mails in all"),
    ];
    for (limit, reason) in limits {
        let key = [row.recipient_key.as_str()];
        let key = if limit == Limit::MailRecipient {
            &key[..]
        } else {
            &[]
        };
        let wait = match app.limits.take(limit, key).await {
            Ok(()) => continue,
            Err(Error::RateLimited { retry_after, .. }) => retry_after,
            Err(error) => return Err(error),
        };
        if limit == Limit::MailRecipient && is_asked_for(row.kind) {
            return drop_row(app, row, reason).await.map(Some);
        }
        let due = app.clock.now().plus(wait);
        app.db.write().await?.release_mail(row, due, 0, reason).await?;
        return Ok(Some(Outcome::Deferred));
    }
    Ok(None)
}

/// Whether a stranger can have the mail sent as often as they like. Notices of what has happened are not among these.
const fn is_asked_for(kind: MailKind) -> bool {
    matches!(
        kind,
        MailKind::VerifyEmail
            | MailKind::FinishRegistration
            | MailKind::AlreadyRegistered
            | MailKind::ResetPassword
            | MailKind::ConfirmEmail
            | MailKind::EmailWanted
    )
}

async fn drop_row(app: &App, row: &MailRow, reason: &str) -> Result<Outcome> {
    app.db
        .write()
        .await?
        .drop_mail(row, app.clock.now(), reason)
        .await?;
    Ok(Outcome::Dropped)
}

async fn defer(app: &App, row: &MailRow, wait: Duration, reason: &str) -> Result<Outcome> {
    let due = app.clock.now().plus(wait);
    app.db.write().await?.defer_mail(row, due, reason).await?;
    Ok(Outcome::Deferred)
}

/// Each time twice as long as before, and a little more by chance, so that many do not come back at once.
async fn put_off(app: &App, row: &MailRow, reason: &str) -> Result<Outcome> {
    let doublings = u32::try_from(row.attempts.clamp(1, 16) - 1).unwrap_or(0);
    let wait = BACK_OFF.0.saturating_mul(1 << doublings).min(BACK_OFF.1);
    let [chance] = crypto::random_bytes::<1>();
    defer(app, row, wait + wait.mul_f64(f64::from(chance) / 1024.0), reason).await
}
