//! The latest counts for the console.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::Timestamp;
use crate::store::{SpanCounts, UserCounts};

/// The latest counts, shared by all requests.
#[derive(Debug, Default)]
pub struct StatsCache(Mutex<Counts>);

/// A count that is fresh for some time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept<T> {
    counted: T,
    at: Timestamp,
    life: Duration,
}

impl<T: Clone> Kept<T> {
    pub(crate) const fn new(counted: T, at: Timestamp, life: Duration) -> Self {
        Self { counted, at, life }
    }

    /// The count, if it is fresh at this time.
    pub(crate) fn at(&self, now: Timestamp) -> Option<T> {
        (self.at <= now && now.since(self.at) < self.life).then(|| self.counted.clone())
    }
}

/// What is counted over several days at once.
#[derive(Clone, Debug)]
pub(crate) struct DaysCounts {
    /// Accounts created on each day.
    pub(crate) new_users: Vec<i64>,
    /// Users who signed in on one of them.
    pub(crate) active_users: i64,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) now: Option<Kept<(UserCounts, i64)>>,
    /// The active administrators without a second factor.
    pub(crate) admins_without_factor: Option<Kept<i64>>,
    /// By the beginning of the day.
    pub(crate) days: HashMap<Timestamp, Kept<SpanCounts>>,
    /// By the first and the last day, in days since 1970.
    pub(crate) over_days: HashMap<RangeInclusive<i64>, Kept<DaysCounts>>,
}

impl StatsCache {
    pub(crate) fn with<T>(&self, read: impl FnOnce(&mut Counts) -> T) -> T {
        read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
