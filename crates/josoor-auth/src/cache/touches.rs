//! Notes of use: which generation of a session was used, and when.

use std::collections::VecDeque;

use super::session_cache::SessionCache;
use crate::domain::{SessionId, Timestamp};
use crate::error::Result;
use crate::store::Touch;

/// Notes of use that wait to be written; more are dropped, and made again by the next request.
const MAX_TOUCHES: usize = 50_000;

/// Notes in one go: few enough that no other write waits long for SQLite's writer.
const TOUCHES_AT_ONCE: usize = 200;

impl SessionCache {
    /// Notes the current generation of a session, as a row has just said it.
    pub fn note_generation(&self, session: SessionId, generation: i64) {
        if self
            .generations
            .get(&session.0)
            .is_none_or(|known| known < generation)
        {
            self.generations.insert(session.0, generation);
        }
    }

    /// Whether this node knows that a session is past this generation. Generations only grow; what is not known counts as
    /// current.
    pub fn is_outdated(&self, session: SessionId, generation: i64) -> bool {
        self.generations
            .get(&session.0)
            .is_some_and(|known| generation < known)
    }

    /// Notes that an access token of this generation was accepted. Written to the database within a moment; once per
    /// generation, and for the last-seen time and the idle end as often as `SessionConfig::note_every` says.
    pub fn note_use(&self, session: SessionId, generation: i64, now: Timestamp) {
        if let Some((noted, at)) = self.noted.get(&session.0)
            && noted >= generation
            && now.since(at) < self.note_every
        {
            return;
        }
        let mut touches = self.touches();
        if touches.len() < MAX_TOUCHES {
            self.noted.insert(session.0, (generation, now));
            touches.push_back(Touch {
                session,
                generation,
                at: now,
                idle_expires_at: now.plus(self.lifetimes.idle),
            });
            self.touched.notify_one();
        }
    }

    /// Resolves when there are notes of use to write.
    pub async fn has_touches(&self) {
        self.touched.notified().await;
    }

    /// Wakes the task in [`has_touches`](Self::has_touches), after a flush that was given up.
    pub fn keep_flushing(&self) {
        self.touched.notify_one();
    }

    /// Writes the notes of use that have gathered. A note is forgotten only once it is written, also when this is given
    /// up half-way: a generation that was used must not pass for an unused one. One caller at a time.
    pub async fn flush_touches(&self) -> Result<()> {
        loop {
            let mut some: Vec<Touch> = self.touches().iter().take(TOUCHES_AT_ONCE).copied().collect();
            let taken = some.len();
            if taken == 0 {
                return Ok(());
            }
            // One note per session: its highest generation and its last use, which may be one of an earlier generation.
            some.sort_by_key(|touch| (touch.session.0, touch.at));
            some.dedup_by(|later, kept| {
                let same = later.session == kept.session;
                if same {
                    let generation = kept.generation.max(later.generation);
                    *kept = Touch { generation, ..*later };
                }
                same
            });
            if let Err(error) = self.db.write_touches(&some).await {
                self.touched.notify_one();
                return Err(error);
            }
            self.touches().drain(..taken);
        }
    }

    fn touches(&self) -> std::sync::MutexGuard<'_, VecDeque<Touch>> {
        // A panic while it is held leaves whole notes.
        self.touches
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
