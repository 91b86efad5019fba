//! Taking the outbox's rows up: looking into requests, sending mails.
//!
//! At least once: a row is marked as sent after the server has taken the mail, so a crash in between sends it again, with
//! the same `Message-ID`. In normal running once: a row is taken up by one conditional update, and a stopping service
//! waits for what it has in hand.
//!
//! Resets go first, then notices, then everything else. Each mail is taken from up to three budgets: of the network that caused
//! it, of its recipient by kind, and of its class. While the budget of a class is spent its rows are not even taken up.
//!
//! A link begins its life, and those before it end, when its mail is sent: a mail that waits or is dropped changes nothing.

use std::time::Duration;

use crate::account::{links, requests};
use crate::app::App;
use crate::crypto;
use crate::domain::{MailClass, MailKind, Network, Purpose};
use crate::error::Result;
use crate::limits::{Limit, MailShare};
use crate::mail::{self, SendError};
use crate::store::{MailRow, OVER_BUDGET, OneTimeToken};
use crate::telemetry::codes;

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

/// The first and the longest wait of a row whose network has caused too many mails.
const NETWORK_BACK_OFF: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(1));

/// How often the state of what waits is read.
const WATCH_EVERY: Duration = Duration::from_secs(2);

// The budgets from which a row has been taken, as bits of `MailRow::granted`.
const BY_NETWORK: i64 = 1;
const BY_RECIPIENT: i64 = 2;
const BY_CLASS: i64 = 4;

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
                    app.outbox.set_away(true);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(AWAY.1);
                    continue;
                }
                if outcomes.contains(&Outcome::Sent) {
                    if away {
                        tracing::info!("mail is sent again");
                    }
                    away = false;
                    app.outbox.set_away(false);
                    pause = AWAY.0;
                }
                if !outcomes.is_empty() {
                    continue;
                }
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(code = codes::OUTBOX_NOT_READ, error = ?error, "the outbox cannot be read; trying again each second");
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
        match take_next(app).await {
            Ok(Some(row)) => {
                let (app, work) = (app.clone(), app.clone());
                // A task of its own, which a stopping service waits for: a mail that the server has taken must not be
                // sent again because no node was left to note it.
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

/// Takes up the next due row of the classes whose budget is not spent.
async fn take_next(app: &App) -> Result<Option<MailRow>> {
    let mut conn = app.db.write().await?;
    for class in MailClass::ALL {
        let now = app.clock.now();
        if !app.outbox.is_open(class, now) {
            continue;
        }
        if let Some(row) = conn.take_mail(class, now, now.plus(LEASE)).await? {
            return Ok(Some(row));
        }
        app.outbox.settle(class);
    }
    Ok(None)
}

async fn take_up(app: &App, row: MailRow) -> Outcome {
    let outcome = match try_take_up(app, &row).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::warn!(code = codes::OUTBOX_ROW_FAILED, mail = row.id, kind = row.kind.as_str(), error = ?error, "a row of the outbox failed; it is tried again");
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
        requests::resolve(app, row).await?;
        return Ok(Outcome::Settled);
    }
    let link = match mail::purpose_of(row.kind) {
        Some(purpose) => {
            let token = match row.token {
                Some(id) => app.db.write().await?.one_time_token(id).await?,
                None => None,
            };
            // Before a budget is asked: what will not be sent is not counted.
            let Some(token) = token.filter(|token| token.may_be_sent(row.id, now)) else {
                return drop_row(app, row, NO_GOOD_LINK).await;
            };
            Some((purpose, token))
        }
        None => None,
    };
    let mut row = row.clone();
    if let Some(outcome) = take_from_budgets(app, &mut row).await? {
        return Ok(outcome);
    }
    let row = &row;
    if let Some((purpose, token)) = &link
        && !begin_link(app, row, *purpose, token).await?
    {
        return drop_row(app, row, NO_GOOD_LINK).await;
    }
    let mail = mail::render(row, &app.config.server.public_url.to_string(), &app.keys)?;
    match app.mailer.send(&mail).await {
        Ok(()) => finish(app, row, link.as_ref().map(|(_, token)| token)).await,
        Err(SendError::Away(reason)) => {
            if row.attempts <= 1 {
                tracing::warn!(
                    code = codes::MAIL_NOT_SENT,
                    reason,
                    "mail cannot be sent; it waits"
                );
            }
            app.db.write().await?.release_mail(row, now, 1, &reason).await?;
            Ok(Outcome::Away)
        }
        Err(SendError::Later(reason)) => put_off(app, row, &reason).await,
        Err(SendError::Never(reason)) => drop_row(app, row, &reason).await,
    }
}

/// Replaced by a newer one, used, or gone with its account: the mail would only puzzle.
const NO_GOOD_LINK: &str = "its link is not good any more";

/// Begins the life of the link whose mail is about to be sent. False when it must not be sent.
async fn begin_link(app: &App, row: &MailRow, purpose: Purpose, token: &OneTimeToken) -> Result<bool> {
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    // The row first, as everybody does who takes one up; then the account.
    if !tx.grant_mail(row, row.granted).await? {
        return Ok(false);
    }
    // A deleted account is purged at its time, whenever the mail is sent.
    let until = match purpose {
        Purpose::UndoDeletion => token.expires_at,
        purpose => now.plus(purpose.lifetime()),
    };
    let good = tx.begin_link(token.id, row.id, now, until).await?;
    tx.commit().await?;
    Ok(good)
}

/// Notes that a mail was sent; from now on its link is the only one of its kind.
///
/// Not when the mail is taken up: the mail server may be away for hours or refuse it for good, and then the link that was
/// sent before is the only one that somebody has.
async fn finish(app: &App, row: &MailRow, link: Option<&OneTimeToken>) -> Result<Outcome> {
    let mut tx = app.db.begin().await?;
    if !tx.finish_mail(row, app.clock.now()).await? {
        return Ok(Outcome::Lost);
    }
    if let Some(token) = link {
        match token.user_id() {
            Some(user) => drop(tx.lock_user(user).await?),
            None => tx.pass_guard(links::REGISTRATIONS).await?,
        }
        tx.end_replaced_links(token, row.id).await?;
    }
    tx.commit().await?;
    Ok(Outcome::Sent)
}

/// Takes a mail from its budgets, each once. What becomes of it when one is spent; `None` when it may be sent.
async fn take_from_budgets(app: &App, row: &mut MailRow) -> Result<Option<Outcome>> {
    if row.granted & BY_NETWORK == 0
        && let Some(network) = row.network.as_deref().and_then(network_of)
    {
        let counted = app.limits.take_by_network(Limit::MailNetwork, network, &[]);
        if counted.await.is_err() {
            let wait = doubled(NETWORK_BACK_OFF, row.attempts);
            return defer(app, row, wait, "too many mails from this network")
                .await
                .map(Some);
        }
        row.granted |= BY_NETWORK;
    }
    if row.granted & BY_RECIPIENT == 0 {
        let key = [row.recipient_key.as_str(), recipient_group(row.kind)];
        if let Some(wait) = app.limits.wait(Limit::MailRecipient, &key).await {
            let reason = "too many mails to this recipient";
            if is_asked_for(row.kind) {
                return drop_row(app, row, reason).await.map(Some);
            }
            let due = app.clock.now().plus(wait);
            app.db.write().await?.release_mail(row, due, 0, reason).await?;
            return Ok(Some(Outcome::Deferred));
        }
        row.granted |= BY_RECIPIENT;
    }
    if row.granted & BY_CLASS == 0 {
        let class = row.kind.class();
        let share = match class {
            MailClass::Reset => MailShare::Reset,
            MailClass::Notice => MailShare::Notice,
            MailClass::Other => MailShare::Common,
        };
        if let Some(wait) = app.limits.wait_for_mail(share).await {
            let now = app.clock.now();
            app.outbox.close(class, now.plus(wait));
            app.metrics.mail_budget_refused(class.as_str());
            // Due again at once: its class is taken up again when there is budget, in the order of asking.
            app.db
                .write()
                .await?
                .release_mail(row, row.created_at.min(now), 0, OVER_BUDGET)
                .await?;
            return Ok(Some(Outcome::Deferred));
        }
        row.granted |= BY_CLASS;
    }
    Ok(None)
}

/// The network that a row names: its first address, perhaps with a prefix length.
fn network_of(text: &str) -> Option<Network> {
    Network::of(text.split_once('/').map_or(text, |(address, _)| address))
}

/// What is counted together for one recipient: each kind by itself, so that mails of one kind stop none of another; but what
/// strangers can have sent to the owner of an account, and what has no link of its own, is one.
const fn recipient_group(kind: MailKind) -> &'static str {
    match kind {
        MailKind::AlreadyRegistered | MailKind::EmailWanted => "notice",
        kind => kind.as_str(),
    }
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
    tracing::warn!(
        code = codes::MAIL_DROPPED,
        mail = row.id,
        kind = row.kind.as_str(),
        reason,
        "a mail is dropped"
    );
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

/// Puts a row off that could not be sent now.
async fn put_off(app: &App, row: &MailRow, reason: &str) -> Result<Outcome> {
    defer(app, row, doubled(BACK_OFF, row.attempts), reason).await
}

/// Each time twice as long as before, from the first to the longest, and a little more by chance, so that many do not come
/// back at once.
fn doubled((first, longest): (Duration, Duration), attempts: i64) -> Duration {
    let doublings = u32::try_from(attempts.clamp(1, 16) - 1).unwrap_or(0);
    let wait = first.saturating_mul(1 << doublings).min(longest);
    let [chance] = crypto::random_bytes::<1>();
    wait + wait.mul_f64(f64::from(chance) / 1024.0)
}
