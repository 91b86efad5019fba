//! The decision table of refresh-token rotation (RFC 9700, 4.14.2), without I/O.
//!
//! A session counts generations, and each generation has one refresh token. The row remembers the current generation, the one
//! that it replaced, and when the last few were superseded. A client that lost an answer presents an old token again, and so
//! does a thief; this table distinguishes the two:
//!
//! | Presented | Decision |
//! |---|---|
//! | a generation that a change of the password has retired | reject, without alarm: its owner may hold it still |
//! | the current generation | rotate |
//! | a generation superseded less than the grace ago | return the current one again |
//! | the generation that the current one replaced, while the current one is unused | rotate; the unused one is rejected from now on |
//! | any other | reuse: revoke the session |
//!
//! The third row serves parallel tabs, retries and lost responses; the fourth serves a client that comes back later than the
//! grace and never received the answer. The database takes the step only if the row is still in the state that was decided
//! on (`store::Conn::rotate_session`), so any number of callers agree on one outcome.

use std::fmt::Write as _;
use std::time::Duration;

use crate::domain::Timestamp;
use crate::store::{SessionRow, Transport};

/// How many superseded generations are remembered: more than the tabs and retries of one client within the grace.
const REMEMBERED: usize = 8;

/// What the table decides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generations<'a> {
    /// The current generation.
    pub current: i64,
    /// The generation that it replaced.
    pub replaced: Option<i64>,
    /// The highest generation of which an access token was accepted.
    pub used: i64,
    /// The highest generation that a change of the password has retired; 0 for none.
    pub retired: i64,
    /// The generations superseded last and when, as the row has them.
    pub superseded: &'a str,
}

impl Generations<'static> {
    /// The usual state: the presented generation is the current one. The database takes no step if it is not.
    pub const fn predicted(presented: i64) -> Self {
        Self {
            current: presented,
            replaced: None,
            used: 0,
            retired: 0,
            superseded: "",
        }
    }
}

impl<'a> From<&'a SessionRow> for Generations<'a> {
    fn from(row: &'a SessionRow) -> Self {
        Self {
            current: row.generation,
            replaced: row.replaced_generation,
            used: row.used_generation,
            retired: row.retired_generation,
            superseded: &row.superseded,
        }
    }
}

/// The step to the next generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The current generation, on which the decision was made.
    pub from: i64,
    /// The generation that the next one replaces.
    pub replaced: i64,
    /// Only while no access token of the current generation was accepted.
    pub only_if_unused: bool,
    /// The superseded generations to keep; `None` for all that the row has.
    pub kept: Option<String>,
    /// The newly superseded generation, to be appended to them.
    pub added: String,
}

/// What to do with a refresh token whose signature and `exp` are right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Issue the next generation.
    Rotate(Step),
    /// Return the current generation's tokens again.
    RepeatCurrent,
    /// Reject: the password was changed since. The session continues with later tokens.
    Retired,
    /// Revoke the session.
    Reuse,
}

/// Whether an access token of generation `presented` may be renewed without the refresh token.
///
/// That is for clients that never use a refresh token. Where one was ever used, or is in a cookie, an access token alone may
/// be in the hands of a thief, who could otherwise keep it valid beside its owner.
pub fn may_renew(session: &SessionRow, presented: i64, now: Timestamp, max: Duration) -> bool {
    let was_refreshed = session.generation > session.retirements.saturating_add(1);
    presented == session.generation
        && !was_refreshed
        && session.transport == Transport::Body
        && now < session.created_at.plus(max)
}

/// Decides about generation `presented` of a live session.
pub fn decide(session: &Generations<'_>, presented: i64, now: Timestamp, grace: Duration) -> Decision {
    if (1..=session.retired).contains(&presented) {
        return Decision::Retired;
    }
    let step = |only_if_unused, kept| {
        Decision::Rotate(Step {
            from: session.current,
            replaced: presented,
            only_if_unused,
            kept,
            added: format(&[(presented, now)]),
        })
    };
    if presented == session.current {
        return step(false, None);
    }
    let mut superseded = parse(session.superseded);
    superseded.drain(..superseded.len().saturating_sub(REMEMBERED));
    let remembered = superseded
        .iter()
        .position(|(generation, _)| *generation == presented);
    if remembered.is_some_and(|index| now.since(superseded[index].1) < grace) {
        return Decision::RepeatCurrent;
    }
    if session.replaced == Some(presented) && session.used < session.current {
        if let Some(index) = remembered {
            superseded.remove(index);
        }
        return step(true, Some(format(&superseded)));
    }
    Decision::Reuse
}

/// Reads `generation:microseconds` pairs, oldest first. A pair that does not parse is skipped, which errs on the strict side.
fn parse(text: &str) -> Vec<(i64, Timestamp)> {
    text.split(',')
        .filter_map(|pair| {
            let (generation, at) = pair.split_once(':')?;
            Some((generation.parse().ok()?, Timestamp::from_micros(at.parse().ok()?)))
        })
        .collect()
}

fn format(superseded: &[(i64, Timestamp)]) -> String {
    let mut text = String::new();
    for (generation, at) in superseded {
        if !text.is_empty() {
            text.push(',');
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{generation}:{}", at.as_micros());
    }
    text
}

#[cfg(test)]
mod tests;
