//! Signing in with address and password.

use super::issue::Issued;
use super::limit::tell_of_session_limit;
use super::open::{SignInWith, open_session};
use crate::account::secure;
use crate::act::Client;
use crate::app::App;
use crate::auth::devices::{self, Familiarity};
use crate::domain::{Email, Password, PasswordHash, UserId};
use crate::error::{Error, Result};
use crate::hasher::Verdict;
use crate::keys::DeviceMark;
use crate::limits::PasswordCheck;
use crate::store::{Audit, NewAudit, User};
use crate::telemetry::SignIn;

/// Signs in with address and password.
///
/// # Errors
/// `RateLimited`, before the account is looked up and without a trace in the audit trail, which a flood must not fill;
/// `InvalidCredentials` for an unknown address and for a wrong password, after the same work; `AccountInactive` and
/// `EmailNotVerified` only after the right password; `Overloaded` when too many wait for the hasher.
pub async fn log_in(
    app: &App,
    email: &Email,
    password: Password,
    with: SignInWith,
    client: &Client,
) -> Result<Issued> {
    let result = match take_limits(app, email, with.mark.as_ref(), client).await {
        Ok(counted) => try_log_in(app, email, password, counted, with, client).await,
        Err(error) => Err(error),
    };
    let outcome = match &result {
        Ok(_) => Some(SignIn::Success),
        Err(Error::InvalidCredentials) => Some(SignIn::InvalidCredentials),
        Err(Error::AccountInactive) => Some(SignIn::AccountInactive),
        Err(Error::EmailNotVerified) => Some(SignIn::EmailNotVerified),
        Err(Error::Overloaded { .. }) => Some(SignIn::Overloaded),
        Err(Error::RateLimited { .. }) => Some(SignIn::RateLimited),
        // Counted as a failed request, not as a sign-in.
        Err(_) => None,
    };
    if let Some(outcome) = outcome {
        app.metrics.sign_in(outcome);
    }
    if outcome == Some(SignIn::InvalidCredentials) {
        app.limits.note_failed_sign_in().await;
    }
    result
}

/// Counts a sign-in, as one on a known device where the mark is one. The network comes first, so that a client over that limit
/// costs the database nothing; the row of a mark is read only when its signature is right, which no stranger's is.
async fn take_limits(
    app: &App,
    email: &Email,
    mark: Option<&DeviceMark>,
    client: &Client,
) -> Result<PasswordCheck> {
    let from = app.limits.sign_in_from(&client.ip).await?;
    let device = devices::verify_mark(app, mark).await?;
    app.limits.sign_in_to(from, email.key(), device.as_ref()).await
}

async fn try_log_in(
    app: &App,
    email: &Email,
    password: Password,
    counted: PasswordCheck,
    with: SignInWith,
    client: &Client,
) -> Result<Issued> {
    // Most of a flood ends here, before the database has any work with it.
    app.hasher.admit(counted.requester())?;
    let user = app.db.read().await?.user_by_email(email).await?;
    let stored = user.as_ref().and_then(|user| user.password_hash.clone());
    let verdict = app.hasher.verify(password.clone(), stored, counted).await?;
    let subject = user.as_ref().map(|user| user.id);
    let (Some(user), Verdict::Match { outdated }) = (user, verdict) else {
        // Known or not, one row: also the work after the hash is the same.
        return refuse_log_in(app, subject, Error::InvalidCredentials, client).await;
    };
    if let Some(error) = why_not(app, &user) {
        return refuse_log_in(app, Some(user.id), error, client).await;
    }
    // The sign-in does not fail because its hash could not be modernised.
    let upgrade = if outdated {
        app.hasher.hash_again(password.clone(), counted).await.ok()
    } else {
        None
    };
    let mut user = user;
    for _ in 0..8 {
        match open_session_for(app, &user, upgrade.as_ref(), with, client).await {
            Ok(Some(issued)) => return Ok(issued),
            Ok(None) => {}
            Err(Error::SessionLimit) => return refuse_for_session_limit(app, &user, client).await,
            Err(error) => return Err(error),
        }
        // Something changed during the hash. Another name is no reason to fail; everything else is looked at anew.
        let Some(again) = app.db.write().await?.user_by_id(user.id).await? else {
            return refuse_log_in(app, None, Error::InvalidCredentials, client).await;
        };
        if !same_hash(&again, &user) {
            let verdict = app
                .hasher
                .verify(password.clone(), again.password_hash.clone(), counted)
                .await?;
            if verdict == Verdict::NoMatch {
                return refuse_log_in(app, Some(again.id), Error::InvalidCredentials, client).await;
            }
        }
        if let Some(error) = why_not(app, &again) {
            return refuse_log_in(app, Some(again.id), error, client).await;
        }
        user = again;
    }
    Err(Error::StoreUnavailable(anyhow::anyhow!(
        "user {} is being changed by many others",
        user.id
    )))
}

/// Why an account cannot be signed in to, although the password was right.
fn why_not(app: &App, user: &User) -> Option<Error> {
    if !user.is_active {
        return Some(Error::AccountInactive);
    }
    let is_verified = user.email_verified_at.is_some() || !app.config.registration.require_verified;
    (!is_verified).then_some(Error::EmailNotVerified)
}

fn same_hash(left: &User, right: &User) -> bool {
    left.password_hash.as_ref().map(PasswordHash::as_str)
        == right.password_hash.as_ref().map(PasswordHash::as_str)
}

async fn refuse_log_in(app: &App, subject: Option<UserId>, error: Error, client: &Client) -> Result<Issued> {
    let reason = match error {
        Error::AccountInactive => "account_inactive",
        Error::EmailNotVerified => "email_not_verified",
        _ => "invalid_credentials",
    };
    let row = NewAudit {
        succeeded: false,
        reason: Some(reason),
        subject,
        ..client.audit(Audit::SignIn, app.clock.now())
    };
    app.db.write().await?.insert_audit(&row).await?;
    Err(error)
}

/// Opens a session for a user whose password was just verified; `None` when the user is not any more what it was
/// verified against.
async fn open_session_for(
    app: &App,
    user: &User,
    upgrade: Option<&PasswordHash>,
    with: SignInWith,
    client: &Client,
) -> Result<Option<Issued>> {
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    if !tx.claim_sign_in(user.id, user.version, now).await? {
        return Ok(None);
    }
    if let (Some(old), Some(new)) = (&user.password_hash, upgrade) {
        tx.upgrade_password_hash(user.id, old, new).await?;
    }
    let opened = open_session(app, &mut tx, user, with, client, now).await?;
    let row = NewAudit {
        actor: Some(user.id),
        subject: Some(user.id),
        session: Some(opened.session.id()),
        ..client.audit(Audit::SignIn, now)
    };
    tx.insert_audit(&row).await?;
    let is_new = opened.device.familiarity == Familiarity::New;
    if is_new {
        secure::tell_of_new_device(&mut tx, user, client, now).await?;
    }
    let issued = opened.commit(app, tx, user, now).await?;
    if is_new {
        app.mail_queued.notify_one();
    }
    Ok(Some(issued))
}

async fn refuse_for_session_limit(app: &App, user: &User, client: &Client) -> Result<Issued> {
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    tell_of_session_limit(&mut tx, user, client, now).await?;
    let row = NewAudit {
        succeeded: false,
        reason: Some("session_limit"),
        subject: Some(user.id),
        ..client.audit(Audit::SignIn, now)
    };
    tx.insert_audit(&row).await?;
    tx.commit().await?;
    app.mail_queued.notify_one();
    Err(Error::SessionLimit)
}
