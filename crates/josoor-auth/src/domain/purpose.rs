//! What links in mails are for.

use std::time::Duration;

/// What a one-time token is good for. The purpose goes into the token itself: one for another purpose is not even
/// recognised.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, strum::EnumString, strum::IntoStaticStr, strum::VariantArray,
)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Purpose {
    /// Makes the first administrator.
    Setup,
    /// Sets a password: after "forgot password".
    ResetPassword,
    /// Sets the first password of an account that an administrator made.
    Invitation,
    /// Verifies the address of an account.
    VerifyEmail,
    /// Verifies the address of a registration and creates the account.
    Registration,
    /// Makes another address the account's.
    ChangeEmail,
    /// Gives an account its old address back.
    UndoEmailChange,
    /// Restores a deleted account, with the address that the token names.
    UndoDeletion,
    /// Ends all that can sign in to an account.
    SecureAccount,
    /// Confirms, by its code alone, a sign-in with the right password, or the user of a session.
    Confirm,
    /// Signs in, in the browser that asked for it: beside the code of the same mail.
    SignIn,
}

impl Purpose {
    /// All of them.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// As stored and as shown.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    /// How long a token of this purpose is good for.
    pub const fn lifetime(self) -> Duration {
        match self {
            Self::Confirm | Self::SignIn => Duration::from_mins(10),
            Self::ResetPassword => Duration::from_mins(30),
            Self::Setup => Duration::from_hours(1),
            Self::VerifyEmail | Self::Registration | Self::ChangeEmail => Duration::from_hours(24),
            // A restoration of a deleted account ends with the account's grace, which is a setting.
            Self::UndoEmailChange | Self::UndoDeletion | Self::SecureAccount => Duration::from_hours(72),
            Self::Invitation => Duration::from_hours(7 * 24),
        }
    }

    /// The purposes whose links do the same as this one's: of one account's only the newest that was sent stays good. Empty
    /// where links stay good beside each other.
    pub const fn replaces(self) -> &'static [Self] {
        match self {
            Self::ResetPassword | Self::Invitation => &[Self::ResetPassword, Self::Invitation],
            Self::VerifyEmail => &[Self::VerifyEmail],
            Self::ChangeEmail => &[Self::ChangeEmail],
            Self::SignIn => &[Self::SignIn],
            Self::Setup
            | Self::Registration
            | Self::UndoEmailChange
            | Self::UndoDeletion
            | Self::SecureAccount
            | Self::Confirm => &[],
        }
    }
}
