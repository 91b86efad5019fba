//! Verifying the caller once more before a dangerous act: deleting the account, changing its password or its address.

use super::caller::Caller;
use super::password;
use crate::act::{Client, Entry};
use crate::app::App;
use crate::domain::{Audit, Password, Timestamp};
use crate::error::{Error, Refusal, Result};
use crate::store::{Conn, User};

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

/// Locks the caller's account and checks that the verification still holds: the session is live, and the password is the one
/// that was verified. Returns the account as of now.
///
/// # Errors
/// Why the session is over; `InvalidCredentials` when the password was changed since; `AccountInactive`.
pub async fn revalidate(tx: &mut Conn, caller: &Caller, verified: &User, now: Timestamp) -> Result<User> {
    let user = tx.lock_user(caller.id()).await?.ok_or(Refusal::SessionRevoked)?;
    let session = tx.session_by_id(caller.session).await?;
    let session = session.ok_or(Refusal::SessionRevoked)?;
    if let Some(why) = session.ended(now) {
        return Err(why.into());
    }
    // Not the hash, which may have been upgraded meanwhile.
    if user.password_changed_at != verified.password_changed_at {
        return Err(Error::InvalidCredentials);
    }
    if !user.is_active {
        return Err(Refusal::AccountInactive.into());
    }
    Ok(user)
}
