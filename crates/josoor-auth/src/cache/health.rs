//! Whether the copies in Redis are valid.

use std::sync::atomic::{AtomicU64, Ordering};

/// The copies in Redis are valid while no write has failed and the connection is still the one over which the tail last
/// restored them.
pub(super) struct RedisHealth {
    pub(super) failures: AtomicU64,
    restored: AtomicU64,
    /// The connection ([`Redis::epoch`](crate::redis::Redis::epoch)) over which they were restored.
    epoch: AtomicU64,
}

impl RedisHealth {
    /// Starts invalid: what Redis holds when a node starts was written by others.
    pub(super) fn new() -> Self {
        Self {
            failures: AtomicU64::new(1),
            restored: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
        }
    }

    pub(super) fn is_valid(&self, epoch: u64) -> bool {
        self.epoch.load(Ordering::Acquire) == epoch
            && self.failures.load(Ordering::Acquire) == self.restored.load(Ordering::Acquire)
    }

    pub(super) fn restore(&self, failures: u64, epoch: u64) {
        self.epoch.store(epoch, Ordering::Release);
        self.restored.store(failures, Ordering::Release);
    }

    pub(super) fn invalidate(&self) {
        self.failures.fetch_add(1, Ordering::AcqRel);
    }
}
