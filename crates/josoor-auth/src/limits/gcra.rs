//! The generic cell rate algorithm: a bucket that fills again steadily, as one number and one pure step.
//!
//! The number is the time at which the bucket is full again, in microseconds. A take moves it on by one interval; a
//! refused one leaves it where it is, so that further tries do not prolong the wait. The script in `redis`
//! computes the same in Redis.

use crate::config::Quota;

/// A quota as the algorithm counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    /// After how many microseconds one comes back.
    pub(super) interval: i64,
    /// How many microseconds an empty bucket needs to fill: as many intervals as the quota has.
    pub(super) capacity: i64,
}

impl Rate {
    /// The rate of a quota. The interval is rounded up: never more than was granted.
    pub(super) fn of(quota: Quota) -> Self {
        let window = u64::try_from(quota.window.as_micros()).unwrap_or(u64::MAX >> 1);
        let count = u64::from(quota.count.max(1));
        let interval = i64::try_from(window.div_ceil(count))
            .unwrap_or(i64::MAX >> 1)
            .max(1);
        Self {
            interval,
            capacity: interval.saturating_mul(i64::from(quota.count.max(1))),
        }
    }
}

/// What became of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// One was taken.
    Taken {
        /// When the bucket is full again now.
        full_at: i64,
    },
    /// The bucket is empty.
    Refused {
        /// As before; but where the clock was set back, no later than an empty bucket needs.
        full_at: i64,
        /// After how many microseconds there is one: at least 1, at most an interval.
        wait: i64,
    },
}

/// Takes one from a bucket that is full again at `full_at`; a time that has passed means full.
pub(super) fn take(full_at: i64, now: i64, rate: Rate) -> Step {
    let empty = now.saturating_add(rate.capacity);
    let full_at = full_at.clamp(now, empty);
    let after = full_at.saturating_add(rate.interval);
    if after <= empty {
        Step::Taken { full_at: after }
    } else {
        Step::Refused {
            full_at,
            wait: after - empty,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn rate(count: u32, window: u64) -> Rate {
        Rate::of(Quota {
            count,
            window: Duration::from_secs(window),
        })
    }

    #[test]
    fn a_quota_comes_at_once_and_then_one_per_interval() {
        let (rate, start) = (rate(10, 60), 1_700_000_000_000_000);
        assert_eq!((rate.interval, rate.capacity), (6_000_000, 60_000_000));
        let mut full_at = 0;
        for _ in 0..10 {
            let Step::Taken { full_at: after } = take(full_at, start, rate) else {
                panic!("within the quota");
            };
            full_at = after;
        }
        assert_eq!(full_at, start + 60_000_000);
        assert_eq!(
            take(full_at, start, rate),
            Step::Refused {
                full_at,
                wait: 6_000_000
            }
        );
        let almost = start + 5_999_999;
        assert_eq!(take(full_at, almost, rate), Step::Refused { full_at, wait: 1 });
        assert!(matches!(take(full_at, almost + 1, rate), Step::Taken { .. }));
    }

    #[test]
    fn a_clock_that_is_set_back_costs_one_interval_and_never_more() {
        let rate = rate(5, 60);
        let now = 1_700_000_000_000_000;
        let day = 86_400_000_000;
        assert_eq!(
            take(now + day, now, rate),
            Step::Refused {
                full_at: now + rate.capacity,
                wait: rate.interval
            }
        );
        assert!(matches!(
            take(now + rate.capacity, now + rate.interval, rate),
            Step::Taken { .. }
        ));
        for extreme in [i64::MIN, i64::MAX] {
            take(extreme, now, rate);
            take(now, extreme, rate);
        }
    }

    #[test]
    fn every_quota_has_a_rate() {
        for (count, window) in [(1, 1), (7, 60), (1_000_000, 1), (999_999, 1), (1, 30 * 86_400)] {
            let rate = rate(count, window);
            assert_eq!(rate.capacity, rate.interval * i64::from(count));
            assert!(rate.capacity >= i64::try_from(window).unwrap() * 1_000_000);
        }
    }

    proptest! {
        /// Whatever the times of the tries, refused ones included: in any span at most the quota and what came back in it.
        #[test]
        fn never_more_than_the_quota_and_what_came_back(
            count in 1_u32..20,
            window in 1_u64..100,
            pauses in prop::collection::vec(0_i64..3_000_000, 1..300),
        ) {
            let rate = rate(count, window);
            let (mut now, mut full_at) = (1_700_000_000_000_000_i64, 0);
            let mut taken = Vec::new();
            for pause in pauses {
                now += pause;
                match take(full_at, now, rate) {
                    Step::Taken { full_at: after } => {
                        prop_assert!(after > now && after <= now + rate.capacity);
                        full_at = after;
                        taken.push(now);
                    }
                    Step::Refused { full_at: after, wait } => {
                        prop_assert_eq!(after, full_at);
                        prop_assert!(wait >= 1 && wait <= rate.interval);
                        prop_assert!(
                            matches!(take(full_at, now + wait, rate), Step::Taken { .. }),
                            "the wait is enough"
                        );
                        let refused = matches!(take(full_at, now + wait - 1, rate), Step::Refused { .. });
                        prop_assert!(refused, "and no longer than needed");
                    }
                }
            }
            for (first, begin) in taken.iter().enumerate() {
                for (last, end) in taken.iter().enumerate().skip(first) {
                    let most = i64::from(count) + (end - begin) / rate.interval;
                    prop_assert!(i64::try_from(last - first).unwrap() < most);
                }
            }
        }
    }
}
