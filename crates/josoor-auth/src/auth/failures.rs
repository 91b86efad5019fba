//! Failed sign-ins in a row (NIST SP 800-63B-4, 3.2.2). At `login.failures_until_code` of them a right password no longer signs in by
//! itself from a device that the account does not know: a code by mail is asked for as well.
//!
//! They are counted by the address that was typed, over all networks and devices, and alike for addresses without an account; time
//! alone does not end the row, a sign-in or a reset does. Before the right password nothing differs, and known devices go on as
//! before, so that the account's owner is not locked out.

use crate::act::{Act, Client, Entry};
use crate::app::App;
use crate::domain::{Audit, Email, KnownDevice, Locale, MailKind};
use crate::error::Result;
use crate::mail::Mailer;
use crate::store::{NewMail, User};

/// Counts a failed sign-in. The one that completes the row has a request queued that the outbox resolves, whether there is an
/// account or not.
///
/// # Errors
/// `StoreUnavailable`.
pub async fn note(app: &App, email: &Email, client: &Client) -> Result<()> {
    let Some(limit) = app.config.login.failures_until_code else {
        return Ok(());
    };
    let now = app.clock.now();
    let count = app
        .db
        .write()
        .await?
        .count_failed_sign_in(email.key(), now)
        .await?;
    if count != limit {
        return Ok(());
    }
    let mut act = app.act(client).await?;
    let request = NewMail {
        content: client.request(),
        ..act.mail_to_stranger(email, MailKind::FailureLimitRequest, Locale::En, None)
    };
    act.queue(&request).await?;
    act.commit().await
}

/// How many sign-ins to an address have failed in a row.
///
/// # Errors
/// `StoreUnavailable`.
pub async fn in_a_row(app: &App, email: &Email) -> Result<i64> {
    if app.config.login.failures_until_code.is_none() {
        return Ok(0);
    }
    app.db.read().await?.failed_sign_ins(email.key()).await
}

/// Whether a right password takes a code by mail besides, after so many failures. Not where the code would not arrive, at an
/// address that is not verified or without a mail server: its owner would be locked out. A second factor is more than the code.
pub fn wants_code(app: &App, user: &User, failures: i64, device: Option<&KnownDevice>) -> bool {
    let is_over = app
        .config
        .login
        .failures_until_code
        .is_some_and(|limit| failures >= limit);
    is_over && device.is_none() && applies_to(app, user)
}

fn applies_to(app: &App, user: &User) -> bool {
    user.is_active
        && user.mfa_at.is_none()
        && user.email_verified_at.is_some()
        && !matches!(app.mailer, Mailer::Nowhere)
}

/// Records that an account has come to the limit, and notifies its owner.
///
/// # Errors
/// `StoreUnavailable`.
pub async fn record(act: &mut Act, owner: Option<&User>) -> Result<()> {
    let Some(owner) = owner.filter(|owner| applies_to(&act.app, owner)) else {
        return Ok(());
    };
    act.app.metrics.failure_limit_reached();
    act.audit(Entry::success(Audit::FailureLimit).subject(owner.id));
    act.notify(owner, MailKind::FailureLimit).await
}
