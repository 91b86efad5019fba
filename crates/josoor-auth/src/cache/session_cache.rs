//! What the cache of this node holds; its methods stand by subject beside it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use josoor_auth_verify::{LocalCache, SingleFlight};
use quick_cache::sync::Cache;
use tokio::sync::Notify;
use uuid::Uuid;

use super::copies::UserCopy;
use super::health::RedisHealth;
use crate::clock::Clock;
use crate::config::{Config, SessionConfig};
use crate::domain::Timestamp;
use crate::error::Refusal;
use crate::redis::Redis;
use crate::store::{Db, SessionRow, Touch};
use crate::telemetry::{CacheCounters, Metrics};

/// The copies of sessions and users on this node and in Redis.
pub struct SessionCache {
    pub(super) local: LocalCache<UserCopy, Refusal>,
    pub(super) flights: SingleFlight,
    pub(super) redis: Option<Redis>,
    pub(super) db: Db,
    pub(super) clock: Clock,
    pub(super) local_hits: CacheCounters,
    pub(super) shared_hits: CacheCounters,
    pub(super) redis_health: RedisHealth,
    /// Whether this process has published a change.
    pub(super) has_published: AtomicBool,
    /// Wakes the tail.
    pub(super) wake: Notify,
    pub(super) keys_changed: Notify,
    /// When the tail last read `changes` to its end, in microseconds since 1970.
    pub(super) tailed_at: AtomicI64,
    /// The same by the monotonic clock.
    pub(super) tailed: Mutex<Instant>,
    /// Which generations this node has noted lately, and when.
    pub(super) noted: Cache<Uuid, (i64, Timestamp)>,
    /// How long a note of use counts before the next use is noted.
    pub(super) note_every: Duration,
    /// The lifetimes of sessions.
    pub(super) lifetimes: SessionConfig,
    /// The latest generations that this node has seen.
    pub(super) generations: Cache<Uuid, i64>,
    pub(super) touches: Mutex<VecDeque<Touch>>,
    pub(super) touched: Notify,
    /// Refreshed sessions whose copies are still to be written.
    pub(super) refreshed: Mutex<Vec<(SessionRow, Arc<UserCopy>)>>,
    pub(super) some_refreshed: Notify,
}

impl std::fmt::Debug for SessionCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionCache").finish_non_exhaustive()
    }
}

impl SessionCache {
    /// Copies over these stores.
    pub fn new(config: &Config, redis: Option<Redis>, db: Db, clock: Clock, metrics: &Metrics) -> Self {
        let (session, config) = (&config.session, &config.cache);
        let alone = redis.is_none();
        Self {
            // A quarter is for the memory of tokens, which `keys` keeps.
            local: LocalCache::new(config.near_bytes / 4 * 3, config.near_ttl, alone),
            flights: SingleFlight::default(),
            local_hits: metrics.cache("near", "session"),
            shared_hits: metrics.cache("redis", "session"),
            redis_health: RedisHealth::new(),
            has_published: AtomicBool::new(false),
            wake: Notify::new(),
            keys_changed: Notify::new(),
            tailed_at: AtomicI64::new(clock.now().as_micros()),
            tailed: Mutex::new(Instant::now()),
            noted: Cache::new(100_000),
            note_every: session.note_every(),
            lifetimes: *session,
            generations: Cache::new(100_000),
            touches: Mutex::default(),
            touched: Notify::new(),
            refreshed: Mutex::default(),
            some_refreshed: Notify::new(),
            redis,
            db,
            clock,
        }
    }
}
