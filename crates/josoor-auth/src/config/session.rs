//! `[session]` and `[account]`: lifetimes.

use std::time::Duration;

use super::reader::Reader;
use super::values::{self, SECOND, TEN_MINUTES, TEN_YEARS};
use super::variables::variable_of;

/// `[session]`
#[derive(Clone, Copy, Debug)]
pub struct SessionConfig {
    /// A session ends this long after its last use, a request or a refresh; never more than `absolute`.
    pub idle: Duration,
    /// A session ends this long after the sign-in.
    pub absolute: Duration,
    /// How long a superseded refresh token still gets the current one; may be zero.
    pub refresh_grace: Duration,
    /// How many live sessions an account has at most.
    pub max_per_user: u32,
}

impl SessionConfig {
    /// How long a use of a session counts as noted before the next one is written down; by so much may the idle end be early.
    pub fn note_every(&self) -> Duration {
        (self.idle / 60).clamp(Duration::from_millis(100), Duration::from_secs(15))
    }
}

/// `[account]`
#[derive(Clone, Copy, Debug)]
pub struct AccountConfig {
    /// How long a deleted account can be restored; zero: not at all.
    pub deletion_grace: Duration,
}

impl Reader<'_> {
    pub(super) fn session(&mut self) -> Option<SessionConfig> {
        let idle = self.duration("session.idle", SECOND, TEN_YEARS);
        let absolute = self.duration("session.absolute", SECOND, TEN_YEARS);
        let refresh_grace = self.duration("session.refresh_grace", Duration::ZERO, TEN_MINUTES);
        let max_per_user = self.read("session.max_per_user", |raw| values::whole(raw, 1..=100_000));
        let (idle, absolute) = (idle?, absolute?);
        if idle > absolute {
            self.problem(
                "session.idle",
                format!(
                    "{} is more than session.absolute, which is {}",
                    values::spoken(idle),
                    values::spoken(absolute)
                ),
                format!("lower this one or raise {}", variable_of("session.absolute")),
            );
            return None;
        }
        Some(SessionConfig {
            idle,
            absolute,
            refresh_grace: refresh_grace?,
            max_per_user: max_per_user?,
        })
    }
}
