//! The tail: re-applies what stands in the table `changes`.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use futures_util::stream;
use serde::{Deserialize, Serialize};

use super::copies::{UserCopy, to_json};
use super::session_cache::SessionCache;
use crate::domain::{RevokeReason, SessionId, Timestamp, UserId};
use crate::error::{Error, Result};
use crate::redis::{Redis, RedisError};
use crate::store::Change;
use crate::telemetry::codes;

/// The longest that a change on another node goes unnoticed when its message is lost.
const TAIL_EVERY: Duration = Duration::from_secs(1);

/// In one process the command line's acts come only this way, and reading costs microseconds.
const TAIL_EVERY_ALONE: Duration = Duration::from_millis(250);

/// How often a node reads the table of changes; `alone` is one without Redis.
pub const fn tail_every(alone: bool) -> Duration {
    if alone { TAIL_EVERY_ALONE } else { TAIL_EVERY }
}

/// Changes are stamped before they are committed, by the database's clock. The stamp is taken inside the transaction, whose few
/// statements may take 5 s each: longer than that.
const COMMIT_WINDOW: Duration = Duration::from_mins(1);

/// How far back the copies in Redis are restored at least after a failure, whatever the watermark says.
const RESTORE_AT_LEAST: Duration = Duration::from_mins(15);

/// The longest that the tail waits for one answer of the database. A connection whose other end has gone silent answers
/// never; giving it up costs a connection.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// A watermark further ahead of the database's time was made by a node with a wrong clock, and says nothing.
const MARK_AHEAD_AT_MOST: Duration = Duration::from_mins(1);

/// Changes read in one step.
const PAGE: i64 = 1000;

/// Writes to Redis that are under way together while changes are applied.
const WRITES_AT_ONCE: usize = 64;

/// The watermark's key.
const WATERMARK: &str = "josoor-auth:applied";

/// Longer than any session that can be configured to matter; renewed every second.
const WATERMARK_LIFE: Duration = Duration::from_hours(9600);

/// What stands under [`WATERMARK`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Watermark {
    /// Every change committed before this moment has been applied to Redis; microseconds since 1970.
    version: i64,
}

/// What the tail remembers from round to round.
#[derive(Debug, Default)]
pub struct TailMemory {
    /// The changes applied lately, so that the window that is read again costs no writes.
    applied: HashMap<i64, Timestamp>,
    /// The watermark as this node last saw it.
    mark: i64,
}

impl SessionCache {
    /// Resolves when the tail should run before its time.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// One round of the tail: re-applies what `changes` holds since the last round, or since Redis was last known to
    /// be whole. All times in it are the database's, which stamps the changes: nodes' own clocks do not matter. The round
    /// begins with a reading of that clock, which corrects this node's.
    pub async fn tail(&self, memory: &mut TailMemory) -> Result<()> {
        let started = self.with_deadline(self.db.read_clock(&self.clock)).await?;
        let redis = self.redis.as_ref();
        // A new connection may lead to another master, or in a Cluster to one, which has not got all writes.
        let epoch = redis.map_or(0, Redis::epoch);
        let failures = self.redis_health.failures.load(Ordering::Acquire);
        let stale = redis.filter(|_| !self.redis_health.is_valid(epoch));
        let mut since = Timestamp::from_micros(self.tailed_at.load(Ordering::Acquire)).minus(COMMIT_WINDOW);
        // While Redis does not answer its copies cannot be restored, but this node still needs the changes.
        let mut reachable = redis.is_some();
        if let Some(redis) = stale {
            let stored = match redis.get(WATERMARK).await {
                // Not ours, and replaced at the end of the round.
                Err(RedisError::WrongType) => Ok(None),
                other => other,
            };
            match stored {
                Ok(mark) => {
                    let mark = mark
                        .and_then(|bytes| serde_json::from_slice::<Watermark>(&bytes).ok())
                        .map_or(0, |mark| mark.version);
                    let is_ahead = mark > started.plus(MARK_AHEAD_AT_MOST).as_micros();
                    if is_ahead {
                        tracing::warn!(
                            code = codes::REDIS_WATERMARK_AHEAD,
                            "the watermark in Redis lies in the future: a node's clock is or was wrong; all changes are \
                             applied again"
                        );
                    }
                    memory.mark = if is_ahead { 0 } else { mark };
                    // Without a mark it is not known what Redis holds. As a rule nothing, but the mark may have gone alone.
                    // In a Cluster it says nothing about the other shards. Then only the whole table, which is kept as
                    // short as copies live, corrects what may be there.
                    let whole = if redis.is_sharded() { 0 } else { memory.mark };
                    let whole = Timestamp::from_micros(whole).min(started.minus(RESTORE_AT_LEAST));
                    since = since.min(whole.minus(COMMIT_WINDOW));
                    memory.applied.clear();
                }
                Err(_) => reachable = false,
            }
        }
        let mut whole = reachable;
        let mut after = 0;
        loop {
            let page = async { self.db.read().await?.changes_since(since, after, PAGE).await };
            let page = self.with_deadline(page).await?;
            let Some(last) = page.last() else { break };
            (since, after) = (last.at, last.id);
            let is_last = page.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
            let fresh: Vec<Change> = page
                .into_iter()
                .filter(|change| !memory.applied.contains_key(&change.id))
                .collect();
            let taken = self.apply(&fresh, reachable).await?;
            whole &= taken;
            // One refusal is enough: what follows only this node needs now.
            reachable &= taken;
            if taken {
                memory
                    .applied
                    .extend(fresh.iter().map(|change| (change.id, change.at)));
            }
            if is_last {
                break;
            }
        }
        memory
            .applied
            .retain(|_, at| *at >= started.minus(2 * COMMIT_WINDOW));
        self.tailed_at.store(started.as_micros(), Ordering::Release);
        *self.tailed() = Instant::now();
        // What failed meanwhile may be what this round did not write.
        if let Some(redis) = redis
            && whole
            && self.redis_health.failures.load(Ordering::Acquire) == failures
        {
            self.advance_watermark(redis, memory, started, stale.map(|_| (failures, epoch)))
                .await;
        }
        Ok(())
    }

