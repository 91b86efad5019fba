//! The kinds of mails, and their classes.

use super::named_values::named_values;

named_values! {
    /// What a row of the outbox is.
    pub enum MailKind {
        /// Request: somebody typed this address into "forgot password".
        ResetRequest = "reset_request",
        /// Request: a client without a session asked again for the mail that verifies this address.
        VerifyRequest = "verify_request",
        /// Request: somebody wants to register this address, under `verify_first`. `token_id` names the registration.
        RegistrationRequest = "registration_request",
        /// Request: the user wants this address instead of the present one. `token_id` names the change.
        EmailChangeRequest = "email_change_request",

        /// The link that verifies the address of an account.
        VerifyEmail = "verify_email",
        /// The link that verifies the address and creates the account, under `verify_first`.
        FinishRegistration = "finish_registration",
        /// Somebody wanted to register an address that has an account.
        AlreadyRegistered = "already_registered",
        /// The link that sets another password.
        ResetPassword = "reset_password",
        /// The link that sets the first password of an account that an administrator made.
        Invitation = "invitation",
        /// Notice: the password was changed.
        PasswordChanged = "password_changed",
        /// The link that makes this address the account's.
        ConfirmEmail = "confirm_email",
        /// Notice, to the owner of an account: somebody wanted this address for another one.
        EmailWanted = "email_wanted",
        /// Notice to the old address: the account has another one now. With the link that undoes it.
        EmailChanged = "email_changed",
        /// Notice to the new address: it is the account's now.
        EmailChangeDone = "email_change_done",
        /// Notice: the change of the address was undone.
        EmailRestored = "email_restored",
        /// Notice: an old refresh token was used again, so the session was ended.
        RefreshReuse = "refresh_reuse",
        /// Notice: sessions were ended, or a sign-in was refused, because there were too many.
        SessionLimit = "session_limit",
        /// Notice: the account was deleted for good.
        AccountDeleted = "account_deleted",
        /// Notice: the account was deleted. With the link that restores it.
        AccountDeletion = "account_deletion",
        /// Notice: the change of a verified address was undone, and the account waits for its owner to recover it.
        AccountFrozen = "account_frozen",
        /// Notice: a deleted account was restored.
        AccountRestored = "account_restored",
        /// Notice: a sign-in from a new device. With the link that secures the account.
        NewDevice = "new_device",
        /// Notice, to administrators: there is another one.
        NewAdmin = "new_admin",
    }
}

impl MailKind {
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
}

named_values! {
    /// Which rows go first, and which share of the budget of mails their kind has.
    pub enum MailClass {
        /// What sets a password that was forgotten.
        Reset = "reset",
        /// What tells the owner of an account, or an administrator, what has happened.
        Notice = "notice",
        /// Everything else; nearly all of it can be caused by strangers.
        Other = "other",
    }
}
