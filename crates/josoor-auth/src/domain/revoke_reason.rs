//! Why sessions end.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use super::named_values::named_values;
use crate::error::Refusal;

named_values! {
    /// Why a session was ended before its time.
    pub enum RevokeReason {
        /// Its owner signed out.
        Logout = "logout",
        /// Its owner ended it from another session.
        RevokedByUser = "revoked_by_user",
        /// An administrator ended it.
        RevokedByAdmin = "revoked_by_admin",
        /// The password was changed or reset.
        PasswordChanged = "password_changed",
        /// The account was deactivated.
        AccountDeactivated = "account_deactivated",
        /// The account was deleted.
        AccountDeleted = "account_deleted",
        /// An old refresh token was presented again.
        RefreshReuse = "refresh_reuse",
        /// Another sign-in in the same browser took the place of its cookie.
        Replaced = "replaced",
        /// The account had too many sessions, and this one was unused for longest.
        SessionLimit = "session_limit",
    }
}

impl RevokeReason {
    /// The refusal for a token of such a session.
    pub const fn refusal(self) -> Refusal {
        match self {
            Self::Logout
            | Self::RevokedByUser
            | Self::RevokedByAdmin
            | Self::AccountDeleted
            | Self::Replaced
            | Self::SessionLimit => Refusal::SessionRevoked,
            Self::PasswordChanged => Refusal::PasswordChanged,
            Self::AccountDeactivated => Refusal::AccountInactive,
            Self::RefreshReuse => Refusal::RefreshTokenReused,
        }
    }

    /// Reads a stored reason. A later release may know more of them; the session is over in any case, so an unknown one
    /// is read as the most general.
    pub fn read(text: &str) -> Self {
        Self::parse(text).unwrap_or(Self::RevokedByAdmin)
    }
}

impl fmt::Display for RevokeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RevokeReason {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::read(text))
    }
}
