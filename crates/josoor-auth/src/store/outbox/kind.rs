//! The kinds of rows, and their classes.

/// What a row of the outbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MailKind {
    /// Request: somebody typed this address into "forgot password".
    ResetRequest,
    /// Request: a client without a session asked again for the mail that verifies this address.
    VerifyRequest,
    /// Request: somebody wants to register this address, under `verify_first`. `token_id` names the registration.
    RegistrationRequest,
    /// Request: the user wants this address instead of the present one. `token_id` names the change.
    EmailChangeRequest,

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
    /// Notice, to administrators: there is another one.
    NewAdmin,
}

impl MailKind {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::ResetRequest,
        Self::VerifyRequest,
        Self::RegistrationRequest,
        Self::EmailChangeRequest,
        Self::VerifyEmail,
        Self::FinishRegistration,
        Self::AlreadyRegistered,
        Self::ResetPassword,
        Self::Invitation,
        Self::PasswordChanged,
        Self::ConfirmEmail,
        Self::EmailWanted,
        Self::EmailChanged,
        Self::EmailChangeDone,
        Self::EmailRestored,
        Self::RefreshReuse,
        Self::SessionLimit,
        Self::AccountDeleted,
        Self::AccountDeletion,
        Self::AccountFrozen,
        Self::AccountRestored,
        Self::NewDevice,
        Self::NewAdmin,
    ];

    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ResetRequest => "reset_request",
            Self::VerifyRequest => "verify_request",
            Self::RegistrationRequest => "registration_request",
            Self::EmailChangeRequest => "email_change_request",
            Self::VerifyEmail => "verify_email",
            Self::FinishRegistration => "finish_registration",
            Self::AlreadyRegistered => "already_registered",
            Self::ResetPassword => "reset_password",
            Self::Invitation => "invitation",
            Self::PasswordChanged => "password_changed",
            Self::ConfirmEmail => "confirm_email",
            Self::EmailWanted => "email_wanted",
            Self::EmailChanged => "email_changed",
            Self::EmailChangeDone => "email_change_done",
            Self::EmailRestored => "email_restored",
            Self::RefreshReuse => "refresh_reuse",
            Self::SessionLimit => "session_limit",
            Self::AccountDeleted => "account_deleted",
            Self::AccountDeletion => "account_deletion",
            Self::AccountFrozen => "account_frozen",
            Self::AccountRestored => "account_restored",
            Self::NewDevice => "new_device",
            Self::NewAdmin => "new_admin",
        }
    }

    /// Whether the row is looked into instead of sent.
    pub const fn is_request(self) -> bool {
        matches!(
            self,
            Self::ResetRequest | Self::VerifyRequest | Self::RegistrationRequest | Self::EmailChangeRequest
        )
    }

    /// The class of the row.
    pub const fn class(self) -> MailClass {
        match self {
            Self::ResetRequest | Self::ResetPassword => MailClass::Reset,
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
            | Self::NewAdmin => MailClass::Notice,
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

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Which rows go first, and which share of the budget of mails their kind has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

    /// As in log and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Notice => "notice",
            Self::Other => "other",
        }
    }
}
