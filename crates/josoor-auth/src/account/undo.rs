//! Ways back: taking back a change of address, restoring a deleted account, and recovering an account afterwards.
//!
//! Taking back a change of a verified address **freezes** the account. The person who made the change may know the password, so it is
//! removed, and all sessions, devices and open links end. The mailbox that is restored may itself be what was lost, so its
//! link alone sets no password either: recovery also asks for something that was good before the change. That is the password
//! at that moment, or a device that was known then. If the password was replaced shortly before, and from a session that was
//! itself new, the one before it counts as well: that is what an intruder does first. Otherwise an administrator releases
//! the account.

use std::time::Duration;

use crate::account::links::{self, Cause};
use crate::account::recovery;
use crate::act::{Act, Client, Entry};
use crate::app::App;
use crate::auth::devices;
use crate::auth::password::{self, LinkOwner};
use crate::cache::{self, Effects};
use crate::domain::{Email, Password, PasswordHash, Timestamp, UserId};
use crate::error::{Error, Invalid, Result};
use crate::keys::DeviceMark;
use crate::store::{
    Audit, Conn, Device, MailKind, NewAudit, NewOneTimeToken, OneTimeToken, PastCredential, PastKind,
    Purpose, SessionRow, User,
};

/// How long a change of address can be taken back, and how far back before it credentials count.
pub const WINDOW: Duration = Purpose::UndoEmailChange.lifetime();

/// What a link took back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undone {
    /// Whether the account now waits for its owner to recover it.
    pub frozen: bool,
}

/// What a request to set a password shows besides its link, to recover a frozen account.
pub struct Shown<'a> {
    /// A password from before the change of the address.
    pub previous_password: Option<Password>,
    /// Reads the mark of the device that the request comes from, for an account with this canonical address.
    pub mark_for: &'a (dyn Fn(&str) -> Option<DeviceMark> + Sync),
}

impl std::fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shown")
            .field("previous_password", &self.previous_password)
            .finish_non_exhaustive()
    }
}

// Remembering

/// Notes what signs in to an account now, in the unit of work that is about to change its address. The account is locked.
pub(crate) async fn remember_before_change(
    app: &App,
    tx: &mut Conn,
    user: &User,
    now: Timestamp,
) -> Result<()> {
    if user.email_verified_at.is_some() {
        tx.insert_past_credential(user.id, PastKind::Address, &user.email, now, false)
            .await?;
    }
    remember_credentials(app, tx, user, now).await
}

/// Notes a password that is about to be replaced from `session`, unless the session is one that the owner has had for a
/// while, or on a device that was known: then it is the owner who gives the old one up.
pub(crate) async fn remember_before_password(
    app: &App,
    tx: &mut Conn,
    user: &User,
    session: &SessionRow,
    now: Timestamp,
) -> Result<()> {
    let is_first = session.created_at <= user.created_at;
    let is_established = now.since(session.created_at) >= WINDOW;
    if is_first || is_established || session.on_known_device {
        return Ok(());
    }
    remember_credentials(app, tx, user, now).await
}

async fn remember_credentials(app: &App, tx: &mut Conn, user: &User, now: Timestamp) -> Result<()> {
    let epoch = devices::epoch_of(app, user)?;
    tx.insert_past_credential(user.id, PastKind::Epoch, &epoch, now, false)
        .await?;
    let Some(hash) = &user.password_hash else {
        return Ok(());
    };
    tx.insert_past_credential(user.id, PastKind::Password, hash.as_str(), now, false)
        .await
}

