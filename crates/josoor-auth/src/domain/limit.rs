//! The limits. A new one needs a variant and a row here, its default in `config.default.toml`, and a use case that takes it.

#[cfg(test)]
use std::fmt::Write as _;

/// The limits, each with a quota of its own in `[limits]`; [`TABLE`] describes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Sign-ins, codes of second factors, and checks of the password within a session, from one network address.
    LoginAddress,
    /// Sign-ins to one account from one network address, on devices that the account does not know.
    LoginPair,
    /// Sign-ins to one account from devices that it does not know.
    LoginAccount,
    /// Sign-ins to one account from all devices that it knows; also checks of the password within one session.
    LoginDevice,
    /// Checks of one account's password within all of its sessions.
    PasswordAccount,
    /// Codes of one account's second factors at sign-ins on devices that the account does not know.
    MfaAccount,
    /// The same on all devices that it knows; also codes within one session.
    MfaDevice,
    /// Codes of one account's second factors within all of its sessions.
    MfaSessions,
    /// Registrations from one network address.
    RegisterAddress,
    /// Requests for mail with a link from one network address.
    ForgotAddress,
    /// Requests to reset the password of one account.
    ForgotAccount,
    /// Requests to verify the address of one account.
    VerifyAccount,
    /// Requests for a code to sign in to one account with.
    MailCodeAccount,
    /// Requests for another address from one network address.
    EmailChangeAddress,
    /// Requests for another address of one account.
    EmailChangeAccount,
    /// Refreshes of one session.
    RefreshSession,
    /// Requests that change something, of signed-in users from one network address.
    WriteAddress,
    /// Requests of one user that change something.
    WriteAccount,
    /// Requests below `/admin` of one administrator that change something.
    AdminAccount,
    /// Mails to one recipient.
    MailRecipient,
    /// Mails caused by requests without a session from one network.
    MailNetwork,
    /// Mails in all.
    MailTotal,
}

/// What there is to say about one limit.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "internals"),
    expect(dead_code, reason = "the reference has the rest")
)]
pub struct Entry {
    /// Which one.
    pub limit: Limit,
    /// Its setting.
    pub key: &'static str,
    /// Its quota unless the configuration says otherwise.
    pub default: &'static str,
    /// What it counts, and of what there is one bucket each.
    pub counts: &'static str,
    /// The `detail` of the answer over the limit.
    pub message: &'static str,
}

