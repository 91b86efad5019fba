//! The kinds of mails, and their classes.

use super::purpose::Purpose;

/// What a row of the outbox is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, strum::EnumString, strum::IntoStaticStr, strum::VariantArray,
)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum MailKind {
    /// Request: somebody typed this address into "forgot password".
    ResetRequest,
    /// Request: a client without a session asked again for the mail that verifies this address.
    VerifyRequest,
    /// Request: somebody wants to register this address, under `verify_first`. `token_id` names the registration.
    RegistrationRequest,
    /// Request: the user wants this address instead of the present one. `token_id` names the change.
    EmailChangeRequest,
    /// Request: somebody typed this address in to sign in with a code. `token_id` names the flow.
    SignInRequest,
    /// Request: the sign-ins to this address have failed as often in a row as `login.failures_until_code` says.
    FailureLimitRequest,

    /// The link that verifies the address of an account.
    VerifyEmail,
    /// The link that verifies the address and creates the account, under `verify_first`.
    FinishRegistration,
    /// Somebody wanted to register an address that has an account.
    AlreadyRegistered,
    /// The link that sets another password.
    ResetPassword,
    /// The link that sets the first password of an account that an administrator made.
    Invitation,
    /// Notice: the password was changed.
    PasswordChanged,
    /// The link that makes this address the account's.
    ConfirmEmail,
    /// Notice, to the owner of an account: somebody wanted this address for another one.
    EmailWanted,
    /// Notice to the old address: the account has another one now. With the link that undoes it.
    EmailChanged,
    /// Notice to the new address: it is the account's now.
    EmailChangeDone,
    /// Notice: the change of the address was undone.
    EmailRestored,
    /// Notice: an old refresh token was used again, so the session was ended.
    RefreshReuse,
    /// Notice: sessions were ended, or a sign-in was refused, because there were too many.
    SessionLimit,
    /// Notice: the account was deleted for good.
    AccountDeleted,
    /// Notice: the account was deleted. With the link that restores it.
    AccountDeletion,
    /// Notice: the change of a verified address was undone, and the account waits for its owner to recover it.
    AccountFrozen,
    /// Notice: a deleted account was restored.
    AccountRestored,
    /// Notice: a sign-in from a new device. With the link that secures the account.
    NewDevice,
    /// Notice: an authenticator app was added.
    FactorAdded,
    /// Notice: the authenticator app was removed by its owner.
    FactorRemoved,
    /// Notice: a passkey was added. With the link that secures the account.
    PasskeyAdded,
    /// Notice: a passkey was removed by its owner.
    PasskeyRemoved,
    /// Notice: the second factors were removed by an administrator.
    FactorsReset,
    /// Notice: there is a new set of recovery codes.
    RecoveryCodesReplaced,
    /// Notice: a recovery code was used.
    RecoveryCodeUsed,
    /// Notice: a recovery code was used, and few are left.
    RecoveryCodesLow,
    /// Notice: somebody knows the password, and gave wrong codes of the second factor.
    MfaFailed,
    /// Notice, to administrators: there is another one.
    NewAdmin,
    /// The code that signs in, and the link that does the same in the browser that asked.
    SignInCode,
    /// The code that confirms a sign-in with the right password.
    ConfirmSignIn,
    /// The code that confirms the user of a session.
    StepUpCode,
    /// Notice: so many sign-ins have failed in a row that new devices need a code by mail.
    FailureLimit,
    /// Notice: a password that was set before the address was verified was removed when it was.
    PasswordRemoved,
}

impl MailKind {
    /// All of them.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// As stored and as shown.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    /// Whether the row is looked into instead of sent.
    pub const fn is_request(self) -> bool {
        matches!(
            self,
            Self::ResetRequest
                | Self::VerifyRequest
                | Self::RegistrationRequest
                | Self::EmailChangeRequest
                | Self::SignInRequest
                | Self::FailureLimitRequest
        )
    }

    /// The purpose of the token in the link of the message, if its link has one.
    pub const fn purpose(self) -> Option<Purpose> {
        match self {
            Self::ResetPassword => Some(Purpose::ResetPassword),
            Self::Invitation => Some(Purpose::Invitation),
            Self::VerifyEmail => Some(Purpose::VerifyEmail),
            Self::FinishRegistration => Some(Purpose::Registration),
            Self::ConfirmEmail => Some(Purpose::ChangeEmail),
            Self::EmailChanged => Some(Purpose::UndoEmailChange),
            Self::AccountDeletion => Some(Purpose::UndoDeletion),
            Self::NewDevice | Self::PasskeyAdded => Some(Purpose::SecureAccount),
            Self::SignInCode => Some(Purpose::SignIn),
            Self::ConfirmSignIn | Self::StepUpCode => Some(Purpose::Confirm),
            _ => None,
        }
    }

    /// The class of the row.
    pub const fn class(self) -> MailClass {
        match self {
            Self::ResetRequest
            | Self::ResetPassword
            | Self::SignInRequest
            | Self::SignInCode
            | Self::ConfirmSignIn
            | Self::StepUpCode => MailClass::Reset,
            Self::PasswordChanged
            | Self::EmailChanged
            | Self::EmailChangeDone
            | Self::EmailRestored
            | Self::RefreshReuse
            | Self::SessionLimit
            | Self::AccountDeleted
            | Self::AccountDeletion
            | Self::AccountFrozen
            | Self::AccountRestored
            | Self::NewDevice
            | Self::FactorAdded
            | Self::FactorRemoved
            | Self::PasskeyAdded
            | Self::PasskeyRemoved
            | Self::FactorsReset
            | Self::RecoveryCodesReplaced
            | Self::RecoveryCodeUsed
            | Self::RecoveryCodesLow
            | Self::MfaFailed
            | Self::NewAdmin
            | Self::FailureLimitRequest
            | Self::FailureLimit
            | Self::PasswordRemoved => MailClass::Notice,
            Self::VerifyRequest
            | Self::RegistrationRequest
            | Self::EmailChangeRequest
            | Self::VerifyEmail
            | Self::FinishRegistration
            | Self::AlreadyRegistered
            | Self::Invitation
            | Self::ConfirmEmail
            | Self::EmailWanted => MailClass::Other,
        }
    }
}

/// Whether a mail was sent.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    serde::Serialize,
    utoipa::ToSchema,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum MailState {
    /// It will be tried, perhaps once more.
    Waiting,
    /// The mail server has taken it.
    Sent,
    /// It is not tried any more.
    Failed,
}

impl MailState {
    /// All of them.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// As shown.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// Which rows go first, and which share of the budget of mails their kind has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum MailClass {
    /// What sets a password that was forgotten.
    Reset,
    /// What tells the owner of an account, or an administrator, what has happened.
    Notice,
    /// Everything else; nearly all of it can be caused by strangers.
    Other,
}

impl MailClass {
    /// All of them, in the order in which rows are taken up.
    pub const ALL: [Self; 3] = [Self::Reset, Self::Notice, Self::Other];

    /// As stored and as shown.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}
