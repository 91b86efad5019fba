//! Which open one-time links of an account expire with a change of it. One table, so that a new purpose or a new cause cannot be
//! forgotten.

use crate::domain::{Timestamp, UserId};
use crate::error::Result;
use crate::store::{Conn, Purpose};

/// A change after which some open links of the account must do nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The password was changed by somebody who knew it.
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
    /// The owner's mail ended all that could sign in to the account.
    Secured,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::PasswordChanged,
        Self::PasswordReset,
        Self::Claimed,
        Self::AddressChanged,
        Self::AddressRestored,
        Self::Deactivated,
        Self::Deleted,
        Self::Secured,
    ];

    /// Whether the open links of a purpose expire with this change.
    pub const fn ends(self, purpose: Purpose) -> bool {
        match purpose {
            // Of no account.
            Purpose::Setup | Purpose::Registration => false,
            // Bound to a state that each of these changes, or that must not come back with a reactivation. A change of
            // the address may have been asked for by the intruder.
            Purpose::ResetPassword | Purpose::Invitation | Purpose::ChangeEmail => true,
            // The address stays what it was when only the password changes.
            Purpose::VerifyEmail => !matches!(self, Self::PasswordChanged),
            // The way back of an earlier owner. An account that is claimed had no verified owner before. After a
            // restoration the later ones end apart, by their time.
            Purpose::UndoEmailChange => matches!(self, Self::Claimed),
            // Restoring a deleted account with a later address takes nothing from the owner of an earlier one.
            Purpose::UndoDeletion => matches!(self, Self::Claimed | Self::AddressRestored),
            // An intruder who changes the password or the address must not end the owner's way to secure the account.
            Purpose::SecureAccount => !matches!(self, Self::PasswordChanged | Self::AddressChanged),
        }
    }
}

/// Expires the open links of an account that end with a change. The account is locked.
pub(crate) async fn end(tx: &mut Conn, user: UserId, cause: Cause, now: Timestamp) -> Result<()> {
    for purpose in Purpose::ALL {
        if cause.ends(purpose) {
            tx.expire_one_time_tokens(purpose, Some(user), now).await?;
        }
    }
    Ok(())
}
