//! Readings of the stored keys, which a token of a key that is not known yet waits for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// The longest that a token waits.
const WAIT_AT_MOST: Duration = Duration::from_secs(1);

/// Between two readings that tokens ask for, whatever their number: anyone can name a key that does not exist.
const ASKED_EVERY: Duration = Duration::from_millis(50);

/// Counts the readings. One task reads; any number wait.
#[derive(Debug)]
pub struct KeyReadings {
    begun: AtomicU64,
    latest: Mutex<Instant>,
    ended: watch::Sender<u64>,
    asked: Notify,
}

impl Default for KeyReadings {
    fn default() -> Self {
        Self {
            begun: AtomicU64::new(0),
            latest: Mutex::new(Instant::now()),
            ended: watch::Sender::new(0),
            asked: Notify::new(),
        }
    }
}

impl KeyReadings {
    /// Runs a reading; those that wait go on after it, whatever has become of it.
    pub async fn run<T>(&self, reading: impl Future<Output = T>) -> T {
        *self.latest() = Instant::now();
        let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let read = reading.await;
        self.ended.send_replace(number);
        read
    }

    /// Resolves when a reading is asked for, at most so often.
    pub async fn asked(&self) {
        self.asked.notified().await;
        let due = *self.latest() + ASKED_EVERY;
        tokio::time::sleep_until(due).await;
    }

    fn latest(&self) -> std::sync::MutexGuard<'_, Instant> {
        // A panic while it is held leaves a whole instant.
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a reading that begins from now on. Where none ends in time, it goes on without.
    pub(super) async fn next(&self) {
        let before = self.begun.load(Ordering::Acquire);
        let mut ended = self.ended.subscribe();
        self.asked.notify_one();
        let is_later = ended.wait_for(|number| *number > before);
        // A timeout, or no task that reads any more.
        let _ = tokio::time::timeout(WAIT_AT_MOST, is_later).await;
    }
}
