//! The buckets of one limit in this process, in bounded memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::gcra::{self, Rate, Step};

/// Independent parts, so that requests seldom wait for each other.
const SHARDS: usize = 16;

/// The most buckets of a part: half of what a table of 8192 places holds. While keys come and go a table needs the other
/// half, and with it does not grow any more.
const SHARD_BUCKETS: usize = 3584;

/// How many are evicted at once when a part is full of buckets in use. The more, the seldomer they are searched.
const EVICTED: usize = SHARD_BUCKETS / 8;

/// The buckets of one limit, by 64 bits of the keyed hash of what they count: about 2.2 MiB at most.
///
/// A bucket that is full again needs no memory. When a flood of keys brings more buckets than there is capacity for, those
/// are evicted that hold the least debt: each new key of a flood has one take, while the bucket of an account under attack
/// is empty and stays. Limits do not share buckets, so that none can be flooded by way of another.
#[derive(Debug, Default)]
pub(super) struct Buckets([Mutex<HashMap<u64, i64>>; SHARDS]);

impl Buckets {
    /// Takes one; else says after how many microseconds there is one.
    pub(super) fn take(&self, key: u64, now: i64, rate: Rate) -> Option<i64> {
        // The key is the output of a keyed hash: any of its bits do.
        let shard = usize::try_from(key >> 60).unwrap_or_default() % SHARDS;
        let mut buckets = self.0[shard].lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = buckets.get(&key).copied();
        let (full_at, wait) = match gcra::take(full_at.unwrap_or(now), now, rate) {
            Step::Taken { full_at: after } => {
                if full_at.is_none() && buckets.len() >= SHARD_BUCKETS {
                    evict(&mut buckets, now);
                }
                (after, None)
            }
            Step::Refused { full_at, wait } => (full_at, Some(wait)),
        };
        buckets.insert(key, full_at);
        wait
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }
}

fn evict(buckets: &mut HashMap<u64, i64>, now: i64) {
    buckets.retain(|_, full_at| *full_at > now);
    let Some(too_many) = (buckets.len() + EVICTED).checked_sub(SHARD_BUCKETS) else {
        return;
    };
    let mut by_debt: Vec<_> = buckets.iter().map(|(key, full_at)| (*full_at, *key)).collect();
    by_debt.sort_unstable();
    for (_, key) in by_debt.into_iter().take(too_many) {
        buckets.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Quota;
    use crate::crypto;

    const NOW: i64 = 1_700_000_000_000_000;

    fn rate(count: u32, window: u64) -> Rate {
        Rate::of(Quota {
            count,
            window: Duration::from_secs(window),
        })
    }

    fn key(number: u32) -> u64 {
        let mac = crypto::mac(b"test", &[&number.to_be_bytes()]);
        u64::from_be_bytes(mac[..8].try_into().unwrap())
    }

    #[test]
    fn a_flood_of_keys_takes_bounded_memory_and_empties_no_bucket() {
        let (buckets, rate) = (Buckets::default(), rate(10, 60));
        let attacked = key(0);
        for _ in 0..10 {
            assert_eq!(buckets.take(attacked, NOW, rate), None);
        }
        for number in 1..300_000 {
            // The flood takes a second, and the attack goes on in it.
            let now = NOW + i64::from(number) * 3;
            assert_eq!(
                buckets.take(key(number), now, rate),
                None,
                "a new key has its quota"
            );
            if number % 1000 == 0 {
                assert!(buckets.take(attacked, now, rate).is_some(), "after {number} keys");
                assert!(buckets.len() <= SHARDS * SHARD_BUCKETS);
            }
        }
        let capacity: usize = buckets
            .0
            .iter()
            .map(|shard| shard.lock().unwrap().capacity())
            .sum();
        assert!(capacity <= SHARDS * 2 * SHARD_BUCKETS, "{capacity}");
        assert_eq!(buckets.take(attacked, NOW + rate.interval, rate), None);
    }

    #[test]
    fn also_a_flood_of_emptied_buckets_is_bounded() {
        let (buckets, rate) = (Buckets::default(), rate(1, 3600));
        for number in 0..200_000 {
            assert_eq!(buckets.take(key(number), NOW, rate), None);
        }
        assert!(buckets.len() <= SHARDS * SHARD_BUCKETS);
        assert!(
            buckets.take(key(199_999), NOW, rate).is_some(),
            "the newest is kept"
        );
    }

    #[test]
    fn what_is_full_again_makes_room_first() {
        let (buckets, rate) = (Buckets::default(), rate(2, 60));
        let count = u32::try_from(SHARDS * SHARD_BUCKETS * 2).unwrap();
        for number in 0..count {
            buckets.take(key(number), NOW, rate);
        }
        let later = NOW + rate.capacity;
        for number in 0..count {
            assert_eq!(buckets.take(key(count + number), later, rate), None);
            assert_eq!(buckets.take(key(count + number), later, rate), None);
            if number < 1000 {
                assert!(buckets.take(key(count + number), later, rate).is_some());
            }
        }
        assert!(buckets.len() <= SHARDS * SHARD_BUCKETS);
    }
}
