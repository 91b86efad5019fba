//! Counts in Redis for all nodes together, or in this process.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::alarm::Alarm;
use super::gcra::Rate;
use super::memory::Buckets;
use crate::clock::Clock;
use crate::config::{LimitsConfig, Quota};
use crate::crypto;
use crate::domain::Network;
use crate::domain::limit::{Limit, TABLE};
use crate::error::{Error, RateLimitPolicy, Result};
use crate::redis::{Redis, RedisError};
use crate::telemetry::Metrics;
use crate::telemetry::codes;

/// A refusal: after what time the next try succeeds, and the quota that was counted against.
pub(super) struct Refused {
    pub(super) wait: Duration,
    pub(super) quota: Quota,
}

impl Refused {
    pub(super) fn into_error(self, limit: Limit) -> Error {
        let entry = limit.entry();
        Error::RateLimited {
            retry_after: self.wait,
            policy: RateLimitPolicy {
                name: entry.name(),
                quota: self.quota.count,
                window: self.quota.window,
                message: entry.message,
            },
        }
    }
}

/// Counts what happens, for all nodes together.
pub struct Limiter {
    pub(super) config: LimitsConfig,
    pub(super) redis: Option<Redis>,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    /// Names the buckets, so that Redis holds no addresses.
    pub(super) key: Zeroizing<[u8; 32]>,
    /// One for each limit, in the order of [`TABLE`].
    pub(super) memory: [Buckets; TABLE.len()],
    /// The one bucket of failed sign-ins.
    pub(super) failed_sign_ins: Buckets,
    pub(super) alarm: Alarm,
    pub(super) alone: Alone,
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Limiter {
    /// With the configured quotas. `key` has to be the same on all nodes and secret.
    pub fn new(
        config: LimitsConfig,
        key: Zeroizing<[u8; 32]>,
        redis: Option<Redis>,
        clock: Clock,
        metrics: Metrics,
    ) -> Self {
        Self {
            config,
            redis,
            clock,
            alarm: Alarm::new(metrics.clone()),
            metrics,
            key,
            memory: Default::default(),
            failed_sign_ins: Buckets::default(),
            alone: Alone::default(),
        }
    }

    /// The quota of a limit.
    pub const fn quota(&self, limit: Limit) -> Quota {
        self.config.quota(limit)
    }

    /// Takes one from the bucket of a limit that the parts of `key` name. What is refused takes nothing.
    ///
    /// # Errors
    /// `RateLimited`, with the time after which the next try succeeds.
    pub async fn take(&self, limit: Limit, key: &[&str]) -> Result<()> {
        let refused = self.count(limit, key, 1).await;
        refused.map_or(Ok(()), |refused| Err(refused.into_error(limit)))
    }

    /// Like [`take`](Self::take), for work that can wait: `None` when one was taken, else the time after which the
    /// next try succeeds.
    pub async fn wait(&self, limit: Limit, key: &[&str]) -> Option<Duration> {
        self.count(limit, key, 1).await.map(|refused| refused.wait)
    }

    /// Takes one from the buckets of a network, at every width that is counted (see [`Network::levels`]), for what the parts
    /// of `key` name within it. Narrowest first: a client over the limit of a narrow network takes nothing from its
    /// neighbours.
    ///
    /// # Errors
    /// `RateLimited`.
    pub async fn take_by_network(&self, limit: Limit, network: Network, key: &[&str]) -> Result<()> {
        for (name, factor) in network.levels() {
            let mut parts = vec![name.as_str()];
            parts.extend(key);
            let refused = self.count(limit, &parts, factor).await;
            refused.map_or(Ok(()), |refused| Err(refused.into_error(limit)))?;
        }
        Ok(())
    }

    /// Takes one from a bucket that has `factor` times the limit's quota.
    async fn count(&self, limit: Limit, key: &[&str], factor: u32) -> Option<Refused> {
        if !self.config.enabled {
            return None;
        }
        let mut quota = self.quota(limit);
        quota.count = quota.count.saturating_mul(factor);
        let (name, memory) = (limit.entry().name(), &self.memory[limit as usize]);
        let refused = self.take_one(name, memory, key, quota).await;
        if refused.is_some() {
            self.metrics.limited(name);
        }
        refused
    }

    pub(super) async fn take_one(
        &self,
        name: &'static str,
        memory: &Buckets,
        key: &[&str],
        quota: Quota,
    ) -> Option<Refused> {
        let id = self.bucket(name, key);
        match &self.redis {
            None => self.take_here(memory, id, quota),
            Some(redis) => match take_shared(redis, name, id, quota).await {
                Ok(refused) => {
                    self.alone.ends(self.clock.now().as_micros());
                    refused
                }
                Err(error) => {
                    self.alone.begins(self.clock.now().as_micros(), &error);
                    self.metrics.limit_without_redis();
                    self.take_here(memory, id, stricter(quota))
                }
            },
        }
    }

    fn take_here(&self, memory: &Buckets, id: [u8; 16], quota: Quota) -> Option<Refused> {
        let now = self.clock.now().as_micros();
        let key = id.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let wait = memory.take(key, now, Rate::of(quota))?;
        Some(Refused {
            wait: micros(wait),
            quota,
        })
    }

    /// The name of a bucket: 128 bits that do not reveal what is counted in it.
    fn bucket(&self, name: &'static str, key: &[&str]) -> [u8; 16] {
        let mut parts = vec![name.as_bytes()];
        parts.extend(key.iter().map(|part| part.as_bytes()));
        let mut id = [0; 16];
        id.copy_from_slice(&crypto::mac(&*self.key, &parts)[..16]);
        id
    }
}

async fn take_shared(
    redis: &Redis,
    name: &'static str,
    id: [u8; 16],
    quota: Quota,
) -> Result<Option<Refused>, RedisError> {
    let key = format!("josoor-auth:limit:{name}:{}", URL_SAFE_NO_PAD.encode(id));
    let rate = Rate::of(quota);
    let wait = redis
        .take(&key, micros(rate.interval), micros(rate.capacity))
        .await?;
    Ok(wait.map(|wait| Refused { wait, quota }))
}

fn micros(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

/// What a node grants while it counts alone: half, because the others may grant as much; at least one.
pub(super) fn stricter(quota: Quota) -> Quota {
    Quota {
        count: (quota.count / 2).max(1),
        ..quota
    }
}

/// Whether this node counts alone, with one line in the log for each change.
#[derive(Debug, Default)]
pub(super) struct Alone {
    is_so: AtomicBool,
    /// When Redis last failed, in microseconds.
    failed_at: AtomicI64,
}

/// For so long Redis has to answer before that is worth a line: one that answers every other time must not fill the log.
const STEADY: i64 = 5_000_000;

impl Alone {
    pub(super) fn begins(&self, now: i64, error: &RedisError) {
        self.failed_at.store(now, Ordering::Relaxed);
        if !self.is_so.swap(true, Ordering::Relaxed) {
            tracing::warn!(code = codes::LIMITS_WITHOUT_REDIS, cause = %error, "limits: Redis does not count; this node counts alone, with half of every quota");
        }
    }

    pub(super) fn ends(&self, now: i64) {
        if self.is_so.load(Ordering::Relaxed)
            && now.abs_diff(self.failed_at.load(Ordering::Relaxed)) >= STEADY.unsigned_abs()
            && self.is_so.swap(false, Ordering::Relaxed)
        {
            tracing::info!("limits: Redis counts again, for all nodes together");
        }
    }
}
