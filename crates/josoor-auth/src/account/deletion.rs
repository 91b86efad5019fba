//! Deleting an account, restoring it within its grace, and purging it afterwards.

use std::time::Duration;

use crate::account::links::{self, Cause};
use crate::account::{past, profile};
use crate::act::{Act, Client, Entry, address_of};
use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::step_up::{self, Policy};
use crate::domain::{Audit, Email, MailKind, Password, Purpose, RevokeReason, UserId};
use crate::error::{Error, Refusal, Result};
use crate::store::{NewOneTimeToken, User};

/// Deletes one's own account. For `account.deletion_grace` a mail's link restores it.
///
/// # Errors
/// `StepUpRequired` for an account with a second factor; `InvalidCredentials` for a wrong password; `RateLimited`; `LastAdmin`.
pub async fn delete_own(app: &App, caller: &Caller, password: Password, client: &Client) -> Result<()> {
    step_up::require(app, caller, Policy::OwnAccount)?;
    let user = step_up::verify(app, caller, password, Audit::UserDelete, client).await?;
    let (session, password_changed_at) = (caller.session, user.password_changed_at);
    let grace = app.config.account.deletion_grace;
    delete_if(app, caller.id(), grace, client, async |act, user| {
        // A password change or a sign-out during the hash wins.
        if user.password_changed_at != password_changed_at {
            return Err(Error::InvalidCredentials);
        }
        let row = act.tx.session_by_id(session).await?;
        let row = row.ok_or(Refusal::SessionRevoked)?;
        row.ended(act.now).map_or(Ok(()), |why| Err(why.into()))
    })
    .await
    .map_err(profile::as_own_account)
}

/// Deletes a user. For `account.deletion_grace` the account can be restored; to everything else it is gone at once.
///
/// # Errors
/// `NotFound`; `LastAdmin`.
pub async fn delete(app: &App, id: UserId, client: &Client) -> Result<()> {
    let grace = app.config.account.deletion_grace;
    delete_if(app, id, grace, client, async |_, _| Ok(())).await
}

/// Deletes a user for good, with everything that belongs to it; also one that was deleted before and can be restored.
///
/// # Errors
/// `NotFound`; `LastAdmin`.
pub async fn delete_now(app: &App, id: UserId, client: &Client) -> Result<()> {
    delete_if(app, id, Duration::ZERO, client, async |_, _| Ok(())).await
}

/// Deletes a user, who can be restored for `grace`, if `allows` still says so inside the act that deletes.
async fn delete_if(
    app: &App,
    id: UserId,
    grace: Duration,
    client: &Client,
    allows: impl AsyncFnOnce(&mut Act, &User) -> Result<()>,
) -> Result<()> {
    let mut act = app.act(client).await?;
    act.tx.pass_guard("admins").await?;
    // The account before its sessions, as every act that changes both.
    let before = act.tx.lock_user(id).await?.ok_or(Error::NotFound)?;
    allows(&mut act, &before).await?;
    act.revoke_sessions_of(id, None, RevokeReason::AccountDeleted)
        .await?;
    if grace.is_zero() {
        if !act.tx.delete_user(id).await? {
            return Err(Error::NotFound);
        }
        act.tx.delete_mails_of(id).await?;
        act.notify(&before, MailKind::AccountDeleted).await?;
        act.publish_deleted(id).await?;
    } else {
        if before.deleted_at.is_some() {
            return Err(Error::NotFound);
        }
        let after = mark_deleted(&mut act, &before, grace).await?;
        act.publish_user(&after).await?;
    }
    profile::keep_an_admin(&mut act.tx, &before).await?;
    let reason = grace.is_zero().then_some("for_good");
    act.audit(Entry::success(Audit::UserDelete).subject(id).reason(reason));
    act.commit().await
}

/// Marks an account as deleted until its grace ends, and sends the link that restores it to every address that was verified for
/// it within that time: an intruder who has changed the address before gains nothing.
async fn mark_deleted(act: &mut Act, before: &User, grace: Duration) -> Result<User> {
    let (now, purge_at) = (act.now, act.now.plus(grace));
    let user = act
        .tx
        .mark_deleted(before.id, purge_at, now)
        .await?
        .ok_or(Error::NotFound)?;
    links::expire(act, user.id, Cause::Deleted).await?;
    let rows = act.tx.past_credentials(user.id, now.minus(grace)).await?;
    let current = address_of(before)?;
    let mut addresses = vec![(current, before.email_verified_at.is_some())];
    for (email, _) in past::lost_addresses(&rows) {
        if addresses.iter().all(|(known, _)| known.key() != email.key()) {
            addresses.push((email, true));
        }
    }
    for (email, was_verified) in &addresses {
        let token = NewOneTimeToken {
            email: Some(email),
            bound_to: was_verified.then_some(links::VERIFIED),
            expires_at: purge_at,
            ..act.new_token(Purpose::UndoDeletion, Some(user.id))
        };
        act.tx.insert_one_time_token(&token).await?;
        let mail = act.mail_to(before, email, MailKind::AccountDeletion, Some(token.id));
        act.queue(&mail).await?;
    }
    Ok(user)
}

/// Sends the link that restores a deleted account once more, when a request names its address.
pub(super) async fn send_restoration(act: &mut Act, user: &User, email: &Email) -> Result<()> {
    let open = act
        .tx
        .open_one_time_token(Purpose::UndoDeletion, user.id, email.key(), act.now)
        .await?;
    let Some(token) = open else { return Ok(()) };
    let mail = act.mail_to(user, email, MailKind::AccountDeletion, Some(token));
    act.queue(&mail).await
}

/// Restores a deleted account, or releases a frozen one, for an administrator. An account that is neither stays as it is.
///
/// # Errors
/// `NotFound`.
pub async fn restore(app: &App, id: UserId, client: &Client) -> Result<User> {
    let mut act = app.act(client).await?;
    let now = act.now;
    let mut user = act.tx.lock_user(id).await?.ok_or(Error::NotFound)?;
    let reason = if user.deleted_at.is_some() {
        user = act.tx.restore_deleted(id, now).await?.ok_or(Error::NotFound)?;
        act.tx
            .expire_one_time_tokens(Purpose::UndoDeletion, Some(id), now)
            .await?;
        act.notify(&user, MailKind::AccountRestored).await?;
        "restored"
    } else if user.frozen_at.is_some() {
        user = act.tx.release_user(id, now).await?.ok_or(Error::NotFound)?;
        act.tx.delete_past_credentials(id).await?;
        "released"
    } else {
        return Ok(user);
    };
    act.audit(Entry::success(Audit::UserRestore).subject(id).reason(reason));
    act.publish_user(&user).await?;
    act.commit().await?;
    Ok(user)
}

/// Purges a deleted account whose grace has passed, with the mails about it. Its audit rows stay. Whether this node did.
pub(crate) async fn purge(app: &App, id: UserId) -> Result<bool> {
    let mut act = app.act(&Client::default()).await?;
    let user = act.tx.lock_user(id).await?;
    let Some(user) = user else { return Ok(false) };
    if !act.tx.purge_user(id, act.now).await? {
        return Ok(false);
    }
    act.tx.clear_failed_sign_ins(&user.email_key).await?;
    act.tx.delete_mails_of(id).await?;
    act.audit(Entry::success(Audit::UserPurge).subject(id));
    act.publish_deleted(id).await?;
    act.commit().await?;
    Ok(true)
}
