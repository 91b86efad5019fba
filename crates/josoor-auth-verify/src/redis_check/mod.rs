//! Checking sessions by the service's copies in Redis.

mod connection;
mod copies;
mod reported;
mod subscription;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use self::connection::{CONNECT_TIMEOUT, Redis, TIMEOUT, lock};
use self::copies::{Admitted, CopyState, LocalCopies, evaluate, watermark_age};
use self::reported::{ReportedUses, report_every};
use crate::caller::{CurrentUser, SessionCheck, SetupError};
use crate::claims::Claims;
use crate::local_cache::is_retired;
use crate::refusal::Refusal;
use crate::{clock, json as strict_json};

/// The key under which the service says up to when all its revocations are in Redis: `{"version": <microseconds since
/// 1970>}`, moved on every second.
const WATERMARK: &str = "josoor-auth:applied";

/// Bytes of the local cache unless configured otherwise.
const LOCAL_CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// Checks a session by reading `session:<sid>` and `user:<id>`, the copies that the service keeps in Redis.
///
/// A copy that says the session was revoked or the account is not active rejects the request; two valid copies accept it, as
/// long as the service's watermark in Redis is at most 5 s old. A copy that is missing, unreadable, past its end or not read
/// within 200 ms decides nothing: `F`, as a rule a [`ServiceCheck`](crate::ServiceCheck), is asked instead, and the service
/// fills the copies again. So losing Redis costs speed, never a sign-in and never a revocation.
///
/// Copies are cached in memory until the watermark that they were read with is 5 s old, and only while the subscription to
/// the service's invalidations on `josoor-auth:invalidate` is up: a revocation or a change of role that the service has
/// answered holds here as soon as Redis has delivered the message, and with the channel cut after 5 s at the latest.
///
/// That a token was accepted is published on `josoor-auth:invalidate`: the first time for each refresh generation of a session,
/// because the service records which are in use (RFC 9700, 4.14.2), and then every 15 s at most, because a use moves the
/// session's idle end.
pub struct RedisCheck<F> {
    fallback: F,
    prefix: String,
    redis: Arc<Redis>,
    reported: Arc<Mutex<ReportedUses>>,
    local: Option<Arc<LocalCopies>>,
}

impl<F: SessionCheck> RedisCheck<F> {
    /// Reads the Redis at `redis_url`, the service's own `REDIS_URL`: one server, a Cluster, or the master that Sentinels
    /// name, in the forms of `RedisUrl`. `prefix` is the service's `redis.prefix`. Opens no connection yet.
    pub fn new(redis_url: &str, prefix: impl Into<String>, fallback: F) -> Result<Self, SetupError> {
        Ok(Self {
            fallback,
            prefix: prefix.into(),
            redis: Arc::new(Redis::new(redis_url)?),
            reported: Arc::default(),
            local: Some(Arc::new(LocalCopies::new(LOCAL_CACHE_BYTES))),
        })
    }

    /// Caches up to about `bytes` of copies in memory; 16 MiB without this call. With 0 each request reads Redis, and no
    /// invalidations are subscribed to.
    #[must_use]
    pub fn local_cache(mut self, bytes: u64) -> Self {
        self.local = (bytes > 0).then(|| Arc::new(LocalCopies::new(bytes)));
        self
    }

    /// The earlier name of [`local_cache`](Self::local_cache).
    #[deprecated(note = "renamed to `local_cache`")]
    #[must_use]
    pub fn near_cache(self, bytes: u64) -> Self {
        self.local_cache(bytes)
    }

    fn channel(&self) -> String {
        format!("{}josoor-auth:invalidate", self.prefix)
    }

