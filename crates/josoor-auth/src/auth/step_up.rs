//! Verifying the caller once more before a dangerous act.
//!
//! [`require`] is the one place that decides whether a session was verified strongly and lately enough. Where there is a body with
//! the caller's password, [`verify`] compares it besides.

use super::caller::Caller;
use super::factors::{self, Shown};
use super::password;
use super::proof::{Method, Proof};
use crate::act::{Act, Client, Entry};
use crate::app::App;
use crate::cache::UserCopy;
use crate::domain::{Audit, Password, Timestamp};
use crate::error::{Acr, Error, Refusal, Result};
use crate::store::{Conn, User};

/// What a dangerous act asks of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// For acts about one's own account. Of a user with a second factor: both factors, at most `auth.step_up_age` ago. A user
    /// without one is verified by the password in the body, where there is one.
    OwnAccount,
    /// For what administrators change and export, unless `admin.step_up` is off: a verification at most `auth.step_up_age` ago, of
    /// both factors where the administrator has two.
    Administration,
}

/// Requires of the caller's session what a policy asks for.
///
/// # Errors
/// `StepUpRequired` with what is missing.
pub fn require(app: &App, caller: &Caller, policy: Policy) -> Result<()> {
    let has_factor = caller.user.mfa_enabled;
    let least = match policy {
        Policy::OwnAccount if !has_factor => return Ok(()),
        Policy::Administration if !app.config.admin_steps_up() => return Ok(()),
        Policy::Administration if !has_factor => Acr::One,
        Policy::OwnAccount | Policy::Administration => Acr::Two,
    };
    let age_at_most = app.config.auth.step_up_age.as_secs();
    let now = app.clock.now().as_secs();
    let is_fresh = caller
        .auth_time
        .is_some_and(|at| now.saturating_sub(at).max(0).unsigned_abs() <= age_at_most);
    if is_fresh && caller.acr >= least {
        return Ok(());
    }
    Err(Error::StepUpRequired {
        acr: Some(least),
        max_age: Some(age_at_most),
    })
}

/// Requires a second factor of a user whose role must have one (`mfa.required`), after the grace. Decided on the user as of now, at
/// each request.
///
/// # Errors
/// `MfaEnrollmentRequired`.
pub fn require_enrolled(app: &App, user: &UserCopy) -> Result<()> {
    if user.mfa_enabled {
        return Ok(());
    }
    let required = app.required_factors.iter().find(|(role, _)| *role == user.role);
    let Some((_, since)) = required else {
        return Ok(());
    };
    let until = since.max(&user.created_at).plus(app.config.mfa.grace);
    if app.clock.now() < until {
        return Ok(());
    }
    Err(Refusal::MfaEnrollmentRequired.into())
}

/// Verifies the caller's own password. A wrong one is recorded as a failed `action`. Returns the account as it was verified,
/// for [`revalidate`] in the transaction of the act.
///
/// # Errors
/// `InvalidCredentials`, with an audit row; `RateLimited`; `Overloaded`; `SessionRevoked` when the account is deleted or frozen.
pub async fn verify(
    app: &App,
    caller: &Caller,
    password: Password,
    action: Audit,
    client: &Client,
) -> Result<User> {
    let counted = app
        .limits
        .password_in_session(&client.ip, caller.id(), caller.session)
        .await?;
    let user = app.db.write().await?.user_by_id(caller.id()).await?;
    // A deletion or an undone change of address since the request began has revoked all sessions.
    let user = user
        .filter(|user| user.deleted_at.is_none() && user.frozen_at.is_none())
        .ok_or(Refusal::SessionRevoked)?;
    let failure = Entry::failure(action, "invalid_credentials")
        .subject(user.id)
        .session(caller.session);
    let hash = user.password_hash.clone();
    password::compare(app, &password, hash, counted, failure, client).await?;
    Ok(user)
}

/// The proof of a password that was verified with [`verify`] and holds with [`revalidate`].
pub fn password_proof(user: &User, now: Timestamp) -> Proof {
    Proof::new(user.id, Method::Password, now)
}

/// Verifies the caller's second factor, in the unit of work in which `user`, the account, is locked. A wrong one is committed and
/// recorded as a failed `action`.
///
/// # Errors
/// `RateLimited`; `MfaCodeInvalid`, `PasskeyInvalid`, `PasskeyUnknown` and `FlowExpired`, with an audit row.
pub async fn verify_factor(
    mut act: Act,
    caller: &Caller,
    user: &User,
    shown: Shown<'_>,
    action: Audit,
) -> Result<(Act, Vec<Proof>)> {
    let wrong = match factors::verify(&mut act, user, shown).await? {
        Ok(proofs) => return Ok((act, proofs)),
        Err(wrong) => wrong,
    };
    let failure = Entry::failure(action, wrong.reason());
    act.audit(failure.subject(user.id).session(caller.session));
    act.commit().await?;
    Err(wrong.error())
}

/// Locks the caller's account and checks that the verification still holds: the session is live, and the password is the one
/// that was verified. Returns the account as of now.
///
/// # Errors
/// Why the session is over; `InvalidCredentials` when the password was changed since; `AccountInactive`.
pub async fn revalidate(tx: &mut Conn, caller: &Caller, verified: &User, now: Timestamp) -> Result<User> {
    let user = lock_own(tx, caller, now).await?;
    // Not the hash, which may have been upgraded meanwhile.
    if user.password_changed_at != verified.password_changed_at {
        return Err(Error::InvalidCredentials);
    }
    Ok(user)
}

/// Locks the caller's account, if the session is live. Returns the account as of now.
///
/// # Errors
/// Why the session is over; `AccountInactive`.
pub async fn lock_own(tx: &mut Conn, caller: &Caller, now: Timestamp) -> Result<User> {
    let user = tx.lock_user(caller.id()).await?.ok_or(Refusal::SessionRevoked)?;
    let session = tx.session_by_id(caller.session).await?;
    let session = session.ok_or(Refusal::SessionRevoked)?;
    if let Some(why) = session.ended(now) {
        return Err(why.into());
    }
    if !user.is_active {
        return Err(Refusal::AccountInactive.into());
    }
    Ok(user)
}
