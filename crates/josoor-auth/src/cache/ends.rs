//! When a session ends: by its row, and by the lifetimes of its user's role and of the level of its verification.

use std::time::Duration;

use crate::config::SessionConfig;
use crate::domain::{Role, Timestamp};
use crate::error::Refusal;
use crate::store::{LiveSince, SessionRow};

/// The levels of a verification.
const LEVELS: [u8; 2] = [1, 2];

/// When a session ends, unless it is used, of a user who has this role now.
pub fn ends_at(config: &SessionConfig, session: &SessionRow, role: Role) -> Timestamp {
    let level = if session.acr == "2" { 2 } else { 1 };
    let idle = config.idle_by.of(role, level);
    let absolute = config.absolute_by.of(role, level);
    let ends = [
        idle.map(|life| session.last_seen_at.plus(life)),
        absolute.map(|life| session.authenticated_at().plus(life)),
    ];
    ends.into_iter().flatten().fold(session.ends_at(), Ord::min)
}

/// Which sessions of a user who has this role now are live: those that end, as [`ends_at`] says, later than now.
pub fn live_since(config: &SessionConfig, role: Role, now: Timestamp) -> LiveSince {
    let before = |life: Option<Duration>| life.map_or(Timestamp::from_micros(0), |life| now.minus(life));
    LiveSince {
        now,
        used_after: LEVELS.map(|level| before(config.idle_by.of(role, level))),
        verified_after: LEVELS.map(|level| before(config.absolute_by.of(role, level))),
    }
}

/// Why a session of a user who has this role now is over, or `None` when it is live.
pub fn ended(config: &SessionConfig, session: &SessionRow, role: Role, now: Timestamp) -> Option<Refusal> {
    let is_over = || now >= ends_at(config, session, role);
    session
        .ended(now)
        .or_else(|| is_over().then_some(Refusal::SessionExpired))
}
