//! Why sessions end.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use crate::error::Refusal;

/// Why a session was ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum RevokeReason {
    /// Its owner signed out.
    Logout,
    /// Its owner ended it from another session.
    RevokedByUser,
    /// An administrator ended it.
    RevokedByAdmin,
    /// The password was changed or reset.
    PasswordChanged,
    /// The account was deactivated.
    AccountDeactivated,
    /// The account was deleted.
    AccountDeleted,
    /// An old refresh token was presented again.
    RefreshReuse,
    /// Another sign-in in the same browser took the place of its cookie.
    Replaced,
    /// The account had too many sessions, and this one was unused for longest.
    SessionLimit,
}

impl RevokeReason {
    /// All of them.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// As stored and as shown.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

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
        let known = Self::ALL.iter().find(|reason| reason.as_str() == text);
        *known.unwrap_or(&Self::RevokedByAdmin)
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
