//! Setting a password: with the current one, or with a link.

use crate::account::links::{self, Cause};
use crate::account::past::{self, Shown};
use crate::account::register;
use crate::act::{Act, Client, Entry, address_of, parse_address};
use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::factors::{self, Removal};
use crate::auth::step_up::{self, Policy};
use crate::domain::{Audit, MailKind, Password, PasswordHash, Purpose, RevokeReason, Timestamp, UserId};
use crate::error::{Error, Refusal, Result};
use crate::mail;
use crate::passwords::Person;
use crate::sessions::{self, Issued};
use crate::store::{Conn, NewOneTimeToken, NewUser, OneTimeToken, User};

/// The value of [`OneTimeToken::bound_to`] for a reset whose account is still a registration. It is stored.
const REGISTRATION: &str = "registration";

/// Changes one's own password. The other sessions are revoked; this one goes on with its next generation.
///
/// # Errors
/// `StepUpRequired` for an account with a second factor; `InvalidCredentials` for a wrong current password, also when it was
/// changed at the same moment; `RateLimited`.
pub async fn change(
    app: &App,
    caller: &Caller,
    current: Password,
    new: Password,
    client: &Client,
) -> Result<Issued> {
    step_up::require(app, caller, Policy::OwnAccount)?;
    let verified = step_up::verify(app, caller, current, Audit::PasswordChange, client).await?;
    let new = app
        .passwords
        .accept("new_password", new, person(&verified))
        .await?;
    let hash = app.hasher.hash(new, client.requester()).await?;
    let mut act = app.act(client).await?;
    let now = act.now;
    let before = step_up::revalidate(&mut act.tx, caller, &verified, now).await?;
    let own = act.tx.session_by_id(caller.session).await?;
    let own = own.ok_or(Refusal::SessionRevoked)?;
    past::remember_before_password(&mut act, &before, &own).await?;
    if !act
        .tx
        .change_password_hash(before.id, before.password_hash.as_ref(), &hash, now)
        .await?
    {
        return Err(Error::InvalidCredentials);
    }
    let user = act.tx.user_by_id(before.id).await?;
    let user = user.ok_or(Refusal::SessionRevoked)?;
    act.tx.forget_devices(user.id, now).await?;
    links::expire(&mut act, user.id, Cause::PasswordChanged).await?;
    act.revoke_sessions_of(user.id, Some(caller.session), RevokeReason::PasswordChanged)
        .await?;
    let idle_end = now.plus(app.config.session.idle);
    let refresh_end = sessions::refresh_expires_at(app, now);
    let session = act
        .tx
        .retire_generations(caller.session, now, idle_end, refresh_end)
        .await?
        .ok_or(Refusal::SessionRevoked)?;
    act.publish_retired(&session, &user).await?;
    act.audit(
        Entry::success(Audit::PasswordChange)
            .subject(user.id)
            .session(caller.session),
    );
    act.notify(&user, MailKind::PasswordChanged).await?;
    act.publish_user(&user).await?;
    act.commit().await?;
    sessions::issue(app, &session, &user, now).await
}

/// The person whose password an account's is.
fn person(user: &User) -> Person<'_> {
    Person {
        email: &user.email,
        full_name: user.full_name.as_deref(),
    }
}

/// Sets a password with a link from a mail. All sessions are revoked; no new one is opened. A frozen account also wants a
/// password or a known device from before the change that was undone, and is released by it.
///
/// # Errors
/// `LinkInvalid`, `LinkExpired`, `LinkUsed`; `AccountInactive`; `RecoveryBlocked`, `InvalidCredentials`, `RateLimited` and
/// `Invalid` for a frozen account; `Invalid` for a password against the policy; `Overloaded`. Only success redeems the link.
pub async fn reset(app: &App, token: &str, new: Password, shown: Shown<'_>, client: &Client) -> Result<()> {
    let token = links::load(app, &[Purpose::ResetPassword, Purpose::Invitation], token).await?;
    let owner = match token.user_id() {
        Some(id) => app.db.write().await?.user_by_id(id).await?,
        None => None,
    };
    let frozen_at = owner.as_ref().and_then(|owner| owner.frozen_at);
    if let Some(owner) = owner.as_ref().filter(|owner| owner.frozen_at.is_some()) {
        past::require_another(&new, &shown)?;
        past::verify_shown(app, owner, shown, client).await?;
    }
    let person = match (&owner, &token.email) {
        (Some(owner), _) => person(owner),
        (None, email) => Person {
            email: email.as_deref().unwrap_or_default(),
            full_name: None,
        },
    };
    let new = app.passwords.accept("new_password", new, person).await?;
    // The slow part, with nothing held. Only the holder of a link gets here.
    let hash = app.hasher.hash(new, client.requester()).await?;
    let mut act = app.act(client).await?;
    match links::redeem(&mut act, &token).await? {
        Some(before) => reset_account(act, &before, &token, &hash, frozen_at).await,
        None => reset_registration(act, &token, &hash).await,
    }
}

