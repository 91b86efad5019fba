//! Signing in with a passkey alone.

use super::issue::Issued;
use super::open::{SignInWith, open};
use super::second_factor::reject_for_session_limit;
use crate::act::{Client, Entry};
use crate::app::App;
use crate::auth::devices;
use crate::auth::factors::passkeys::{self, Presented, Rejected};
use crate::auth::flow::{Flow, Step};
use crate::domain::{Audit, PasskeyAssertion};
use crate::error::{Error, Result};
use crate::telemetry;

/// Finds the account of a passkey that begins a sign-in, and verifies the passkey as far as it takes no lock.
///
/// # Errors
/// `RateLimited`; `PasskeyUnknown` and `PasskeyInvalid`, with an audit row; `FlowExpired` for a challenge that is none of ours or too
/// old.
pub async fn present_passkey(app: &App, assertion: &PasskeyAssertion, client: &Client) -> Result<Presented> {
    let result = match passkeys::present(app, assertion, client).await {
        Ok(Ok(presented)) => return Ok(presented),
        Ok(Err(rejected)) => reject(app, rejected, client).await,
        Err(error) => Err(error),
    };
    count(app, &result).await;
    result
}

async fn reject<T>(app: &App, (user, fault): Rejected, client: &Client) -> Result<T> {
    let error = fault.of_use();
    // A challenge that is too old is no attack, and one that is none of ours tells nothing.
    if !matches!(error, Error::FlowExpired) {
        let failure = Entry::failure(Audit::SignIn, fault.reason());
        app.record(client, failure.subject(user)).await?;
    }
    Err(error)
}

/// Signs in with a passkey that was presented.
///
/// # Errors
/// `PasskeyUnverified` for a passkey that was used without verification of its user, unless the device is trusted; `PasskeyInvalid`,
/// `PasskeyUnknown`, `AccountInactive` and `EmailNotVerified`, with an audit row; `FlowExpired` when the challenge was answered
/// before; `SessionLimit`, which uses up nothing.
pub async fn log_in_with_passkey(
    app: &App,
    presented: Presented,
    with: SignInWith,
    client: &Client,
) -> Result<Issued> {
    let result = try_log_in(app, presented, with, client).await;
    count(app, &result).await;
    result
}

async fn count<T>(app: &App, result: &Result<T>) {
    let outcome = match result {
        Ok(_) => telemetry::SignIn::Success,
        Err(Error::PasskeyInvalid | Error::PasskeyUnknown | Error::PasskeyUnverified) => {
            telemetry::SignIn::PasskeyInvalid
        }
        Err(Error::AccountInactive) => telemetry::SignIn::AccountInactive,
        Err(Error::EmailNotVerified) => telemetry::SignIn::EmailNotVerified,
        Err(Error::RateLimited { .. }) => telemetry::SignIn::RateLimited,
        Err(_) => return,
    };
    app.metrics.sign_in(outcome);
    if outcome == telemetry::SignIn::PasskeyInvalid {
        app.limits.note_failed_sign_in().await;
    }
}

async fn try_log_in(app: &App, presented: Presented, with: SignInWith, client: &Client) -> Result<Issued> {
    let device = devices::verify_mark(app, with.mark.as_ref()).await?;
    let is_trusted = devices::is_trusted(app, &presented.user, device.as_ref()).await?;
    let mut act = app.act(client).await?;
    let user = act.tx.lock_user(presented.user.id).await?;
    let user = user
        .filter(|user| user.deleted_at.is_none() && user.frozen_at.is_none())
        .ok_or(Error::PasskeyUnknown)?;
    let proofs = match presented.redeem(&mut act).await? {
        Ok(proofs) => proofs,
        Err(fault) => {
            let error = fault.of_use();
            if matches!(error, Error::FlowExpired) {
                return Err(error);
            }
            // The challenge stays used.
            act.audit(Entry::failure(Audit::SignIn, fault.reason()).subject(user.id));
            act.commit().await?;
            return Err(error);
        }
    };
    let flow = proofs.into_iter().fold(Flow::sign_in(), Flow::with);
    let who = match flow.on_trusted_device(is_trusted).finish(app, &user) {
        Ok(Step::Finished(who)) => who,
        // A code by mail is asked for after a password alone.
        Ok(Step::FactorNeeded | Step::MailCodeNeeded) => {
            drop(act);
            return refuse(
                app,
                Error::PasskeyUnverified,
                "passkey_unverified",
                &presented,
                client,
            )
            .await;
        }
        Err(error) => {
            drop(act);
            let reason = match error {
                Error::AccountInactive => "account_inactive",
                Error::EmailNotVerified => "email_not_verified",
                _ => return Err(error),
            };
            return refuse(app, error, reason, &presented, client).await;
        }
    };
    let now = act.now;
    if !act.tx.claim_sign_in(user.id, user.version, now).await? {
        return Err(Error::PasskeyUnknown);
    }
    let opened = match open(&mut act, &who, &user, with).await {
        Ok(opened) => opened,
        Err(Error::SessionLimit) => {
            drop(act);
            return reject_for_session_limit(app, &user, client).await;
        }
        Err(error) => return Err(error),
    };
    act.acts_as(user.id);
    let entry = Entry::success(Audit::SignIn).subject(user.id).reason("passkey");
    act.audit(entry.session(opened.session.id()));
    opened.notify_of_new_device(&mut act, &user).await?;
    opened.commit(act, &user).await
}

/// Records why a right passkey opens no session.
async fn refuse<T>(
    app: &App,
    error: Error,
    reason: &'static str,
    presented: &Presented,
    client: &Client,
) -> Result<T> {
    let failure = Entry::failure(Audit::SignIn, reason).subject(presented.user.id);
    app.record(client, failure).await?;
    Err(error)
}
