//! The latest counts for the console.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::domain::Timestamp;
use crate::store::{SpanCounts, UserCounts};

/// The latest counts, shared by all requests.
#[derive(Debug, Default)]
pub struct StatsCache(Mutex<Counts>);

/// Counts, each with the time at which it was taken.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) now: Option<(Timestamp, UserCounts, i64)>,
    /// By the beginning of the day.
    pub(crate) days: HashMap<Timestamp, (Timestamp, SpanCounts)>,
}

impl StatsCache {
    pub(crate) fn with<T>(&self, read: impl FnOnce(&mut Counts) -> T) -> T {
        read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
