//! The uses of sessions that were reported to the service lately.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use uuid::Uuid;

/// How many sessions are kept; at most twice as many, of about 56 bytes each.
const CAPACITY: usize = 8192;

/// The latest reported generation of each session and when it was reported, in two halves: when the young half is full it
/// becomes the old one, and the old one is dropped. A dropped use is reported once more, which does no harm.
#[derive(Default)]
pub(super) struct ReportedUses {
    young: HashMap<Uuid, (i64, Instant)>,
    old: HashMap<Uuid, (i64, Instant)>,
}

/// How long a report of a session's use counts before the next use is reported: a small part of the time that the session has
/// left unless it is used.
pub(super) fn report_every(left: Duration) -> Duration {
    (left / 20).clamp(Duration::from_millis(100), Duration::from_secs(15))
}

impl ReportedUses {
    /// Whether a use is to be reported: the first of a generation, and one that comes `every` after the last report. An earlier
    /// generation than the reported one counts as reported: the later one exists only because it was used.
    pub(super) fn insert(&mut self, session: Uuid, generation: i64, now: Instant, every: Duration) -> bool {
        let reported = self.young.get(&session).or_else(|| self.old.get(&session));
        if reported.is_some_and(|(reported, at)| {
            *reported >= generation && now.saturating_duration_since(*at) < every
        }) {
            return false;
        }
        if self.young.len() >= CAPACITY {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(session, (generation, now));
        true
    }

    pub(super) fn remove(&mut self, session: Uuid) {
        self.young.remove(&session);
        self.old.remove(&session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_reported_once_per_generation_and_again_after_a_while() {
        let mut reported = ReportedUses::default();
        let (session, begun) = (Uuid::from_u128(7), Instant::now());
        let every = report_every(Duration::from_mins(1));
        assert_eq!(every, Duration::from_secs(3));
        let after = |seconds| begun + Duration::from_secs(seconds);
        assert!(reported.insert(session, 1, begun, every));
        assert!(!reported.insert(session, 1, after(2), every));
        assert!(reported.insert(session, 2, after(2), every));
        assert!(!reported.insert(session, 1, after(4), every));
        assert!(reported.insert(session, 2, after(5), every));
        assert_eq!(report_every(Duration::ZERO), Duration::from_millis(100));
        assert_eq!(report_every(Duration::from_hours(24)), Duration::from_secs(15));
    }
}
