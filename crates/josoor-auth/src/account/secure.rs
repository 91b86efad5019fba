//! Securing an account with the link of the mail about a new device or a new passkey: everything that can sign in to it is revoked.

use crate::account::links::{self, Cause};
use crate::account::{email, password};
use crate::act::{Client, address_of, parse_address};
use crate::app::App;
use crate::auth::factors;
use crate::domain::{Audit, Email, Purpose};
use crate::error::{Error, Result};

/// Revokes everything that can sign in to an account: its sessions, its devices, its open links and its password; and sends the
/// link that sets another one. No session is opened. `typed` is what the owner has typed: the address that the mail went to.
///
/// If the account has another address by now, no link is sent there: the way back is the mail that reported the change.
///
/// # Errors
/// `LinkInvalid`, also for another address; `LinkExpired`, `LinkUsed`; `RateLimited`. Only success redeems the link.
pub async fn secure(app: &App, token: &str, typed: &Email, client: &Client) -> Result<()> {
    let token = links::load(app, &[Purpose::SecureAccount], token).await?;
    let notified = parse_address(token.email.as_deref().unwrap_or_default())?;
    app.limits.forgot(&client.ip, notified.key()).await?;
    if typed.key() != notified.key() {
        return Err(Error::LinkInvalid);
    }
    let mut act = app.act(client).await?;
    let before = links::redeem(&mut act, &token).await?.ok_or(Error::LinkInvalid)?;
    if !before.is_active {
        return Err(Error::AccountInactive);
    }
    let user = act.tx.remove_password(before.id, act.now).await?;
    let user = user.ok_or(Error::LinkExpired)?;
    // The mail was about a sign-in, or a passkey, of that time.
    let user = factors::remove_since(&mut act, user, token.created_at).await?;
    act.tx.forget_devices(user.id, act.now).await?;
    links::expire(&mut act, user.id, Cause::Secured).await?;
    act.acts_as(user.id);
    if address_of(&user)?.key() == notified.key() {
        password::send_reset(&mut act, &user).await?;
    }
    email::commit_with_sessions(act, &user, None, Audit::AccountSecure).await
}
