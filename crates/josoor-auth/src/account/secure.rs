//! Telling an owner of a sign-in from a new device, and the link with which the owner ends all that can sign in.

use std::time::Duration;

use crate::account::links::{self, Cause};
use crate::account::recovery;
use crate::act::Client;
use crate::app::App;
use crate::domain::{Email, Timestamp};
use crate::error::{Error, Result};
use crate::store::{Audit, Conn, MailKind, NewAudit, NewOneTimeToken, Purpose, User};

/// One account is told of new devices at most once in this time.
pub const TELL_EVERY: Duration = Duration::from_hours(24);

/// Tells the owner of a sign-in from a new device, in the unit of work that signs in and in which the account is locked. Only a
/// verified address is told: any other may be a stranger's.
pub(crate) async fn tell_of_new_device(
    tx: &mut Conn,
    user: &User,
    client: &Client,
    now: Timestamp,
) -> Result<()> {
    if user.email_verified_at.is_none()
        || !tx
            .claim_new_device_mail(user.id, now.minus(TELL_EVERY), now)
            .await?
    {
        return Ok(());
    }
    let email = recovery::address_of(user)?;
    let token = NewOneTimeToken {
        email: Some(&email),
        ..recovery::token_for(Purpose::SecureAccount, Some(user.id), now)
    };
    tx.insert_one_time_token(&token).await?;
    tx.queue_mail(&recovery::mail_to(
        user,
        &email,
        MailKind::NewDevice,
        Some(token.id),
        client,
        now,
    ))
    .await?;
    tx.insert_audit(&NewAudit {
        subject: Some(user.id),
        ..client.audit(Audit::NewDevice, now)
    })
    .await
}

/// Ends all that can sign in to an account: its sessions, its devices, its open links and its password; and sends the link that
/// sets another one. No session begins. `email` is what the owner has typed: the address that the mail went to.
///
/// If the account has another address by now, no link is sent there: the way back is the mail that told of the change.
///
/// # Errors
/// `LinkInvalid`, also for another address; `LinkExpired`, `LinkUsed`; `RateLimited`. The link is used up only by success.
pub async fn secure(app: &App, token: &str, email: &Email, client: &Client) -> Result<()> {
    let token = recovery::usable(app, &[Purpose::SecureAccount], token).await?;
    let told = recovery::parse_address(token.email.as_deref().unwrap_or_default())?;
    app.limits.forgot(&client.ip, told.key()).await?;
    if email.key() != told.key() {
        return Err(Error::LinkInvalid);
    }
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    let before = recovery::lock_and_claim(&mut tx, &token, now)
        .await?
        .ok_or(Error::LinkInvalid)?;
    if !before.is_active {
        return Err(Error::AccountInactive);
    }
    let user = tx
        .remove_password(before.id, now)
        .await?
        .ok_or(Error::LinkExpired)?;
    tx.forget_devices(user.id, now).await?;
    links::end(&mut tx, user.id, Cause::Secured, now).await?;
    let client = recovery::acting(client, user.id);
    if recovery::address_of(&user)?.key() == told.key() {
        recovery::send_reset(&mut tx, &user, &client, now).await?;
    }
    recovery::end_sessions(app, tx, &user, None, Audit::AccountSecure, &client, now).await
}
