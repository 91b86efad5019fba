//! `[limits]`: how often something may happen.

use std::fmt;
use std::time::Duration;

use super::raw::{Parsed, Raw, refused, shown};
use super::reader::Reader;
use super::values::{self, duration_of, optional, spoken, text};
use crate::domain::limit::{Limit, TABLE};

/// `[limits]`: how often something may happen.
#[derive(Clone, Copy, Debug)]
pub struct LimitsConfig {
    /// Whether any of them holds.
    pub enabled: bool,
    /// In the order of [`Limit`].
    quotas: [Quota; TABLE.len()],
    /// Above how many failed sign-ins over the whole service the operator is warned; `None`: never.
    pub failed_sign_ins_alert: Option<Quota>,
}

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Times per window, at least 1.
    pub count: u32,
    /// The window, 1 second to 30 days.
    pub window: Duration,
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, spoken(self.window))
    }
}

impl LimitsConfig {
    /// The quota of a limit.
    pub const fn quota(&self, limit: Limit) -> Quota {
        self.quotas[limit as usize]
    }
}

impl Reader<'_> {
    pub(super) fn limits(&mut self) -> Option<LimitsConfig> {
        let enabled = self.read("limits.enabled", values::truth);
        let quotas = TABLE.each_ref().map(|entry| {
            // Without a quota of its own a pair has that of an account.
            let parse = |raw: &Raw| match entry.limit {
                Limit::LoginPair => optional(raw, quota),
                _ => quota(raw).map(Some),
            };
            self.read(entry.key, parse)
        });
        let failed_sign_ins_alert = self.read("limits.failed_sign_ins_alert", quota_or_none);
        if enabled == Some(false) {
            self.warn(
                "limits.enabled",
                "passwords can be guessed as fast as they can be hashed; this is for tests, or behind a gateway that limits",
            );
        }
        if quotas.contains(&None) {
            return None;
        }
        let quotas = quotas.map(Option::flatten);
        let account = quotas[Limit::LoginAccount as usize]?;
        Some(LimitsConfig {
            enabled: enabled?,
            quotas: quotas.map(|quota| quota.unwrap_or(account)),
            failed_sign_ins_alert: failed_sign_ins_alert?,
        })
    }
}

/// A quota, or 0 for none.
fn quota_or_none(raw: &Raw) -> Parsed<Option<Quota>> {
    match raw {
        Raw::Number(digits) if digits == "0" => Ok(None),
        Raw::Text(text) if text.trim() == "0" => Ok(None),
        _ => quota(raw).map(Some),
    }
}

fn quota(raw: &Raw) -> Parsed<Quota> {
    const LONGEST: Duration = Duration::from_hours(30 * 24);
    let given = match raw {
        Raw::Number(digits) => digits.as_str(),
        _ => text(raw)?,
    };
    let remedy = "write count/window, such as 10/1m: a count from 1 to 1000000, a window from 1s to 30d";
    let Some((count, window)) = given.split_once('/') else {
        return refused(format!("{:?} is not a limit", shown(given)), remedy);
    };
    let count = count.trim().parse::<u32>().ok();
    let window = duration_of(window.trim()).ok();
    match (count, window) {
        (Some(count @ 1..=1_000_000), Some(window))
            if (Duration::from_secs(1)..=LONGEST).contains(&window) =>
        {
            Ok(Quota { count, window })
        }
        _ => refused(format!("{:?} is not a limit", shown(given)), remedy),
    }
}