/// Decides what recovers an account whose change of address at `changed` is being taken back.
/// `user` has the earlier address again, and is not frozen yet.
async fn choose_credentials(app: &App, tx: &mut Conn, user: &User, changed: Timestamp) -> Result<()> {
    let past = tx.past_credentials(user.id, changed.minus(WINDOW)).await?;
    let passwords = || {
        past.iter()
            .filter(|row| row.is(PastKind::Password) && row.until <= changed)
    };
    let established = passwords().map(|row| row.until).min().unwrap_or(changed);
    tx.choose_recovering_credentials(user.id, established, changed)
        .await?;
    // A node of the release before has noted nothing. What is still the same since then counts.
    let was_noted = passwords().any(|row| row.until == changed);
    let Some(hash) = &user.password_hash else {
        return Ok(());
    };
    if was_noted || user.password_changed_at.is_some_and(|at| at > changed) {
        return Ok(());
    }
    let epoch = devices::epoch_of(app, user)?;
    for (kind, value) in [
        (PastKind::Password, hash.as_str()),
        (PastKind::Epoch, epoch.as_str()),
    ] {
        tx.insert_past_credential(user.id, kind, value, changed, true)
            .await?;
    }
    Ok(())
}

// Taking back

/// Takes back what a mail told of: a change of address, or a deletion. All sessions stay ended. If the account comes back to
/// an earlier verified address, it is frozen.
///
/// # Errors
/// `LinkInvalid`, `LinkExpired`, `LinkUsed`; `AccountInactive` while an administrator keeps the account deactivated. The link
/// is used up only by success.
pub async fn undo(app: &App, token: &str, client: &Client) -> Result<Undone> {
    let purposes = [Purpose::UndoEmailChange, Purpose::UndoDeletion];
    let token = recovery::usable(app, &purposes, token).await?;
    undo_by(app, &token, client).await
}

/// [`undo`], with a token that was found good a moment ago.
pub(crate) async fn undo_by(app: &App, token: &OneTimeToken, client: &Client) -> Result<Undone> {
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    let before = recovery::lock_and_claim(&mut tx, token, now)
        .await?
        .ok_or(Error::LinkInvalid)?;
    let address = recovery::parse_address(token.email.as_deref().unwrap_or_default())?;
    let client = recovery::acting(client, before.id);
    let was_deleted = before.deleted_at.is_some();
    let mut user = before;
    if was_deleted {
        user = tx
            .restore_deleted(user.id, now)
            .await?
            .ok_or(Error::LinkExpired)?;
        tx.insert_audit(&NewAudit {
            subject: Some(user.id),
            reason: Some("undo"),
            ..client.audit(Audit::UserRestore, now)
        })
        .await?;
    }
    if recovery::address_of(&user)?.key() != address.key() {
        return restore_address(app, tx, &user, token, &address, &client, now).await;
    }
    if !was_deleted {
        // Restored since, by an administrator or by another of its links.
        return Err(Error::LinkUsed);
    }
    tx.queue_mail(&recovery::mail_to(
        &user,
        &address,
        MailKind::AccountRestored,
        None,
        &client,
        now,
    ))
    .await?;
    recovery::finish(app, tx, &user, Effects::default(), now).await?;
    Ok(Undone {
        frozen: user.frozen_at.is_some(),
    })
}

/// Gives an account an earlier address back. Ways back to still earlier addresses stay good, for those who held them before
/// the person who made this change; later ones end.
///
/// An address that was not verified then is not verified now, and nothing is frozen: the account may be one that somebody
/// else has made in its owner's name, and the click says only "that was not me".
async fn restore_address(
    app: &App,
    mut tx: Conn,
    before: &User,
    token: &OneTimeToken,
    address: &Email,
    client: &Client,
    now: Timestamp,
) -> Result<Undone> {
    if !before.is_active && before.frozen_at.is_none() {
        return Err(Error::AccountInactive);
    }
    let was_verified = token.bound_to.as_deref() == Some(recovery::PROVED);
    let changed = changed_at(&mut tx, token, address).await?;
    let mut user = tx
        .change_email(before, address, was_verified.then_some(now), now)
        .await?
        .ok_or(Error::LinkExpired)?;
    tx.forget_devices(user.id, now).await?;
    links::end(&mut tx, user.id, Cause::AddressRestored, now).await?;
    tx.expire_one_time_tokens_since(Purpose::UndoEmailChange, user.id, changed, now)
        .await?;
    if was_verified {
        choose_credentials(app, &mut tx, &user, changed).await?;
        user = tx.freeze_user(user.id, now).await?.ok_or(Error::LinkExpired)?;
    }
    let kind = if was_verified {
        MailKind::AccountFrozen
    } else {
        MailKind::EmailRestored
    };
    tx.queue_mail(&recovery::mail_to(&user, address, kind, None, client, now))
        .await?;
    if was_verified {
        recovery::send_reset(&mut tx, &user, client, now).await?;
    }
    recovery::end_sessions(app, tx, &user, None, Audit::EmailChangeUndo, client, now).await?;
    Ok(Undone {
        frozen: user.frozen_at.is_some(),
    })
}

