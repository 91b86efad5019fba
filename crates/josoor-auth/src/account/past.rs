//! What signed in to an account before a change: remembered with each change, and asked for when a frozen account is recovered.

use std::time::Duration;

use crate::act::{Act, Client, Entry, address_of};
use crate::app::App;
use crate::auth::devices;
use crate::auth::password::{self, LinkOwner};
use crate::domain::{Audit, Email, Password, PasswordHash, Purpose, Timestamp};
use crate::error::{Error, Invalid, Result};
use crate::keys::DeviceMark;
use crate::store::{Device, PastCredential, PastKind, SessionRow, User};

/// How long a change of address can be undone, and how far back before it credentials count.
pub const WINDOW: Duration = Purpose::UndoEmailChange.lifetime();

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

/// Remembers what signs in to an account now, in the act that is about to change its address. The account is locked.
pub(super) async fn remember_before_change(act: &mut Act, user: &User) -> Result<()> {
    if user.email_verified_at.is_some() {
        act.tx
            .insert_past_credential(user.id, PastKind::Address, &user.email, act.now, false)
            .await?;
    }
    remember_credentials(act, user).await
}

/// Remembers a password that is about to be replaced from `session`, unless the session is one that the owner has had for a
/// while, or on a device that was known: then it is the owner who gives the old one up.
pub(super) async fn remember_before_password(act: &mut Act, user: &User, session: &SessionRow) -> Result<()> {
    let is_first = session.created_at <= user.created_at;
    let is_established = act.now.since(session.created_at) >= WINDOW;
    if is_first || is_established || session.on_known_device {
        return Ok(());
    }
    remember_credentials(act, user).await
}

async fn remember_credentials(act: &mut Act, user: &User) -> Result<()> {
    let epoch = devices::epoch_of(&act.app, user)?;
    act.tx
        .insert_past_credential(user.id, PastKind::Epoch, &epoch, act.now, false)
        .await?;
    let Some(hash) = &user.password_hash else {
        return Ok(());
    };
    act.tx
        .insert_past_credential(user.id, PastKind::Password, hash.as_str(), act.now, false)
        .await
}

/// Decides what recovers an account whose change of address at `changed` is being undone. `user` has the earlier address
/// again, and is not frozen yet.
pub(super) async fn choose_credentials(act: &mut Act, user: &User, changed: Timestamp) -> Result<()> {
    let past = act.tx.past_credentials(user.id, changed.minus(WINDOW)).await?;
    let passwords = || {
        past.iter()
            .filter(|row| row.is(PastKind::Password) && row.until <= changed)
    };
    let established = passwords().map(|row| row.until).min().unwrap_or(changed);
    act.tx
        .choose_recovering_credentials(user.id, established, changed)
        .await?;
    // A node of the release before has remembered nothing. What is still the same since then counts.
    let was_remembered = passwords().any(|row| row.until == changed);
    let Some(hash) = &user.password_hash else {
        return Ok(());
    };
    if was_remembered || user.password_changed_at.is_some_and(|at| at > changed) {
        return Ok(());
    }
    let epoch = devices::epoch_of(&act.app, user)?;
    for (kind, value) in [
        (PastKind::Password, hash.as_str()),
        (PastKind::Epoch, epoch.as_str()),
    ] {
        act.tx
            .insert_past_credential(user.id, kind, value, changed, true)
            .await?;
    }
    Ok(())
}

/// The addresses that an account has lost, each with the time of the loss.
pub(super) fn lost_addresses(past: &[PastCredential]) -> impl Iterator<Item = (Email, Timestamp)> {
    past.iter()
        .filter(|row| row.is(PastKind::Address))
        .filter_map(|row| Some((Email::parse(&row.value).ok()?, row.until)))
}

/// Verifies that a request to recover a frozen account shows something that signed in before the change of its address.
///
/// # Errors
/// `RecoveryBlocked` when it shows nothing; `InvalidCredentials`, with an audit row, for a wrong password; `RateLimited`.
pub(super) async fn verify_shown(app: &App, user: &User, shown: Shown<'_>, client: &Client) -> Result<()> {
    let email = address_of(user)?;
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
        // No password can match.
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

/// Rejects a new password that is the one shown: somebody else may know it.
///
/// # Errors
/// `Invalid`.
pub(super) fn require_another(new: &Password, shown: &Shown<'_>) -> Result<()> {
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
