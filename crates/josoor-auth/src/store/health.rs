//! What is known of the database's connections, and of whether it takes writes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::failure::Verdict;

/// A connection that is younger than this is used although writes fail: it was opened a moment ago, and a newer one would be no
/// better.
const YOUNG: Duration = Duration::from_secs(1);

/// The shortest time between two attempts to write whose only purpose is to see whether writes work again.
const ATTEMPTS_APART: Duration = Duration::from_millis(250);

/// Shared by all connections to one database.
#[derive(Debug)]
pub(super) struct Health {
    begun: Instant,
    /// Connections that were opened earlier than this, in milliseconds after `begun`, are replaced.
    replace_before: AtomicU64,
    /// Writes fail: the disk is full or broken, or the server takes only reads.
    is_failing: AtomicBool,
    /// The SQLite file is locked by another program.
    is_locked: AtomicBool,
    /// When a write was last attempted in order to know.
    attempted: Mutex<Option<Instant>>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            replace_before: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
            is_locked: AtomicBool::new(false),
            attempted: Mutex::new(None),
        }
    }
}

impl Health {
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Draws the conclusions from a failed statement.
    pub(super) fn note(&self, verdict: Verdict) {
        match verdict {
            Verdict::Locked => self.is_locked.store(true, Ordering::Release),
            Verdict::Statement | Verdict::Connection => {}
            // What ended one connection has usually ended the others too.
            Verdict::Server => self.replace_all(),
            Verdict::ReadOnly => {
                self.is_failing.store(true, Ordering::Release);
                self.replace_all();
            }
            Verdict::Disk => self.is_failing.store(true, Ordering::Release),
        }
    }

    /// No connection that is open now is used again.
    pub(super) fn replace_all(&self) {
        self.replace_before
            .fetch_max(self.now().saturating_add(1), Ordering::AcqRel);
    }

    /// Whether a connection of this age is to be replaced.
    pub(super) fn is_stale(&self, age: Duration) -> bool {
        let opened = self.begun.elapsed().saturating_sub(age);
        opened < Duration::from_millis(self.replace_before.load(Ordering::Acquire))
            || self.is_failing() && age > YOUNG
    }

    pub(super) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Acquire)
    }

    pub(super) fn is_locked(&self) -> bool {
        self.is_locked.load(Ordering::Acquire)
    }

    pub(super) fn unlocked(&self) {
        if self.is_locked() {
            self.is_locked.store(false, Ordering::Release);
        }
    }

    /// Writes work.
    pub(super) fn takes_writes(&self) {
        if self.is_failing.swap(false, Ordering::AcqRel) {
            // Among those that were opened meanwhile there may be some that still take only reads.
            self.replace_all();
        }
    }

    /// Attempts a write, unless one was attempted a moment ago; one caller at a time.
    pub(super) async fn attempt<E>(&self, write: impl Future<Output = Result<(), E>>) {
        let mut attempted = self.attempted.lock().await;
        if !self.is_failing() || attempted.is_some_and(|at| at.elapsed() < ATTEMPTS_APART) {
            return;
        }
        if write.await.is_ok() {
            self.takes_writes();
        }
        *attempted = Some(Instant::now());
    }
}