/// When the account lost the address that a token restores.
async fn changed_at(tx: &mut Conn, token: &OneTimeToken, address: &Email) -> Result<Timestamp> {
    let Some(user) = token.user_id() else {
        return Ok(token.created_at);
    };
    if token.purpose == Purpose::UndoEmailChange.as_str() {
        return Ok(token.created_at);
    }
    let past = tx.past_credentials(user, Timestamp::from_micros(0)).await?;
    Ok(lost_addresses(&past)
        .filter(|(email, _)| email.key() == address.key())
        .map(|(_, until)| until)
        .max()
        .unwrap_or(token.created_at))
}

fn lost_addresses(past: &[PastCredential]) -> impl Iterator<Item = (Email, Timestamp)> {
    past.iter()
        .filter(|row| row.is(PastKind::Address))
        .filter_map(|row| Some((Email::parse(&row.value).ok()?, row.until)))
}

// Recovering

/// Verifies that a request to recover a frozen account shows something that was good before the change of its address.
///
/// # Errors
/// `RecoveryBlocked` when it shows nothing; `InvalidCredentials`, with an audit row, for a wrong password; `RateLimited`.
pub(crate) async fn verify_recovery(app: &App, user: &User, shown: Shown<'_>, client: &Client) -> Result<()> {
    let email = recovery::address_of(user)?;
    let good = app.db.write().await?.recovering_credentials(user.id).await?;
    let mark = (shown.mark_for)(email.key());
    if let Some(mark) = mark.filter(|mark| mark.user == user.id) {
        let device = app.db.write().await?.device(user.id, mark.id).await?;
        if device.is_some_and(|device| good.iter().any(|row| was_known(&device, row))) {
            return Ok(());
        }
    }
    let Some(password) = shown.previous_password else {
        return Err(Error::RecoveryBlocked);
    };
    let passwords = good.iter().filter(|row| row.is(PastKind::Password));
    let owner = LinkOwner {
        email: &email,
        user: Some(user.id),
        hashes: passwords
            .map(|row| PasswordHash::from_stored(row.value.clone()))
            .collect(),
    };
    if owner.hashes.is_empty() {
        // Nothing would ever match.
        return Err(Error::RecoveryBlocked);
    }
    let failure = Entry::failure(Audit::PasswordReset, "recovery_blocked");
    password::verify_link_owner(app, owner, &password, failure, client).await
}

/// Whether a device was known at the moment that a row is about.
fn was_known(device: &Device, row: &PastCredential) -> bool {
    row.is(PastKind::Epoch)
        && row.value == device.epoch
        && device.created_at <= row.until
        && device.forgotten_at.is_none_or(|at| at >= row.until)
}

/// The new password must not be one that somebody else may know.
///
/// # Errors
/// `Invalid`.
pub(crate) fn require_another(new: &Password, shown: &Shown<'_>) -> Result<()> {
    if shown
        .previous_password
        .as_ref()
        .is_some_and(|previous| previous.as_bytes() == new.as_bytes())
    {
        let reason = Invalid::new(
            "password_unchanged",
            "Choose another password than the one from before: somebody else may know it.",
        );
        return Err(Error::invalid("new_password", reason));
    }
    Ok(())
}

// Deletion