async fn reset_account(
    mut act: Act,
    before: &User,
    token: &OneTimeToken,
    hash: &PasswordHash,
    frozen_at: Option<Timestamp>,
) -> Result<()> {
    let (id, now) = (before.id, act.now);
    let email = address_of(before)?;
    if token.bound_to.as_deref() != Some(&links::state_of(before, &email)) {
        return Err(Error::LinkExpired);
    }
    if before.frozen_at != frozen_at {
        // Frozen or released meanwhile.
        return Err(Error::LinkExpired);
    }
    if !before.is_active && frozen_at.is_none() {
        return Err(Error::AccountInactive);
    }
    // What is stored before the address was verified was written by the person who registered it, who need not be its owner.
    // An invitation was written by an administrator.
    let forget = before.email_verified_at.is_none() && !before.is_invited();
    let user = if frozen_at.is_some() {
        act.tx.delete_past_credentials(id).await?;
        act.tx.recover_user(id, hash, now).await?
    } else {
        if forget {
            act.tx.clear_profile(before).await?;
        }
        act.tx.reset_password_hash(id, hash, now).await?
    };
    let mut user = user.ok_or(Error::LinkExpired)?;
    if forget {
        user = factors::remove_all(&mut act, user, Removal::Claimed).await?;
    }
    act.tx.forget_devices(id, now).await?;
    act.tx.clear_failed_sign_ins(&user.email_key).await?;
    let cause = if forget {
        Cause::Claimed
    } else {
        Cause::PasswordReset
    };
    links::expire(&mut act, id, cause).await?;
    act.acts_as(id);
    act.revoke_sessions_of(id, None, RevokeReason::PasswordChanged)
        .await?;
    let reason = if frozen_at.is_some() {
        "recovery"
    } else if before.is_invited() {
        "invitation"
    } else {
        "reset"
    };
    act.audit(Entry::success(Audit::PasswordReset).subject(id).reason(reason));
    act.notify(&user, MailKind::PasswordChanged).await?;
    act.publish_user(&user).await?;
    act.commit().await
}

/// Creates the account of a registration whose address was verified by "forgot password". Nothing that was registered is kept
/// but the language.
async fn reset_registration(mut act: Act, token: &OneTimeToken, hash: &PasswordHash) -> Result<()> {
    let email = parse_address(token.email.as_deref().unwrap_or_default())?;
    let locale = act
        .tx
        .live_registrations_of(email.key(), act.now)
        .await?
        .pop()
        .map_or(act.app.config.mail.locale, |registration| registration.locale);
    let new = NewUser {
        password_hash: Some(hash),
        email_verified_at: Some(act.now),
        ..NewUser::new(&email, locale, act.now)
    };
    register::create_verified(&mut act, &new).await?;
    act.commit().await
}

/// Queues the link that sets a password; an invitation where the user has not accepted one yet. The user is locked.
pub(crate) async fn send_reset(act: &mut Act, user: &User) -> Result<()> {
    let (kind, purpose) = if user.is_invited() {
        (MailKind::Invitation, Purpose::Invitation)
    } else {
        (MailKind::ResetPassword, Purpose::ResetPassword)
    };
    let email = address_of(user)?;
    let state = links::state_of(user, &email);
    let token = NewOneTimeToken {
        email: Some(&email),
        bound_to: Some(&state),
        ..act.new_token(purpose, Some(user.id))
    };
    act.tx.insert_one_time_token(&token).await?;
    let mail = act.mail_to(user, &email, kind, Some(token.id));
    act.queue(&mail).await
}

/// Queues the link that creates the account of a registration with another password than the registered one, which the owner of
/// the address may not know. Does nothing where no registration waits.
pub(super) async fn send_reset_for_registration(act: &mut Act, email_key: &str) -> Result<()> {
    let waiting = act.tx.live_registrations_of(email_key, act.now).await?.pop();
    let Some(registration) = waiting else {
        return Ok(());
    };
    let email = parse_address(&registration.email)?;
    let token = NewOneTimeToken {
        email: Some(&email),
        bound_to: Some(REGISTRATION),
        ..act.new_token(Purpose::ResetPassword, None)
    };
    act.tx.insert_one_time_token(&token).await?;
    let mail = act.mail_to_stranger(
        &email,
        MailKind::ResetPassword,
        registration.locale,
        Some(token.id),
    );
    act.queue(&mail).await
}

/// Sends a user the link that sets a password, for an administrator.
///
/// # Errors
/// `NotFound`.
pub async fn send_reset_to(app: &App, id: UserId, client: &Client) -> Result<()> {
    let mut act = app.act(client).await?;
    let user = lock_present(&mut act.tx, id).await?;
    send_reset(&mut act, &user).await?;
    act.audit(Entry::success(Audit::PasswordResetRequest).subject(id));
    act.commit().await
}

/// Creates the link that sets a password, for an operator who hands it over by other means. No mail is sent.
///
/// # Errors
/// `NotFound`.
pub async fn create_reset_link(app: &App, id: UserId, client: &Client) -> Result<String> {
    let mut act = app.act(client).await?;
    let user = lock_present(&mut act.tx, id).await?;
    let email = address_of(&user)?;
    let state = links::state_of(&user, &email);
    let token = NewOneTimeToken {
        email: Some(&email),
        bound_to: Some(&state),
        is_pending: false,
        ..act.new_token(Purpose::ResetPassword, Some(id))
    };
    // It is handed over at once, so the earlier ones expire at once.
    for purpose in Purpose::ResetPassword.replaces() {
        act.tx.expire_one_time_tokens(*purpose, Some(id), act.now).await?;
    }
    act.tx.insert_one_time_token(&token).await?;
    act.audit(Entry::success(Audit::PasswordResetRequest).subject(id));
    act.commit().await?;
    let base = app.config.server.public_url.as_str();
    Ok(mail::link_of(base, &app.keys, Purpose::ResetPassword, token.id))
}

/// The user with this id, locked, unless it was deleted.
async fn lock_present(tx: &mut Conn, id: UserId) -> Result<User> {
    tx.lock_user(id)
        .await?
        .filter(|user| user.deleted_at.is_none())
        .ok_or(Error::NotFound)
}