/// All limits, in the order of [`Limit`].
pub static TABLE: [Entry; 22] = [
    Entry {
        limit: Limit::LoginAddress,
        key: "limits.login_address",
        default: "100/1m",
        counts: "sign-ins, codes of second factors, and checks of the password within a session, from one network address",
        message: "Too many sign-ins from your network. Wait a little, then try again.",
    },
    Entry {
        limit: Limit::LoginPair,
        key: "limits.login_pair",
        default: "as `login_account`",
        counts: "sign-ins to one account from one network address, on devices that the account does not know",
        message: "Too many sign-ins to this account. Wait a little, then try again.",
    },
    Entry {
        limit: Limit::LoginAccount,
        key: "limits.login_account",
        default: "10/1m",
        counts: "sign-ins to one account from everywhere, on devices that it does not know",
        message: "Too many sign-ins to this account. Wait a little, then try again.",
    },
    Entry {
        limit: Limit::LoginDevice,
        key: "limits.login_device",
        default: "10/1m",
        counts: "sign-ins to one account on all devices that it knows; and, counted apart, checks of the password within one session",
        message: "The password was tried too often. Wait a little, then try again.",
    },
    Entry {
        limit: Limit::PasswordAccount,
        key: "limits.password_account",
        default: "30/1m",
        counts: "checks of one account's password within all of its sessions together",
        message: "The password was tried too often. Wait a little, then try again.",
    },
    Entry {
        limit: Limit::MfaAccount,
        key: "limits.mfa_account",
        default: "5/5m",
        counts: "codes of one account's second factors at sign-ins from everywhere, on devices that it does not know",
        message: "Too many codes were tried. Wait a little, then try again.",
    },
    Entry {
        limit: Limit::MfaDevice,
        key: "limits.mfa_device",
        default: "5/5m",
        counts: "codes of one account's second factors at sign-ins on all devices that it knows; and, counted apart, within one session",
        message: "Too many codes were tried. Wait a little, then try again.",
    },
    Entry {
        limit: Limit::MfaSessions,
        key: "limits.mfa_sessions",
        default: "15/5m",
        counts: "codes of one account's second factors within all of its sessions together",
        message: "Too many codes were tried. Wait a little, then try again.",
    },
    Entry {
        limit: Limit::RegisterAddress,
        key: "limits.register_address",
        default: "30/1m",
        counts: "registrations from one network address",
        message: "Too many registrations from your network. Wait a little, then try again.",
    },
    Entry {
        limit: Limit::ForgotAddress,
        key: "limits.forgot_address",
        default: "30/1m",
        counts: "requests for mail with a link or a code (reset, verification of an address, sign-in) from one network address",
        message: "Too many requests for mail from your network. Wait a little, then try again.",
    },
    Entry {
        limit: Limit::ForgotAccount,
        key: "limits.forgot_account",
        default: "5/15m",
        counts: "requests to reset the password of one account",
        message: "A reset was requested too often. Use the newest mail, or try again later.",
    },
    Entry {
        limit: Limit::VerifyAccount,
        key: "limits.verify_account",
        default: "5/15m",
        counts: "requests to verify the address of one account",
        message: "The mail was requested too often. Use the newest one, or try again later.",
    },
    Entry {
        limit: Limit::MailCodeAccount,
        key: "limits.mail_code_account",
        default: "5/15m",
        counts: "requests for a code to sign in to one account with",
        message: "A code was requested too often. Use the newest mail, or try again later.",
    },
    Entry {
        limit: Limit::EmailChangeAddress,
        key: "limits.email_change_address",
        default: "30/1h",
        counts: "requests for another address of an account from one network address",
        message: "Too many changes of address from your network. Try again later.",
    },
    Entry {
        limit: Limit::EmailChangeAccount,
        key: "limits.email_change_account",
        default: "5/1h",
        counts: "requests for another address of one account",
        message: "Another address was requested too often. Use the newest mail, or try again later.",
    },
    Entry {
        limit: Limit::RefreshSession,
        key: "limits.refresh_session",
        default: "300/1m",
        counts: "refreshes of one session, with a refresh token or an access token; with an old one, counted apart",
        message: "This session was refreshed too often. Wait a little, then try again.",
    },
    Entry {
        limit: Limit::WriteAddress,
        key: "limits.write_address",
        default: "600/1m",
        counts: "requests that change something, of signed-in users from one network address, and links that are opened on pages",
        message: "Too many changes from your network. Wait a little, then try again.",
    },
    Entry {
        limit: Limit::WriteAccount,
        key: "limits.write_account",
        default: "60/1m",
        counts: "requests of one user that change something, those below `/admin` aside",
        message: "Too many changes in a short time. Wait a little, then try again.",
    },
    Entry {
        limit: Limit::AdminAccount,
        key: "limits.admin_account",
        default: "300/1m",
        counts: "requests of one administrator below `/admin` that change something or export",
        message: "Too many changes in a short time. Wait a little, then try again.",
    },
    Entry {
        limit: Limit::MailRecipient,
        key: "limits.mail_recipient",
        default: "10/1h",
        counts: "mails of one kind to one recipient",
        message: "Too many mails to this recipient. Try again later.",
    },
    Entry {
        limit: Limit::MailNetwork,
        key: "limits.mail_network",
        default: "60/1h",
        counts: "mails caused by requests without a session from one network address",
        message: "Too many mails were caused from your network. Try again later.",
    },
    Entry {
        limit: Limit::MailTotal,
        key: "limits.mail_total",
        default: "1000/1h",
        counts: "mails to all recipients together; a fifth is reserved for resets and a fifth for notices",
        message: "Too many mails. Try again later.",
    },
];

impl Limit {
    /// What there is to say about it.
    pub fn entry(self) -> &'static Entry {
        &TABLE[self as usize]
    }
}

impl Entry {
    /// Its key in `[limits]`, and the name of its policy in the `RateLimit` headers.
    pub fn name(&self) -> &'static str {
        self.key.trim_start_matches("limits.")
    }
}

/// The table of all limits, in Markdown, as `docs/reference/limits.md` has it.
#[cfg(test)]
pub fn table() -> String {
    let mut text = "| Limit | Default | Counts | The answer says |\n|---|---|---|---|\n".to_owned();
    for entry in &TABLE {
        let default = if entry.default.contains('`') {
            entry.default.to_owned()
        } else {
            format!("`{}`", entry.default)
        };
        // Writing into a string cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | {default} | {} | {} |",
            entry.name(),
            entry.counts,
            entry.message
        );
    }
    text
}
