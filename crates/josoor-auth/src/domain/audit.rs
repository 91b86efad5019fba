//! What the audit trail records.

use super::named_values::named_values;

named_values! {
    /// The acts that are recorded.
    pub enum Audit {
        /// An account was made.
        Register = "register",
        /// Somebody signed in, or failed to.
        SignIn = "sign_in",
        /// A session was ended.
        SessionRevoke = "session_revoke",
        /// An old refresh token was presented again.
        RefreshReuse = "refresh_reuse",
        /// A user's name or language was changed.
        UserUpdate = "user_update",
        /// A user's role was changed.
        RoleChange = "role_change",
        /// A user was activated or deactivated.
        ActivationChange = "activation_change",
        /// A user was deleted.
        UserDelete = "user_delete",
        /// A deleted user was restored, or a frozen account released.
        UserRestore = "user_restore",
        /// A deleted user was removed for good.
        UserPurge = "user_purge",
        /// The owner's mail ended all that could sign in to an account.
        AccountSecure = "account_secure",
        /// The owner got a mail about a sign-in from a new device.
        NewDevice = "new_device",
        /// An administrator made an account and invited its owner.
        UserInvite = "user_invite",
        /// A user was brought in from elsewhere.
        UserImport = "user_import",
        /// Users or audit rows were written to a file.
        Export = "export",
        /// A link to set a password was asked for, by the owner or an administrator.
        PasswordResetRequest = "password_reset_request",
        /// A password was set with such a link.
        PasswordReset = "password_reset",
        /// A password was changed by somebody who knew it.
        PasswordChange = "password_change",
        /// An address was verified.
        EmailVerify = "email_verify",
        /// Another address was asked for.
        EmailChangeRequest = "email_change_request",
        /// An account's address was changed.
        EmailChange = "email_change",
        /// An account's old address was restored.
        EmailChangeUndo = "email_change_undo",
        /// A known device was forgotten.
        DeviceForget = "device_forget",
        /// A key was made or replaced.
        KeyChange = "key_change",
        /// The service started with other settings than before.
        ConfigurationChange = "configuration_change",
        /// The audit trail began, or a rule for its rows did.
        AuditBoundary = "audit_boundary",
        /// The audit trail's chain was begun again by an operator.
        AuditRebase = "audit_rebase",
        /// What is personal was erased from rows of the audit trail.
        AuditErase = "audit_erase",
    }
}
