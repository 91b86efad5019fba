//! `[login]`: ways to sign in.

use super::reader::Reader;
use super::values;

/// `[login]`
#[derive(Clone, Copy, Debug)]
pub struct LoginConfig {
    /// Whether people may sign in with a code that is sent to their address.
    pub mail_code: bool,
    /// After how many failed sign-ins in a row an account takes a code by mail besides the password on a device that it does not
    /// know; `None`: never.
    pub failures_until_code: Option<i64>,
}

impl Reader<'_> {
    pub(super) fn login(&mut self) -> Option<LoginConfig> {
        let mail_code = self.read("login.mail_code", values::truth);
        let failures: Option<i64> = self.read("login.failures_until_code", |raw| values::whole(raw, 0..=100));
        Some(LoginConfig {
            mail_code: mail_code?,
            failures_until_code: Some(failures?).filter(|failures| *failures > 0),
        })
    }
}