    /// Moves the watermark on, after a round that Redis took as a whole; with `restored`, its copies are valid again. A mark
    /// that has gone back since the last round shows that Redis has lost writes, be the connection as good as it may.
    async fn advance_watermark(
        &self,
        redis: &Redis,
        memory: &mut TailMemory,
        started: Timestamp,
        restored: Option<(u64, u64)>,
    ) {
        let mark = Watermark {
            version: started.as_micros(),
        };
        match redis
            .advance(
                WATERMARK,
                memory.mark,
                mark.version,
                &to_json(&mark),
                WATERMARK_LIFE,
                MARK_AHEAD_AT_MOST.as_micros().try_into().unwrap_or(i64::MAX),
            )
            .await
        {
            Ok(None) => {
                memory.mark = mark.version.max(memory.mark);
                if let Some((failures, epoch)) = restored
                    && self.local.is_subscribed()
                {
                    self.redis_health.restore(failures, epoch);
                    if self.is_shared() {
                        tracing::info!("the copies in Redis have been restored and are used again");
                    }
                }
            }
            Ok(Some(_)) => {
                tracing::warn!(
                    code = codes::REDIS_WRITES_LOST,
                    "Redis has lost writes; its copies are not used until they have been restored"
                );
                self.local.invalidate_all();
                self.redis_health.invalidate();
                self.wake.notify_one();
            }
            Err(error) => self.report_failure(&error),
        }
    }

    /// Gives up a query that is not answered in time. Where the database hangs, messages may be lost, too.
    async fn with_deadline<T>(&self, query: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::time::timeout(QUERY_TIMEOUT, query)
            .await
            .unwrap_or_else(|_| {
                self.redis_health.invalidate();
                Err(Error::unavailable(anyhow::anyhow!(
                    "no answer in {QUERY_TIMEOUT:?}"
                )))
            })
    }

    /// How long ago the tail last read `changes` to its end.
    pub fn tail_age(&self) -> Duration {
        self.tailed().elapsed()
    }

    fn tailed(&self) -> std::sync::MutexGuard<'_, Instant> {
        // A panic while it is held leaves a whole instant.
        self.tailed
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Applies changes to this node and, if asked, to Redis; whether all was taken.
    async fn apply(&self, changes: &[Change], to_redis: bool) -> Result<bool> {
        let now = self.clock.now();
        let mut tombstones = Vec::new();
        let mut users = HashSet::new();
        let mut retired = HashMap::new();
        for change in changes {
            if let Some((session, up_to)) = change.retired() {
                self.local.retire_generations(session.0, up_to);
                retired.insert(session, change.user_id());
            }
            match change.session_id() {
                Some(session) => {
                    let reason = change.reason.unwrap_or(RevokeReason::RevokedByAdmin);
                    self.local.revoke_session(session.0, reason.refusal());
                    if now < change.until {
                        tombstones.push((session, reason, change.until));
                    }
                }
                None => {
                    users.insert(change.user_id());
                }
            }
        }
        if to_redis && !self.write_tombstones(&tombstones).await {
            return Ok(false);
        }
        let found = self.copies_of(&users).await?;
        let gone = users
            .iter()
            .filter(|id| !found.contains_key(id))
            .map(|id| UserCopy::deleted(*id, now));
        let copies: Vec<UserCopy> = gone.chain(found.values().cloned()).collect();
        for copy in &copies {
            self.local.raise_user_version(copy.id, copy.version);
        }
        if !to_redis {
            return Ok(true);
        }
        if !self
            .write_all(copies.iter().map(|copy| self.write_user(copy)))
            .await
        {
            return Ok(false);
        }
        // As the rows are now; of a session or user that has gone there are changes of their own.
        if retired.is_empty() {
            return Ok(true);
        }
        let ids: Vec<SessionId> = retired.keys().copied().collect();
        let sessions = async { self.db.read().await?.sessions_by_ids(&ids).await };
        let mut sessions = self.with_deadline(sessions).await?;
        sessions.retain(|session| session.ended(now).is_none());
        let owners = self.copies_of(&retired.into_values().collect()).await?;
        let live = sessions
            .iter()
            .filter_map(|session| Some((session, owners.get(&session.user_id())?)));
        Ok(self
            .write_all(live.map(|(session, user)| self.write_session(session, user)))
            .await)
    }

    /// What to keep of these users as their rows are now, without those that have gone.
    async fn copies_of(&self, users: &HashSet<UserId>) -> Result<HashMap<UserId, UserCopy>> {
        if users.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<i64> = users.iter().map(|id| id.0).collect();
        let found = async { self.db.read().await?.users_by_ids(&ids).await };
        let found = self.with_deadline(found).await?;
        Ok(found.iter().map(|user| (user.id, UserCopy::from(user))).collect())
    }

    /// Waits for some writes to Redis at a time; whether all were taken. The first refusal ends it.
    async fn write_all<W>(&self, writes: impl Iterator<Item = W>) -> bool
    where
        W: Future<Output = std::result::Result<(), RedisError>>,
    {
        let written = stream::iter(writes.map(Ok)).try_for_each_concurrent(WRITES_AT_ONCE, |write| write);
        match written.await {
            Ok(()) => true,
            Err(error) => {
                self.report_failure(&error);
                false
            }
        }
    }
}
