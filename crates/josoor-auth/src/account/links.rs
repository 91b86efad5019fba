//! One-time links: which are redeemable, how one is redeemed, and which of them expire with a change of the account.
//!
//! A token is single-use and bound to the state of the account that it was issued for. The next one of its purpose replaces it
//! once that one's mail is sent. It does its work in the transaction that redeems it.

use crate::act::Act;
use crate::app::App;
use crate::domain::{Email, Purpose, Timestamp, UserId};
use crate::error::{Error, Result};
use crate::store::{Conn, OneTimeToken, User};

/// The value of [`OneTimeToken::bound_to`] for the way back to an address that was verified. It is stored.
pub(super) const VERIFIED: &str = "proved"; // words-ok

/// The guard that is passed before it is decided what becomes of an address without an account. Locks are always taken in the
/// order guard, account, tokens and sessions, so that no two transactions wait for each other.
pub(crate) const REGISTRATIONS: &str = "registrations";

/// A change after which some open links of the account must do nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The password was changed with the current one.
    PasswordChanged,
    /// The password was set with a link.
    PasswordReset,
    /// The owner of an address took over an account that had never verified it.
    Claimed,
    /// The account has another address.
    AddressChanged,
    /// The account has an earlier address again.
    AddressRestored,
    /// An administrator deactivated the account.
    Deactivated,
    /// The account was deleted.
    Deleted,
    /// The owner's mail revoked everything that could sign in to the account.
    Secured,
    /// A signed-in user reported what somebody else did with the account.
    Reported,
}

impl Cause {
    /// All of them.
    #[cfg(feature = "internals")]
    pub const ALL: [Self; 9] = [
        Self::PasswordChanged,
        Self::PasswordReset,
        Self::Claimed,
        Self::AddressChanged,
        Self::AddressRestored,
        Self::Deactivated,
        Self::Deleted,
        Self::Secured,
        Self::Reported,
    ];

    /// Whether the open links of a purpose expire with this change.
    pub const fn ends(self, purpose: Purpose) -> bool {
        match purpose {
            // Of no account.
            Purpose::Setup | Purpose::Registration => false,
            // Bound to a state that each of these changes, or that must not come back with a reactivation. A change of
            // the address may have been asked for by the intruder.
            Purpose::ResetPassword
            | Purpose::Invitation
            | Purpose::ChangeEmail
            | Purpose::SignIn
            | Purpose::Confirm => true,
            // The address stays what it was when only the password changes, or is about to.
            Purpose::VerifyEmail => !matches!(self, Self::PasswordChanged | Self::Reported),
            // The way back of an earlier owner. An account that is claimed had no verified owner before. After a
            // restoration the later ones end apart, by their time.
            Purpose::UndoEmailChange => matches!(self, Self::Claimed),
            // Restoring a deleted account with a later address takes nothing from the owner of an earlier one.
            Purpose::UndoDeletion => matches!(self, Self::Claimed | Self::AddressRestored),
            // An intruder who changes the password or the address, or reports the owner, must not end the owner's way to secure the
            // account.
            Purpose::SecureAccount => !matches!(
                self,
                Self::PasswordChanged | Self::AddressChanged | Self::Reported
            ),
        }
    }
}

/// Expires the open links of an account that end with a change. The account is locked.
pub(crate) async fn expire(act: &mut Act, user: UserId, cause: Cause) -> Result<()> {
    for &purpose in Purpose::ALL {
        if cause.ends(purpose) {
            act.tx
                .expire_one_time_tokens(purpose, Some(user), act.now)
                .await?;
        }
    }
    Ok(())
}

/// Loads a token of one of these purposes that is redeemable now. [`redeem`] checks it once more inside the transaction.
///
/// # Errors
/// `LinkInvalid`, `LinkExpired`, `LinkUsed`.
pub(super) async fn load(app: &App, purposes: &[Purpose], token: &str) -> Result<OneTimeToken> {
    let id = purposes
        .iter()
        .find_map(|purpose| app.keys.one_time.read(*purpose, token))
        .ok_or(Error::LinkInvalid)?;
    let row = app.db.write().await?.one_time_token(id).await?;
    let row = row.ok_or(Error::LinkExpired)?;
    match why_not_redeemable(&row, app.clock.now()) {
        Some(error) => Err(error),
        None => Ok(row),
    }
}

/// A link that was opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// What it is for.
    pub purpose: Purpose,
    /// The address that it verifies, else that of its account. `None` where the reader has to know it.
    pub email: Option<String>,
}

/// Opens a link, if it is redeemable now. Nothing is redeemed.
///
/// # Errors
/// `LinkInvalid`, also for a purpose that is not one of these; `LinkExpired`, `LinkUsed`.
pub async fn open(app: &App, purposes: &[Purpose], token: &str) -> Result<Opened> {
    let row = load(app, purposes, token).await?;
    let purpose = row.purpose.parse().map_err(|_| Error::LinkInvalid)?;
    let email = match (purpose, row.user_id()) {
        // Its owner types the address in: the link alone is not enough.
        (Purpose::SecureAccount, _) => None,
        (_, Some(id)) if row.email.is_none() => {
            let owner = app.db.write().await?.user_by_id(id).await?;
            owner.map(|owner| owner.email)
        }
        _ => row.email,
    };
    Ok(Opened { purpose, email })
}

fn why_not_redeemable(token: &OneTimeToken, now: Timestamp) -> Option<Error> {
    if token.used_at.is_some() {
        return Some(Error::LinkUsed);
    }
    (now >= token.expires_at).then_some(Error::LinkExpired)
}

/// Redeems a token, in the act that does what it is for; exactly one of several at once succeeds. Returns the account of the
/// token, locked. For a token without one the guard [`REGISTRATIONS`] is passed.
///
/// # Errors
/// `LinkExpired`, `LinkUsed`.
pub(super) async fn redeem(act: &mut Act, token: &OneTimeToken) -> Result<Option<User>> {
    let user = if let Some(id) = token.user_id() {
        Some(act.tx.lock_user(id).await?.ok_or(Error::LinkExpired)?)
    } else {
        act.tx.pass_guard(REGISTRATIONS).await?;
        None
    };
    if act.tx.claim_one_time_token(token.id, act.now).await? {
        return Ok(user);
    }
    let row = act.tx.one_time_token(token.id).await?;
    Err(row
        .and_then(|row| why_not_redeemable(&row, act.now))
        .unwrap_or(Error::LinkExpired))
}

/// What of an account must still be so when a token that sets a password or an address is redeemed.
pub(super) fn state_of(user: &User, email: &Email) -> String {
    let changed = user.password_changed_at.map_or(0, Timestamp::as_micros);
    format!("{} {changed}", email.key())
}

/// Whether an address, which a change or a deletion has just taken from an account, is reserved so that its owner can take it
/// back. Otherwise an intruder would only have to register the old address to keep it.
pub(super) async fn is_reserved(tx: &mut Conn, email: &Email, now: Timestamp) -> Result<bool> {
    for purpose in [Purpose::UndoEmailChange, Purpose::UndoDeletion] {
        if tx
            .has_one_time_token_for(purpose, email.key(), VERIFIED, now)
            .await?
        {
            return Ok(true);
        }
    }
    Ok(false)
}
