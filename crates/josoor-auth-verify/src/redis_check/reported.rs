//! The generations whose use was reported to the service lately.

use std::collections::HashMap;

use uuid::Uuid;

/// How many generations are kept; at most twice as many, of about 40 bytes each.
const CAPACITY: usize = 8192;

/// The latest reported generation of each session, in two halves: when the young half is full it becomes the old one, and
/// the old one is dropped. A dropped generation is reported once more, which does no harm.
#[derive(Default)]
pub(super) struct ReportedGenerations {
    young: HashMap<Uuid, i64>,
    old: HashMap<Uuid, i64>,
}

impl ReportedGenerations {
    /// Whether the generation is to be reported. An earlier one than the reported one is not: the later one exists only
    /// because it was used.
    pub(super) fn insert(&mut self, session: Uuid, generation: i64) -> bool {
        let reported = self.young.get(&session).or_else(|| self.old.get(&session));
        if reported.is_some_and(|reported| *reported >= generation) {
            return false;
        }
        if self.young.len() >= CAPACITY {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(session, generation);
        true
    }

    pub(super) fn remove(&mut self, session: Uuid) {
        self.young.remove(&session);
        self.old.remove(&session);
    }
}
