//! Undoing a change of address or a deletion with the link of the mail about it.
//!
//! Undoing a change of a verified address **freezes** the account. The person who made the change may know the password, so it is
//! removed, and all sessions, devices and open links end. The mailbox that is restored may itself be what was lost, so its
//! link alone sets no password either: recovery also asks for something that signed in before the change. That is the password
//! at that moment, or a device that was known then. If the password was replaced shortly before, and from a session that was
//! itself new, the one before it counts as well: that is what an intruder does first. Otherwise an administrator releases
//! the account.

use crate::account::links::{self, Cause};
use crate::account::{email, password, past};
use crate::act::{Act, Client, Entry, address_of, parse_address};
use crate::app::App;
use crate::auth::factors;
use crate::domain::{Audit, Email, MailKind, Purpose, Timestamp};
use crate::error::{Error, Result};
use crate::store::{OneTimeToken, User};

/// What a link has undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undone {
    /// Whether the account now waits for its owner to recover it.
    pub frozen: bool,
}

/// The purposes of the links that undo something.
pub(super) const PURPOSES: [Purpose; 2] = [Purpose::UndoEmailChange, Purpose::UndoDeletion];

/// Undoes what a mail reported: a change of address, or a deletion. All sessions stay revoked. If the account comes back to
/// an earlier verified address, it is frozen.
///
/// # Errors
/// `LinkInvalid`, `LinkExpired`, `LinkUsed`; `AccountInactive` while an administrator keeps the account deactivated. Only success
/// redeems the link.
pub async fn undo(app: &App, token: &str, client: &Client) -> Result<Undone> {
    let token = links::load(app, &PURPOSES, token).await?;
    undo_by(app, &token, client).await
}

/// [`undo`], with a token that was loaded.
pub(super) async fn undo_by(app: &App, token: &OneTimeToken, client: &Client) -> Result<Undone> {
    let mut act = app.act(client).await?;
    let before = links::redeem(&mut act, token).await?.ok_or(Error::LinkInvalid)?;
    let address = parse_address(token.email.as_deref().unwrap_or_default())?;
    act.acts_as(before.id);
    let was_deleted = before.deleted_at.is_some();
    let mut user = before;
    if was_deleted {
        let restored = act.tx.restore_deleted(user.id, act.now).await?;
        user = restored.ok_or(Error::LinkExpired)?;
        act.audit(Entry::success(Audit::UserRestore).subject(user.id).reason("undo"));
    }
    if address_of(&user)?.key() != address.key() {
        return restore_address(act, &user, token, &address).await;
    }
    if !was_deleted {
        // Restored since, by an administrator or by another of its links.
        return Err(Error::LinkUsed);
    }
    let mail = act.mail_to(&user, &address, MailKind::AccountRestored, None);
    act.queue(&mail).await?;
    act.publish_user(&user).await?;
    act.commit().await?;
    Ok(Undone {
        frozen: user.frozen_at.is_some(),
    })
}

/// Gives an account an earlier address back. Ways back to still earlier addresses stay good, for those who held them before
/// the person who made this change; later ones end.
///
/// An address that was not verified then is not verified now, and nothing is frozen: the account may be one that somebody
/// else has created in its owner's name, and the click says only "that was not me".
async fn restore_address(
    mut act: Act,
    before: &User,
    token: &OneTimeToken,
    address: &Email,
) -> Result<Undone> {
    if !before.is_active && before.frozen_at.is_none() {
        return Err(Error::AccountInactive);
    }
    let now = act.now;
    let was_verified = token.bound_to.as_deref() == Some(links::VERIFIED);
    let changed = changed_at(&mut act, token, address).await?;
    let mut user = act
        .tx
        .change_email(before, address, was_verified.then_some(now), now)
        .await?
        .ok_or(Error::LinkExpired)?;
    user = factors::remove_since(&mut act, user, changed).await?;
    act.tx.forget_devices(user.id, now).await?;
    links::expire(&mut act, user.id, Cause::AddressRestored).await?;
    act.tx
        .expire_one_time_tokens_since(Purpose::UndoEmailChange, user.id, changed, now)
        .await?;
    if was_verified {
        past::choose_credentials(&mut act, &user, changed).await?;
        let frozen = act.tx.freeze_user(user.id, now).await?;
        user = frozen.ok_or(Error::LinkExpired)?;
    }
    let kind = if was_verified {
        MailKind::AccountFrozen
    } else {
        MailKind::EmailRestored
    };
    let mail = act.mail_to(&user, address, kind, None);
    act.queue(&mail).await?;
    if was_verified {
        password::send_reset(&mut act, &user).await?;
    }
    email::commit_with_sessions(act, &user, None, Audit::EmailChangeUndo).await?;
    Ok(Undone {
        frozen: user.frozen_at.is_some(),
    })
}

/// When the account lost the address that a token restores.
async fn changed_at(act: &mut Act, token: &OneTimeToken, address: &Email) -> Result<Timestamp> {
    let Some(user) = token.user_id() else {
        return Ok(token.created_at);
    };
    if token.purpose == Purpose::UndoEmailChange.as_str() {
        return Ok(token.created_at);
    }
    let rows = act.tx.past_credentials(user, Timestamp::from_micros(0)).await?;
    Ok(past::lost_addresses(&rows)
        .filter(|(email, _)| email.key() == address.key())
        .map(|(_, until)| until)
        .max()
        .unwrap_or(token.created_at))
}
