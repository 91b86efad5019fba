//! What a refresh token is worth: the decision table of refresh-token rotation (RFC 9700, 4.14.2), without I/O.
//!
//! A session counts generations. Each has one refresh token; the row remembers which generation is current, which one
//! it replaced, and when the last few were superseded. A client that never got an answer presents an old token again,
//! and so does a thief; telling them apart is all this module does:
//!
//! | presented | decision |
//! |---|---|
//! | the current generation | rotate |
//! | one superseded less than the grace ago | give the current one again |
//! | the one that the current generation replaced, while nobody has used the current one | rotate; the unused one dies |
//! | anything else | reuse: the session ends |
//!
//! The second row serves parallel tabs, retries and lost responses; the third serves a client that comes back later
//! than the grace and never saw the answer. The database then takes the step only if the row is still as it was seen
//! here (`store::Conn::rotate_session`), so any number of callers agree on one outcome.

use std::fmt::Write as _;
use std::time::Duration;

use crate::store::SessionRow;
use crate::types::Timestamp;

/// How many superseded generations are remembered: more than the tabs and retries of one client within the grace.
const REMEMBERED: usize = 8;

/// What to do with a refresh token whose signature and `exp` are right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Make the next generation.
    Rotate {
        /// The generation whose place it takes.
        replaced: i64,
        /// Only while no access token of the current generation was accepted.
        only_if_unused: bool,
        /// What the row remembers from now on.
        superseded: String,
    },
    /// Give the current generation's tokens again.
    GiveCurrent,
    /// End the session.
    Reuse,
}

/// Decides about generation `presented` of a live session.
pub fn decide(session: &SessionRow, presented: i64, now: Timestamp, grace: Duration) -> Decision {
    let mut superseded = parse(&session.superseded);
    if presented == session.generation {
        superseded.push((presented, now));
        return Decision::Rotate {
            replaced: presented,
            only_if_unused: false,
            superseded: format(&superseded),
        };
    }
    let remembered = superseded
        .iter()
        .position(|(generation, _)| *generation == presented);
    if remembered.is_some_and(|index| now.since(superseded[index].1) < grace) {
        return Decision::GiveCurrent;
    }
    if session.replaced_generation == Some(presented) && session.used_generation < session.generation {
        if let Some(index) = remembered {
            superseded.remove(index);
        }
        superseded.push((presented, now));
        return Decision::Rotate {
            replaced: presented,
            only_if_unused: true,
            superseded: format(&superseded),
        };
    }
    Decision::Reuse
}

/// Reads `generation:microseconds` pairs, oldest first. What does not parse is forgotten, which errs on the strict
/// side.
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
    for (generation, at) in &superseded[superseded.len().saturating_sub(REMEMBERED)..] {
        if !text.is_empty() {
            text.push(',');
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{generation}:{}", at.as_micros());
    }
    text
}
