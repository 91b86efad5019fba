//! The one source of time, so that tests can move it and all nodes agree on it.
//!
//! Nodes that share a PostgreSQL take the time from it: what one node writes down (the end of a session, the start of a
//! grace, a lease) another compares, and their own clocks may be hours apart. [`Clock::Database`] counts on by the
//! monotonic clock from the last reading, so a step of the node's clock does not move it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use crate::domain::Timestamp;

/// How far apart, in microseconds, the system's clock and the database's may be before it is reported: programs that
/// verify tokens by this machine's clock allow for little more.
const SKEW_AT_MOST: u64 = 5_000_000;

/// Tells the time: the system's, the database's, or one that a test sets.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The system's wall clock.
    #[default]
    System,
    /// The database's clock, as read last and counted on since.
    Database(Arc<DatabaseClock>),
    /// Stands still until a test moves it.
    #[cfg(feature = "internals")]
    Manual(Arc<AtomicI64>),
}

/// An estimate of the database's time. Each reading bounds it from both sides; the estimate moves only as far as the
/// bounds require, so slow answers do not shake it.
#[derive(Debug)]
pub struct DatabaseClock {
    started: Instant,
    /// The database's time at `started`, in microseconds since 1970.
    origin: AtomicI64,
    /// By how many microseconds the system's wall clock was ahead of the database's at the last reading.
    skew: AtomicI64,
}

/// A reading of the database's clock that was begun and not answered yet.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    begun: Instant,
}

impl Reading {
    /// Begins a reading; the question goes out next.
    pub fn begin() -> Self {
        Self {
            begun: Instant::now(),
        }
    }
}

impl DatabaseClock {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            origin: AtomicI64::new(system_micros()),
            skew: AtomicI64::new(0),
        }
    }

    fn since_start(&self, at: Instant) -> i64 {
        micros(at.saturating_duration_since(self.started))
    }

    /// By how many microseconds the system's wall clock was ahead of the database's at the last reading; negative:
    /// behind.
    pub fn skew(&self) -> i64 {
        self.skew.load(Ordering::Relaxed)
    }

    fn now(&self) -> i64 {
        self.origin
            .load(Ordering::Relaxed)
            .saturating_add(self.since_start(Instant::now()))
    }

    fn correct(&self, begun: Instant, answered: Instant, theirs: i64) {
        // Their clock was read after `begun` and before `answered`.
        let latest = theirs.saturating_sub(self.since_start(begun));
        let earliest = theirs.saturating_sub(self.since_start(answered)).min(latest);
        let origin = self.origin.load(Ordering::Relaxed);
        self.origin
            .store(origin.clamp(earliest, latest), Ordering::Relaxed);
        let skew = system_micros().saturating_sub(self.now());
        self.skew.store(skew, Ordering::Relaxed);
    }
}

impl Clock {
    /// A clock that stands at `now` until it is moved.
    #[cfg(feature = "internals")]
    pub fn manual(now: Timestamp) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(now.as_micros())))
    }

    /// The clock for work on a database with a clock of its own: the system's becomes one that follows the database's,
    /// once [`correct`](Self::correct) has set it; one that a test moves stays.
    #[must_use]
    pub fn following_database(self) -> Self {
        match self {
            Self::System => Self::Database(Arc::new(DatabaseClock::new())),
            other => other,
        }
    }

    /// The time now, to the microsecond, which is what both databases keep.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_micros(match self {
            Self::System => system_micros(),
            Self::Database(clock) => clock.now(),
            #[cfg(feature = "internals")]
            Self::Manual(micros) => micros.load(Ordering::SeqCst),
        })
    }

    /// Takes in the answer to a reading of the database's clock. Call it as soon as the answer is there.
    pub fn correct(&self, reading: Reading, theirs: Timestamp) {
        if let Self::Database(clock) = self {
            clock.correct(reading.begun, Instant::now(), theirs.as_micros());
        }
    }

    /// By how much the system's wall clock was ahead of (positive) or behind (negative) the database's at the last
    /// reading, in microseconds. 0 where there is no other clock.
    pub fn skew(&self) -> i64 {
        match self {
            Self::Database(clock) => clock.skew(),
            Self::System => 0,
            #[cfg(feature = "internals")]
            Self::Manual(_) => 0,
        }
    }

    /// Whether the system's clock and the database's are more than 5 s apart.
    pub fn is_skewed(&self) -> bool {
        self.skew().unsigned_abs() > SKEW_AT_MOST
    }

    /// Moves a manual clock on; does nothing to the others.
    #[cfg(feature = "internals")]
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(clock) = self {
            clock.fetch_add(micros(by), Ordering::SeqCst);
        }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn system_micros() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the clock"
    )]
    let since_1970 = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    micros(since_1970)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    #[test]
    fn the_databases_time_replaces_the_systems() {
        for hours in [-1, 0, 1] {
            let clock = Clock::System.following_database();
            let reading = Reading::begin();
            let theirs = Timestamp::from_micros(system_micros() + hours * HOUR);
            clock.correct(reading, theirs);
            let ahead = clock.now().as_micros() - theirs.as_micros();
            assert!((0..HOUR / 60).contains(&ahead), "{ahead}");
            let skew = clock.skew() + hours * HOUR;
            assert!(skew.abs() < HOUR / 60, "{skew}");
        }
    }

    #[test]
    fn a_reading_moves_the_estimate_only_as_far_as_it_must() {
        let clock = DatabaseClock::new();
        let begun = clock.started + Duration::from_secs(10);
        let answered = begun + Duration::from_secs(4);
        let origin = 1_700_000_000_000_000;
        clock.origin.store(origin, Ordering::Relaxed);
        // Consistent with the estimate, wherever within the reading the answer was made: nothing moves.
        for seconds in [10, 12, 14] {
            clock.correct(begun, answered, origin + seconds * 1_000_000);
            assert_eq!(clock.origin.load(Ordering::Relaxed), origin);
        }
        // Not consistent: to the nearest bound.
        clock.correct(begun, answered, origin + 9_000_000);
        assert_eq!(clock.origin.load(Ordering::Relaxed), origin - 1_000_000);
        clock.correct(begun, answered, origin + 20_000_000);
        assert_eq!(clock.origin.load(Ordering::Relaxed), origin + 6_000_000);
    }

    #[test]
    fn a_test_can_move_only_its_own_clock() {
        let start = Timestamp::from_micros(1_700_000_000_000_000);
        let clock = Clock::manual(start).following_database();
        clock.correct(Reading::begin(), Timestamp::from_micros(5));
        assert_eq!((clock.now(), clock.skew()), (start, 0));
        clock.advance(Duration::from_secs(1));
        assert_eq!(clock.now(), start.plus(Duration::from_secs(1)));
        let system = Clock::System;
        system.advance(Duration::from_hours(1));
        assert!(system.now().as_micros() < system_micros() + HOUR / 60);
    }
}