    /// The outcome by the copies in Redis; `None` when they do not decide.
    async fn read(&self, claims: &Claims) -> Option<Result<Admitted, Refusal>> {
        if self.redis.is_paused() {
            return None;
        }
        let began = Instant::now();
        let snapshot = self
            .local
            .as_ref()
            .map(|local| local.copies.snapshot(claims.sid, claims.sub));
        let keys = (
            format!("{}session:{}", self.prefix, claims.sid),
            format!("{}user:{}", self.prefix, claims.sub),
            format!("{}{WATERMARK}", self.prefix),
        );
        let read = async {
            let connection = Redis::connection(&self.redis).await?;
            let (mut first, mut second, mut third) = (connection.clone(), connection.clone(), connection);
            // Commands of their own, since in a Cluster the keys may live on several nodes.
            tokio::try_join!(
                first.get_copy(&keys.0),
                second.get_copy(&keys.1),
                third.get_copy(&keys.2)
            )
        };
        let copies = tokio::time::timeout(TIMEOUT, read).await;
        let (session, user, mark) = match copies {
            Ok(Ok(copies)) => copies,
            Ok(Err(error)) => {
                self.redis.pause();
                tracing::warn!(category = ?error.kind(), "Redis cannot be read; the service is asked instead");
                return None;
            }
            Err(_) => {
                self.redis.pause();
                tracing::warn!("Redis did not answer in time; the service is asked instead");
                return None;
            }
        };
        let session = strict_json::object(&session?)?;
        let user = user.and_then(|bytes| strict_json::object(&bytes));
        let mark = mark.and_then(|bytes| strict_json::object(&bytes));
        let now = clock::now_micros();
        // A rejection is final. An acceptance counts only while the service is known to deliver its revocations to this Redis.
        let (user, session) = match evaluate(&session, user.as_ref(), claims, now)? {
            CopyState::Live { user, session } => (user, session),
            CopyState::OtherUser => return Some(Err(Refusal::TokenInvalid)),
            CopyState::Revoked(reason) => {
                if let Some(local) = &self.local {
                    local.copies.revoke_session(claims.sid, reason);
                }
                return Some(Err(reason));
            }
        };
        // However old the copy is: a retired generation stays retired.
        if is_retired(claims.generation, session.retired) {
            return Some(Err(Refusal::PasswordChanged));
        }
        let left = Duration::from_micros(session.expires_at.abs_diff(now));
        let admitted = user.admit(claims).map(|user| Admitted { user, left });
        let age = mark.and_then(|mark| watermark_age(&mark, now));
        if age.is_none() {
            self.redis.reconnect_to_master();
        }
        if let (Some(age), Some(local), Some(snapshot)) = (age, &self.local, snapshot) {
            // As old as the watermark: later revocations may be missing from the copies.
            let filled = began.checked_sub(age).unwrap_or(began);
            let retired = local.copies.fill_session(claims.sid, snapshot, session, filled);
            if is_retired(claims.generation, retired) {
                return Some(Err(Refusal::PasswordChanged));
            }
            if !local
                .copies
                .fill_user(claims.sub, snapshot, &Arc::new(user), filled)
            {
                return None;
            }
        }
        (admitted.is_err() || age.is_some()).then_some(admitted)
    }

    /// Reports to the service that a session and a generation of it are in use: each generation once, and a session as often as
    /// its idle end needs it; in the background, best effort.
    fn report_use(&self, claims: &Claims, left: Duration) {
        let (now, every) = (Instant::now(), report_every(left));
        if !lock(&self.reported).insert(claims.sid, claims.generation, now, every) {
            return;
        }
        let message = json!({"used": {"sid": claims.sid, "gen": claims.generation}}).to_string();
        let channel = self.channel();
        let (redis, reported, session) = (Arc::clone(&self.redis), Arc::clone(&self.reported), claims.sid);
        tokio::spawn(async move {
            let publish = async {
                let mut connection = Redis::connection(&redis).await?;
                connection.publish_message(&channel, &message).await
            };
            let published = tokio::time::timeout(CONNECT_TIMEOUT, publish).await;
            if !matches!(published, Ok(Ok(()))) {
                // The next request with this generation tries again.
                lock(&reported).remove(session);
            }
        });
    }
}

impl<F: SessionCheck> SessionCheck for RedisCheck<F> {
    async fn check(&self, token: &str, claims: &Claims) -> Result<CurrentUser, Refusal> {
        let Some(local) = &self.local else {
            return self.read_or_ask(token, claims).await;
        };
        if let Some(known) = local.lookup(claims) {
            return self.admit(claims, known);
        }
        local
            .subscribing
            .call_once(|| subscription::start(&self.redis, local, self.channel()));
        // One request reads and the others of the same session wait for it; but only while its result is cached.
        let guard = if local.copies.is_subscribed() {
            local.reads.acquire(claims.sid).await
        } else {
            None
        };
        match local.lookup(claims).filter(|_| guard.is_none()) {
            Some(known) => self.admit(claims, known),
            None => self.read_or_ask(token, claims).await,
        }
    }
}

impl<F: SessionCheck> RedisCheck<F> {
    async fn read_or_ask(&self, token: &str, claims: &Claims) -> Result<CurrentUser, Refusal> {
        match self.read(claims).await {
            Some(outcome) => self.admit(claims, outcome),
            None => self.fallback.check(token, claims).await,
        }
    }

    fn admit(&self, claims: &Claims, outcome: Result<Admitted, Refusal>) -> Result<CurrentUser, Refusal> {
        let Admitted { user, left } = outcome?;
        self.report_use(claims, left);
        Ok(user)
    }
}

impl<F> fmt::Debug for RedisCheck<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCheck")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