/// Marks an account as deleted until its grace ends, in the unit of work in which it is locked, and sends the link that
/// restores it to every address that was verified for it within that time: an intruder who has changed the address before
/// gains nothing.
pub(crate) async fn mark_deleted(act: &mut Act, before: &User, grace: Duration) -> Result<User> {
    let (now, purge_at) = (act.now, act.now.plus(grace));
    let user = act
        .tx
        .mark_deleted(before.id, purge_at, now)
        .await?
        .ok_or(Error::NotFound)?;
    links::end(&mut act.tx, user.id, Cause::Deleted, now).await?;
    let past = act.tx.past_credentials(user.id, now.minus(grace)).await?;
    let current = recovery::address_of(before)?;
    let mut addresses = vec![(current, before.email_verified_at.is_some())];
    for (email, _) in lost_addresses(&past) {
        if addresses.iter().all(|(known, _)| known.key() != email.key()) {
            addresses.push((email, true));
        }
    }
    for (email, was_verified) in &addresses {
        let token = NewOneTimeToken {
            email: Some(email),
            bound_to: was_verified.then_some(recovery::PROVED),
            expires_at: purge_at,
            ..act.new_token(Purpose::UndoDeletion, Some(user.id))
        };
        act.tx.insert_one_time_token(&token).await?;
        let mail = act.mail_to(before, email, MailKind::AccountDeletion, Some(token.id));
        act.queue(&mail).await?;
    }
    Ok(user)
}

/// Sends the link that restores a deleted account once more, when its address is asked about by mail.
pub(crate) async fn send_restoration(
    tx: &mut Conn,
    user: &User,
    email: &Email,
    client: &Client,
    now: Timestamp,
) -> Result<()> {
    let open = tx
        .open_one_time_token(Purpose::UndoDeletion, user.id, email.key(), now)
        .await?;
    let Some(token) = open else { return Ok(()) };
    tx.queue_mail(&recovery::mail_to(
        user,
        email,
        MailKind::AccountDeletion,
        Some(token),
        client,
        now,
    ))
    .await
}

/// Restores a deleted account, or releases a frozen one, for an administrator. An account that is neither stays as it is.
///
/// # Errors
/// `NotFound`.
pub async fn restore(app: &App, id: UserId, client: &Client) -> Result<User> {
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    let mut user = tx.lock_user(id).await?.ok_or(Error::NotFound)?;
    let reason = if user.deleted_at.is_some() {
        user = tx.restore_deleted(id, now).await?.ok_or(Error::NotFound)?;
        tx.expire_one_time_tokens(Purpose::UndoDeletion, Some(id), now)
            .await?;
        let email = recovery::address_of(&user)?;
        tx.queue_mail(&recovery::mail_to(
            &user,
            &email,
            MailKind::AccountRestored,
            None,
            client,
            now,
        ))
        .await?;
        "restored"
    } else if user.frozen_at.is_some() {
        user = tx.release_user(id, now).await?.ok_or(Error::NotFound)?;
        tx.delete_past_credentials(id).await?;
        "released"
    } else {
        return Ok(user);
    };
    tx.insert_audit(&NewAudit {
        subject: Some(id),
        reason: Some(reason),
        ..client.audit(Audit::UserRestore, now)
    })
    .await?;
    recovery::finish(app, tx, &user, Effects::default(), now).await?;
    Ok(user)
}

/// Removes a deleted account whose grace has passed, with the mails about it. Its audit rows stay. Whether this node did.
pub(crate) async fn purge(app: &App, id: UserId) -> Result<bool> {
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    if tx.lock_user(id).await?.is_none() || !tx.purge_user(id, now).await? {
        return Ok(false);
    }
    tx.delete_mails_of(id).await?;
    tx.record_user_change(id, now, cache::user_copies_until(now))
        .await?;
    tx.insert_audit(&NewAudit {
        subject: Some(id),
        ..Client::default().audit(Audit::UserPurge, now)
    })
    .await?;
    let mut effects = Effects::default();
    effects.delete(id, now);
    app.commit(tx, effects).await?;
    Ok(true)
}
