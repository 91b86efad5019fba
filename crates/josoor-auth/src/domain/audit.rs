//! What the audit trail records.

/// The acts that are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Audit {
    /// An account was made.
    Register,
    /// Somebody signed in, or failed to.
    SignIn,
    /// A sign-in with the right password waits for a second factor.
    MfaRequest,
    /// The sign-ins to an account have failed so often in a row that new devices need a code by mail besides the password.
    FailureLimit,
    /// A code to sign in with was asked for.
    SignInCodeRequest,
    /// The user of a session was verified once more, or was not.
    StepUp,
    /// A second factor was added.
    FactorAdd,
    /// Second factors were removed.
    FactorRemove,
    /// A second factor was renamed.
    FactorRename,
    /// A device spares its user the second factor from now on.
    DeviceTrust,
    /// A session was ended.
    SessionRevoke,
    /// An old refresh token was presented again.
    RefreshReuse,
    /// A user's name or language was changed.
    UserUpdate,
    /// A user's role was changed.
    RoleChange,
    /// A user was activated or deactivated.
    ActivationChange,
    /// A user was deleted.
    UserDelete,
    /// A deleted user was restored, or a frozen account released.
    UserRestore,
    /// A deleted user was removed for good.
    UserPurge,
    /// The owner's mail ended all that could sign in to an account.
    AccountSecure,
    /// The owner got a mail about a sign-in from a new device.
    NewDevice,
    /// An administrator made an account and invited its owner.
    UserInvite,
    /// A user was brought in from elsewhere.
    UserImport,
    /// Users or audit rows were written to a file.
    Export,
    /// A link to set a password was asked for, by the owner or an administrator.
    PasswordResetRequest,
    /// A password was set with such a link.
    PasswordReset,
    /// A password was changed by somebody who knew it.
    PasswordChange,
    /// An address was verified.
    EmailVerify,
    /// Another address was asked for.
    EmailChangeRequest,
    /// An account's address was changed.
    EmailChange,
    /// An account's old address was restored.
    EmailChangeUndo,
    /// A known device was forgotten.
    DeviceForget,
    /// A user said that everything until then was done by the user.
    ActivityConfirm,
    /// A user said that something was not: the other sessions and all devices were ended.
    ActivityReport,
    /// A key was made or replaced.
    KeyChange,
    /// The service started with other settings than before.
    ConfigurationChange,
    /// The audit trail began, or a rule for its rows did.
    AuditBoundary,
    /// The audit trail's chain was begun again by an operator.
    AuditRebase,
    /// What is personal was erased from rows of the audit trail.
    AuditErase,
    /// A mail that waited or was given up is tried again.
    MailRetry,
    /// A mail was sent to test the mail server.
    MailTest,
    /// The database was copied to a file.
    Backup,
    /// The database was replaced by such a copy, and every session was ended.
    Restore,
}

impl Audit {
    /// All of them.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// As stored and as shown.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}
