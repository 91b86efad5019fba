//! Signing in with a code that is sent to the account's address (`login.mail_code`).
//!
//! A request is answered alike for every address, and resolved afterwards ([`requests`](super::requests)). No account is created this
//! way, also where registration is open: a mailbox alone has agreed to nothing, and a mail to any address that a stranger types in
//! would be worth sending for its own sake.

use crate::account::links::{self, Cause};
use crate::account::password;
use crate::act::{Act, Client, Entry, address_of};
use crate::app::App;
use crate::auth::factors::{self, Removal};
use crate::auth::flow::{Flow, Step};
use crate::auth::mail_code::{self, Attempt, Begun, Shown, Waiting, may_sign_in};
use crate::auth::pending;
use crate::domain::{Audit, Email, Locale, MailKind, Purpose, RevokeReason};
use crate::error::{Error, Result};
use crate::sessions::{self, LogIn, SignInWith, reject_for_session_limit};
use crate::store::{MailRow, NewMail, NewOneTimeToken, Transport, User};
use crate::telemetry;

/// Requests a code for an address.
///
/// # Errors
/// `NotFound` unless `login.mail_code` is on; `RateLimited`, for any address alike.
pub async fn request(
    app: &App,
    email: &Email,
    transport: Transport,
    return_to: Option<String>,
    locale: Locale,
    client: &Client,
) -> Result<Begun> {
    require_enabled(app)?;
    app.limits.mail_code(&client.ip, email.key()).await?;
    let mut act = app.act(client).await?;
    let begun = mail_code::begin(&mut act, email, transport, return_to).await?;
    let request = NewMail {
        content: client.request(),
        ..act.mail_to_stranger(email, MailKind::SignInRequest, locale, Some(begun.id))
    };
    act.queue(&request).await?;
    act.commit().await?;
    Ok(begun)
}

/// Rejects everything about codes by mail unless `login.mail_code` is on.
///
/// # Errors
/// `NotFound`.
pub fn require_enabled(app: &App) -> Result<()> {
    if app.config.login.mail_code {
        Ok(())
    } else {
        Err(Error::NotFound)
    }
}

/// Queues the mail with the code, if the address has an account that may sign in with one. The account is locked.
pub(super) async fn send(act: &mut Act, owner: Option<User>, request: &MailRow) -> Result<()> {
    let rejected = |reason| Entry::failure(Audit::SignInCodeRequest, reason);
    let Some(owner) = owner else {
        act.audit(rejected("unknown_address"));
        return Ok(());
    };
    if owner.is_active && owner.is_invited() {
        // The invitation verifies the address, too.
        password::send_reset(act, &owner).await?;
        act.audit(rejected("invitation").subject(owner.id));
        return Ok(());
    }
    let (Some(id), true) = (request.token, may_sign_in(&act.app, &owner)) else {
        act.audit(rejected("not_allowed").subject(owner.id));
        return Ok(());
    };
    let email = address_of(&owner)?;
    let state = mail_code::bound_to(&owner);
    let token = NewOneTimeToken {
        id,
        email: Some(&email),
        bound_to: Some(&state),
        ..act.new_token(Purpose::SignIn, Some(owner.id))
    };
    act.tx.insert_one_time_token(&token).await?;
    let mail = act.mail_to(&owner, &email, MailKind::SignInCode, Some(id));
    act.queue(&mail).await?;
    act.audit(Entry::success(Audit::SignInCodeRequest).subject(owner.id));
    Ok(())
}

/// Signs in with a code, or with the link of the same mail. A user with a second factor is asked for it.
///
/// An address that was not verified is verified by it, and what was stored before that is removed, as by a reset: the person who
/// registered the account need not be its owner.
///
/// # Errors
/// `MailCodeInvalid`, with an audit row; `FlowExpired`, also after the fifth wrong code; `SessionLimit`, which uses up nothing.
pub async fn finish(
    app: &App,
    waiting: &Waiting,
    shown: Shown<'_>,
    with: SignInWith,
    client: &Client,
) -> Result<LogIn> {
    let result = try_finish(app, waiting, shown, with, client).await;
    let outcome = match &result {
        Ok(LogIn::Opened(_)) => Some(telemetry::SignIn::Success),
        Ok(LogIn::FactorNeeded(_)) => Some(telemetry::SignIn::MfaRequired),
        Err(Error::MailCodeInvalid) => Some(telemetry::SignIn::MailCodeInvalid),
        Err(_) => None,
    };
    if let Some(outcome) = outcome {
        app.metrics.sign_in(outcome);
    }
    if outcome == Some(telemetry::SignIn::MailCodeInvalid) {
        app.limits.note_failed_sign_in().await;
    }
    result
}

async fn try_finish(
    app: &App,
    waiting: &Waiting,
    shown: Shown<'_>,
    with: SignInWith,
    client: &Client,
) -> Result<LogIn> {
    require_enabled(app)?;
    let mut act = app.act(client).await?;
    let (user, proof) = match mail_code::verify(&mut act, waiting, shown).await? {
        Attempt::Right(user, proof) => (*user, proof),
        Attempt::Wrong(owner) => {
            act.audit(Entry::failure(Audit::SignIn, "mail_code_invalid").subject(owner));
            act.commit().await?;
            return Err(Error::MailCodeInvalid);
        }
    };
    act.acts_as(user.id);
    let is_claimed = user.email_verified_at.is_none();
    let user = if is_claimed {
        claim(&mut act, &user).await?
    } else {
        user
    };
    let who = match Flow::sign_in().with(proof).finish(app, &user)? {
        Step::Finished(who) => who,
        Step::MailCodeNeeded => return Err(Error::FlowExpired),
        Step::FactorNeeded => {
            let needed = pending::begin(&mut act, &user, proof, with.transport).await?;
            act.commit().await?;
            return Ok(LogIn::FactorNeeded(needed));
        }
    };
    let now = act.now;
    if !act.tx.claim_sign_in(user.id, user.version, now).await? {
        return Err(Error::FlowExpired);
    }
    let opened = match sessions::open(&mut act, &who, &user, with).await {
        Ok(opened) => opened,
        Err(Error::SessionLimit) => {
            // Nothing of the sign-in is kept.
            drop(act);
            return reject_for_session_limit(app, &user, client).await;
        }
        Err(error) => return Err(error),
    };
    let entry = Entry::success(Audit::SignIn).subject(user.id).reason("mail_code");
    act.audit(entry.session(opened.session.id()));
    if !is_claimed {
        opened.notify_of_new_device(&mut act, &user).await?;
    }
    let issued = opened.commit(act, &user).await?;
    Ok(LogIn::Opened(Box::new(issued)))
}

/// Gives an account that had never verified its address to the owner of the address.
async fn claim(act: &mut Act, user: &User) -> Result<User> {
    let (id, now) = (user.id, act.now);
    let had_password = user.password_hash.is_some();
    act.tx.clear_profile(user).await?;
    let user = act.tx.claim_unverified(id, now).await?;
    let user = user.ok_or(Error::FlowExpired)?;
    let user = factors::remove_all(act, user, Removal::Claimed).await?;
    act.tx.forget_devices(id, now).await?;
    links::expire(act, id, Cause::Claimed).await?;
    act.revoke_sessions_of(id, None, RevokeReason::PasswordChanged)
        .await?;
    act.audit(Entry::success(Audit::EmailVerify).subject(id).reason("mail_code"));
    if had_password {
        act.notify(&user, MailKind::PasswordRemoved).await?;
    }
    act.publish_user(&user).await?;
    Ok(user)
}
