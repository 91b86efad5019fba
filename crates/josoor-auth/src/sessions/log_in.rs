//! Signing in with address and password.

use super::issue::Issued;
use super::open::{SignInWith, open};
use super::second_factor::reject_for_session_limit;
use crate::act::{Client, Entry};
use crate::app::App;
use crate::auth::devices;
use crate::auth::failures;
use crate::auth::flow::{Authenticated, Flow, Step};
use crate::auth::password::{self, SignIn};
use crate::auth::pending::{self, FactorNeeded};
use crate::domain::{Audit, Email, Password};
use crate::error::{Error, Result};
use crate::telemetry;

/// How often a sign-in is tried again because the account was changed in the middle of it.
const ATTEMPTS: usize = 8;

/// What a right password leads to.
#[derive(Debug)]
pub enum LogIn {
    /// A session.
    Opened(Box<Issued>),
    /// The question for a second factor, or for a code by mail.
    FactorNeeded(FactorNeeded),
}

/// Signs in with address and password.
///
/// # Errors
/// `RateLimited`, before the account is read; `InvalidCredentials` for an unknown address and for a wrong password, after the
/// same work; `AccountInactive` and `EmailNotVerified` only after the right password; `SessionLimit`; `Overloaded` when too
/// many wait for the hasher.
pub async fn log_in(
    app: &App,
    email: &Email,
    password: Password,
    with: SignInWith,
    client: &Client,
) -> Result<LogIn> {
    let result = try_log_in(app, email, password, with, client).await;
    let outcome = match &result {
        Ok(LogIn::Opened(_)) => Some(telemetry::SignIn::Success),
        Ok(LogIn::FactorNeeded(_)) => Some(telemetry::SignIn::MfaRequired),
        Err(Error::InvalidCredentials) => Some(telemetry::SignIn::InvalidCredentials),
        Err(Error::AccountInactive) => Some(telemetry::SignIn::AccountInactive),
        Err(Error::EmailNotVerified) => Some(telemetry::SignIn::EmailNotVerified),
        Err(Error::Overloaded { .. }) => Some(telemetry::SignIn::Overloaded),
        Err(Error::RateLimited { .. }) => Some(telemetry::SignIn::RateLimited),
        // Counted as a failed request, not as a sign-in.
        Err(_) => None,
    };
    if let Some(outcome) = outcome {
        app.metrics.sign_in(outcome);
    }
    if outcome == Some(telemetry::SignIn::InvalidCredentials) {
        app.limits.note_failed_sign_in().await;
        failures::note(app, email, client).await?;
    }
    result
}

async fn try_log_in(
    app: &App,
    email: &Email,
    password: Password,
    with: SignInWith,
    client: &Client,
) -> Result<LogIn> {
    let mut verified = password::verify_sign_in(app, email, password, with.mark.as_ref(), client).await?;
    for _ in 0..ATTEMPTS {
        let step = finish_flow(app, &verified, client).await?;
        verified.rehash_outdated(app).await;
        let done = match step {
            Step::Finished(who) => open_session(app, &verified, &who, with, client).await?,
            Step::FactorNeeded => ask_for_factor(app, &verified, with, client).await?,
            Step::MailCodeNeeded => ask_for_mail_code(app, &verified, with, client).await?,
        };
        if let Some(done) = done {
            return Ok(done);
        }
        verified = verified.verify_again(app, client).await?;
    }
    Err(Error::unavailable(anyhow::anyhow!(
        "user {} is being changed by many requests at once",
        verified.user.id
    )))
}

async fn finish_flow(app: &App, verified: &SignIn, client: &Client) -> Result<Step> {
    let user = &verified.user;
    // Only of accounts with a second factor is anything read besides.
    let is_trusted =
        user.mfa_at.is_some() && devices::is_trusted(app, user, verified.device.as_ref()).await?;
    let wants_code = failures::wants_code(app, user, verified.failures, verified.device.as_ref());
    let flow = Flow::sign_in()
        .with(verified.proof)
        .on_trusted_device(is_trusted)
        .wanting_mail_code(wants_code);
    let reason = match flow.finish(app, user) {
        Ok(step) => return Ok(step),
        Err(error) => error,
    };
    let code = match reason {
        Error::AccountInactive => "account_inactive",
        Error::EmailNotVerified => "email_not_verified",
        _ => "invalid_credentials",
    };
    let failure = Entry::failure(Audit::SignIn, code).subject(verified.user.id);
    app.record(client, failure).await?;
    Err(reason)
}

/// Asks for the second factor; `None` when the account was changed since the first one was verified.
async fn ask_for_factor(
    app: &App,
    verified: &SignIn,
    with: SignInWith,
    client: &Client,
) -> Result<Option<LogIn>> {
    let mut act = app.act(client).await?;
    if !verified.hold(&mut act).await? {
        return Ok(None);
    }
    let needed = pending::begin(&mut act, &verified.user, verified.proof, with.transport).await?;
    act.commit().await?;
    Ok(Some(LogIn::FactorNeeded(needed)))
}

/// Sends a code by mail and asks for it; `None` when the account was changed since the password was verified.
async fn ask_for_mail_code(
    app: &App,
    verified: &SignIn,
    with: SignInWith,
    client: &Client,
) -> Result<Option<LogIn>> {
    let mut act = app.act(client).await?;
    if !verified.hold(&mut act).await? {
        return Ok(None);
    }
    let (user, proof) = (&verified.user, verified.proof);
    let needed = pending::begin_with_mail_code(&mut act, user, proof, with.transport).await?;
    act.commit().await?;
    Ok(Some(LogIn::FactorNeeded(needed)))
}

/// Opens the session; `None` when the account was changed since it was verified.
async fn open_session(
    app: &App,
    verified: &SignIn,
    who: &Authenticated,
    with: SignInWith,
    client: &Client,
) -> Result<Option<LogIn>> {
    let mut act = app.act(client).await?;
    if !verified.claim(&mut act).await? {
        return Ok(None);
    }
    let opened = match open(&mut act, who, &verified.user, with).await {
        Ok(opened) => opened,
        Err(Error::SessionLimit) => {
            // Nothing of the sign-in is kept.
            drop(act);
            return reject_for_session_limit(app, &verified.user, client).await;
        }
        Err(error) => return Err(error),
    };
    let entry = Entry::success(Audit::SignIn)
        .actor(who.user())
        .subject(who.user());
    act.audit(entry.session(opened.session.id()));
    opened.notify_of_new_device(&mut act, &verified.user).await?;
    let issued = opened.commit(act, &verified.user).await?;
    Ok(Some(LogIn::Opened(Box::new(issued))))
}
