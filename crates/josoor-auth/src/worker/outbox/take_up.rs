//! What becomes of one row.

use std::pin::pin;
use std::time::Duration;

use super::budgets::take_from_budgets;
use super::outcome::{Outcome, drop_row, put_off};
use crate::account::{links, requests};
use crate::app::App;
use crate::domain::Purpose;
use crate::error::Result;
use crate::mail::{self, Effect, Mail, SendError};
use crate::store::{MailRow, OneTimeToken};
use crate::telemetry::{codes, steps};

/// How long a row that was taken up belongs to its taker, unless it goes on with it.
pub(super) const LEASE: Duration = Duration::from_mins(2);

/// How often a node that has a row in hand goes on with it.
const EXTEND_EVERY: Duration = Duration::from_secs(30);

/// How long a stopping service waits for a mail server.
const STOPPING: Duration = Duration::from_secs(15);

/// The first and the longest wait of one row that the server put off.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(15));

/// The same where the server may have taken the mail without saying so: each try may be another copy.
const UNKNOWN_BACK_OFF: (Duration, Duration) = (Duration::from_mins(10), Duration::from_hours(1));

/// A mail that could not be sent for this long is given up.
const GIVE_UP: Duration = Duration::from_hours(24);

/// Replaced by a newer one, used, or gone with its account: the mail would only puzzle.
const NO_GOOD_LINK: &str = "its link is not good any more";

pub(super) async fn take_up(app: &App, row: MailRow) -> Outcome {
    let outcome = match try_take_up(app, &row).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::warn!(
                code = codes::OUTBOX_ROW_FAILED,
                mail = row.id,
                kind = row.kind.as_str(),
                error = &error as &(dyn std::error::Error + 'static),
                "a row of the outbox failed; it is tried again"
            );
            put_off(app, &row, BACK_OFF, &"failed".into())
                .await
                .unwrap_or(Outcome::Lost)
        }
    };
    app.metrics.mail(row.kind.as_str(), outcome.as_str());
    steps::end_outbox_row(outcome.as_str());
    outcome
}

async fn try_take_up(app: &App, row: &MailRow) -> Result<Outcome> {
    let now = app.clock.now();
    if now.since(row.tried_since()) > GIVE_UP {
        return drop_row(app, row, &"it could not be sent for a day".into()).await;
    }
    if row.kind.is_request() {
        requests::resolve(app, row).await?;
        return Ok(Outcome::Settled);
    }
    let link = match row.kind.purpose() {
        Some(purpose) => {
            let token = match row.token {
                Some(id) => app.db.write().await?.one_time_token(id).await?,
                None => None,
            };
            // Before a budget is asked: what will not be sent is not counted.
            let Some(token) = token.filter(|token| token.may_be_sent(row.id, now)) else {
                return drop_row(app, row, &NO_GOOD_LINK.into()).await;
            };
            Some((purpose, token))
        }
        None => None,
    };
    let mut row = row.clone();
    if let Some(outcome) = take_from_budgets(app, &mut row).await? {
        return Ok(outcome);
    }
    if let Some((purpose, token)) = &link
        && !begin_link(app, &row, *purpose, token).await?
    {
        return drop_row(app, &row, &NO_GOOD_LINK.into()).await;
    }
    let mail = mail::render(
        &row,
        app.config.server.public_url.as_str(),
        &app.config.branding,
        &app.keys,
    )?;
    match send(app, &mut row, &mail).await {
        Ok(()) => {
            app.outbox.note_answer(None);
            finish(app, &row, link.as_ref().map(|(_, token)| token)).await
        }
        Err(error) => note_failure(app, &row, &error).await,
    }
}

/// Sends a mail, however long the mail server takes: the row stays ours meanwhile.
async fn send(app: &App, row: &mut MailRow, mail: &Mail) -> std::result::Result<(), SendError> {
    let mut sending = pin!(app.mailer.send(mail));
    let mut stopped = pin!(async {
        app.stopping().cancelled().await;
        tokio::time::sleep(STOPPING).await;
    });
    loop {
        tokio::select! {
            biased;
            done = &mut sending => return done,
            () = &mut stopped => {
                return Err(SendError::unknown("the service stopped before the mail server answered"));
            }
            () = tokio::time::sleep(EXTEND_EVERY) => {
                let until = app.clock.now().plus(LEASE);
                if let Ok(mut conn) = app.db.write().await {
                    // Without the database the mail goes on: it was ours when it began.
                    let _ = conn.extend_mail(row, until).await;
                }
            }
        }
    }
}

async fn note_failure(app: &App, row: &MailRow, error: &SendError) -> Result<Outcome> {
    match error.effect {
        Effect::Away => {
            app.outbox.set_away(&error.reason);
            let now = app.clock.now();
            app.db
                .write()
                .await?
                .release_mail(row, now, 1, &error.reason)
                .await?;
            Ok(Outcome::Away)
        }
        Effect::Later => {
            app.outbox.note_answer(None);
            put_off(app, row, BACK_OFF, &error.reason).await
        }
        Effect::Refused => {
            app.outbox.note_answer(Some(&error.reason));
            put_off(app, row, BACK_OFF, &error.reason).await
        }
        Effect::Unknown => put_off(app, row, UNKNOWN_BACK_OFF, &error.reason).await,
        Effect::Never => {
            app.outbox.note_answer(None);
            drop_row(app, row, &error.reason).await
        }
    }
}

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
