//! `[mfa]`: second factors.

use std::time::Duration;

use super::raw::{Parsed, refused, shown};
use super::reader::Reader;
use super::values;
use crate::domain::Role;

const GRACE_AT_MOST: Duration = Duration::from_hours(90 * 24);

/// `[mfa]`
#[derive(Clone, Debug)]
pub struct MfaConfig {
    /// Roles whose users must have a second factor.
    pub required: Vec<Role>,
    /// How long they may go on without one.
    pub grace: Duration,
    /// Roles whose users have no trusted devices.
    pub no_trust: Vec<Role>,
    /// How many time steps before and after the present one a TOTP code may be of.
    pub totp_skew: u16,
}

impl Reader<'_> {
    pub(super) fn mfa(&mut self) -> Option<MfaConfig> {
        let required = self.read("mfa.required", |raw| values::list(raw, role));
        let grace = self.duration("mfa.grace", Duration::ZERO, GRACE_AT_MOST);
        let no_trust = self.read("mfa.no_trust", |raw| values::list(raw, role));
        let totp_skew = self.read("mfa.totp_skew", |raw| values::whole(raw, 0..=2));
        Some(MfaConfig {
            required: required?,
            grace: grace?,
            no_trust: no_trust?,
            totp_skew: totp_skew?,
        })
    }
}

fn role(item: &str) -> Parsed<Role> {
    item.parse().or_else(|_| {
        refused(
            format!("{:?} is not a role", shown(item)),
            "write roles out of user, analyst and admin",
        )
    })
}
