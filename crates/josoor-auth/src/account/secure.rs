//! Securing an account with the link of the mail about a new device: everything that can sign in to it is revoked.

use crate::account::links::{self, Cause};
use crate::account::recovery;
use crate::act::Client;
use crate::app::App;
use crate::domain::Email;
use crate::error::{Error, Result};
use crate::store::{Audit, Purpose};

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
