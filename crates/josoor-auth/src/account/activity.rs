//! Answering for what happened to one's own account: it was oneself, or it was not.

use crate::account::links::{self, Cause};
use crate::account::password;
use crate::act::{Client, Entry};
use crate::app::App;
use crate::audit::{ACTIVITY_COUNTED, ANSWERS};
use crate::auth::caller::Caller;
use crate::auth::step_up::{self, Policy};
use crate::domain::{Audit, RevokeReason, Timestamp};
use crate::error::{Error, Refusal, Result};

/// Records that everything about the caller's account until the row `until` was done by the caller. Without anything new since the
/// last answer it records nothing.
///
/// # Errors
/// `NotFound` when something has happened since, or there is no such row: load the activity again.
pub async fn confirm(app: &App, caller: &Caller, until: i64, client: &Client) -> Result<()> {
    let user = caller.id();
    let mut act = app.act(client).await?;
    // Of several at once one records it.
    act.tx.lock_user(user).await?.ok_or(Refusal::SessionRevoked)?;
    let (latest, answered) = act.tx.latest_activity_of(user, ANSWERS, ACTIVITY_COUNTED).await?;
    if latest != Some(until) {
        return Err(Error::NotFound);
    }
    if answered == latest {
        return Ok(());
    }
    act.audit(
        Entry::success(Audit::ActivityConfirm)
            .subject(user)
            .session(caller.session),
    );
    act.commit().await
}

/// What a report has done.
#[derive(Debug)]
pub struct Receipt {
    /// The number of its row in the audit trail.
    pub number: i64,
    /// When.
    pub at: Timestamp,
    /// How many other sessions were revoked.
    pub revoked: usize,
    /// How many devices were forgotten.
    pub forgotten: u64,
}

/// Revokes what somebody else may have: all sessions of the caller but this one, all devices and the open links that could set a
/// password or another address; and mails the owner the link that sets a new password. This session goes on, so that the password
/// can be changed in it at once.
///
/// # Errors
/// `StepUpRequired` for an account with a second factor that was verified too long ago; why the session is over.
pub async fn report(app: &App, caller: &Caller, client: &Client) -> Result<Receipt> {
    step_up::require(app, caller, Policy::OwnAccount)?;
    let mut act = app.act(client).await?;
    let (id, now) = (caller.id(), act.now);
    let user = act.tx.lock_user(id).await?.ok_or(Refusal::SessionRevoked)?;
    let session = act.tx.session_by_id(caller.session).await?;
    let session = session.ok_or(Refusal::SessionRevoked)?;
    if let Some(why) = session.ended(now) {
        return Err(why.into());
    }
    let forgotten = act.tx.forget_devices(id, now).await?;
    links::expire(&mut act, id, Cause::Reported).await?;
    password::send_reset(&mut act, &user).await?;
    let revoked = act
        .revoke_sessions_of(id, Some(caller.session), RevokeReason::RevokedByUser)
        .await?;
    let entry = Entry::success(Audit::ActivityReport)
        .subject(id)
        .session(caller.session);
    let number = act.audit_numbered(entry).await?;
    act.commit().await?;
    Ok(Receipt {
        number,
        at: now,
        revoked,
        forgotten,
    })
}
