//! The shared key-value store behind the server: what several nodes keep in common without asking the database.
//!
//! This module moves bytes and messages and hides Redis. What the keys mean, and what may be believed after a
//! [`KvEvent::Lost`], is decided by the caller.
//!
//! Needed of Redis: version 6 or newer (the subscription speaks RESP3), and for the user of the URL the commands
//! `GET SET DEL EVAL EVALSHA TIME PUBLISH SUBSCRIBE PING`, besides `ROLE` behind Sentinel and `CLUSTER` in a cluster.

mod redis_kv;
mod source;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use josoor_auth_verify::RedisKind as Kind;
use josoor_auth_verify::{RedisUrl, RedisUrlError};
use tokio::sync::mpsc;

pub use self::redis_kv::RedisKv;
use crate::domain::Secret;

/// How long a command may take unless the configuration says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_millis(200);

/// Where the shared store is and how to use it.
///
/// The forms of the URL are those of [`RedisUrl`].
#[derive(Debug, Clone)]
pub struct KvConfig {
    /// One of the forms above. Secret, because it may carry a password.
    pub url: Secret,
    /// Has to agree with the URL's scheme.
    pub kind: Kind,
    /// Put before every key and channel; may be empty.
    pub prefix: String,
    /// The longest that a command may take, zero excluded.
    pub timeout: Duration,
}

impl KvConfig {
    /// The kind that the URL's scheme tells and the default timeout. Refuses a scheme that is none of the above.
    pub fn new(url: Secret, prefix: impl Into<String>) -> Result<Self, KvError> {
        let kind = read(&url)?.kind();
        Ok(Self {
            url,
            kind,
            prefix: prefix.into(),
            timeout: DEFAULT_TIMEOUT,
        })
    }
}

fn read(url: &Secret) -> Result<RedisUrl, KvError> {
    RedisUrl::parse(url.expose()).map_err(|RedisUrlError(reason)| KvError::Configuration(reason))
}

/// Why the shared store did not do what was asked. Holds neither the URL nor a key nor a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// The configuration cannot be used; nothing was tried.
    #[error("the configuration of the shared store is not usable: {0}")]
    Configuration(&'static str),
    /// Not reachable, too slow, or not able to take writes now. Worth another try later.
    #[error("the shared store is not available: {0}")]
    Unavailable(String),
    /// The key holds something that is not a plain value.
    #[error("a key of the shared store holds another type of value")]
    WrongType,
    /// The server refused the command: its error code, such as `OOM` or `NOPERM`.
    #[error("the shared store refused a command: {0}")]
    Refused(String),
    /// The answer is not what the command answers.
    #[error("the shared store gave an answer that makes no sense")]
    Garbage,
}

/// What the subscription to the invalidation channel tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvEvent {
    /// The server confirmed the subscription; what is published from now on is heard.
    Subscribed,
    /// A published payload. Bytes that are not UTF-8 come as U+FFFD.
    Message(String),
    /// Messages may have been missed since the last heartbeat, and none is heard until the next `Subscribed`.
    Lost,
}

/// The events of one listener, in order, without gaps: memory is the only bound.
#[derive(Debug)]
pub struct KvEvents {
    receiver: mpsc::UnboundedReceiver<KvEvent>,
    /// In process nothing else keeps the channel open, and its end would look like the store's.
    _open: Option<mpsc::UnboundedSender<KvEvent>>,
}

impl KvEvents {
    /// The next event; `None` once every [`Kv`] of this connection is gone. Cancel-safe.
    pub async fn recv(&mut self) -> Option<KvEvent> {
        self.receiver.recv().await
    }
}

/// What is known about the connection now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvState {
    /// `single`, `cluster`, `sentinel` or `in_process`.
    pub kind: &'static str,
    /// Whether commands have a connection that answered its last heartbeat.
    pub connected: bool,
    /// Whether published invalidations are heard.
    pub subscribed: bool,
}

/// Totals since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KvStats {
    /// Commands that were answered.
    pub ok: u64,
    /// Commands that failed for another reason than time, those refused at once while disconnected included.
    pub failed: u64,
    /// Commands that got no answer in time.
    pub timeouts: u64,
    /// Connections for commands that were established, the first included.
    pub connections: u64,
    /// Subscriptions that were confirmed, the first included.
    pub subscriptions: u64,
}

/// The shared store. A clone is the same connection; with the last one its background work ends.
#[derive(Debug, Clone)]
pub enum Kv {
    /// One node alone: its own cache is the only copy. Reads miss, writes succeed without effect, nothing is heard.
    InProcess,
    /// Redis in one of its shapes.
    Redis(RedisKv),
}

impl Kv {
    /// Checks the configuration and starts connecting in the background, for ever; Redis need not be up.
    ///
    /// Refuses a URL that is none of the forms, one that disagrees with `kind`, a zero timeout, and a call outside
    /// of a Tokio runtime.
    pub fn connect(config: KvConfig) -> Result<Self, KvError> {
        RedisKv::start(config).map(Self::Redis)
    }

    /// The value of a key.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, KvError> {
        match self {
            Self::InProcess => Ok(None),
            Self::Redis(redis) => redis.get(key).await,
        }
    }

    /// The values of two keys, in one round trip where they are on one server. Not a snapshot.
    pub async fn get_pair(
        &self,
        first: &str,
        second: &str,
    ) -> Result<(Option<Vec<u8>>, Option<Vec<u8>>), KvError> {
        match self {
            Self::InProcess => Ok((None, None)),
            Self::Redis(redis) => redis.get_pair(first, second).await,
        }
    }

    /// Stores a value, whatever was there. `ttl` counts in milliseconds, one at least.
    pub async fn set(&self, key: &str, value: &[u8], ttl: Duration) -> Result<(), KvError> {
        match self {
            Self::InProcess => Ok(()),
            Self::Redis(redis) => redis.set(key, value, ttl).await,
        }
    }

    /// Counts the connections for commands. What was read is of the connection of this number if the number was the
    /// same before and after; behind another one there may be another server, or one that has lost its memory.
    pub fn epoch(&self) -> u64 {
        match self {
            Self::InProcess => 0,
            Self::Redis(redis) => redis.epoch(),
        }
    }

    /// Stores a value only where there is none; says whether it did.
    pub async fn set_if_absent(&self, key: &str, value: &[u8], ttl: Duration) -> Result<bool, KvError> {
        match self {
            Self::InProcess => Ok(true),
            Self::Redis(redis) => redis.set_if_absent(key, value, ttl).await,
        }
    }

    /// Removes a key; succeeds too where there is none.
    pub async fn delete(&self, key: &str) -> Result<(), KvError> {
        match self {
            Self::InProcess => Ok(()),
            Self::Redis(redis) => redis.delete(key).await,
        }
    }

    /// Stores many values, whatever was there, some hundreds at a time; the timeout counts for each such part. After
    /// an `Err` any of them may be stored.
    pub async fn set_many(&self, entries: Vec<(String, Vec<u8>, Duration)>) -> Result<(), KvError> {
        match self {
            Self::InProcess => Ok(()),
            Self::Redis(redis) => redis.set_many(entries).await,
        }
    }

    /// Stores a JSON text unless the stored one is an object with a member `revoked`, or whose number `retired_generation`
    /// (0 where it is missing) is higher than `retired`, or is the same beside a number `version` that is higher than
    /// `version`; says whether it did. A stored value that is none is replaced. Exact up to 2^53.
    pub async fn set_versioned(
        &self,
        key: &str,
        version: i64,
        retired: i64,
        value: &str,
        ttl: Duration,
    ) -> Result<bool, KvError> {
        match self {
            Self::InProcess => Ok(true),
            Self::Redis(redis) => redis.set_versioned(key, version, retired, value, ttl).await,
        }
    }

    /// Whether its keys are spread over several servers, each of which fails by itself.
    pub fn is_sharded(&self) -> bool {
        match self {
            Self::InProcess => false,
            Self::Redis(redis) => redis.is_sharded(),
        }
    }

    /// Moves a mark forward, in one step: stores `value`, a JSON object whose number `version` is `version`, unless a
    /// higher one is there. One that is more than `ahead_at_most` higher was made by a wrong clock and counts as none.
    /// Nothing is stored, and the stored version is given (0 for none), when it is lower than `expected`: then the store
    /// has lost writes. In process nothing is ever lost.
    pub async fn advance(
        &self,
        key: &str,
        expected: i64,
        version: i64,
        value: &str,
        ttl: Duration,
        ahead_at_most: i64,
    ) -> Result<Option<i64>, KvError> {
        match self {
            Self::InProcess => Ok(None),
            Self::Redis(redis) => {
                redis
                    .advance(key, expected, version, value, ttl, ahead_at_most)
                    .await
            }
        }
    }

    /// Takes one from a bucket that gets one back after each `interval` and needs `capacity` to fill, by the store's own
    /// clock and in one step; else says after what time there is one. A bucket that is full again leaves nothing behind.
    /// A stored value that is none counts as full. In process there are no buckets, and nothing is refused.
    pub async fn take(
        &self,
        key: &str,
        interval: Duration,
        capacity: Duration,
    ) -> Result<Option<Duration>, KvError> {
        match self {
            Self::InProcess => Ok(None),
            Self::Redis(redis) => redis.take(key, interval, capacity).await,
        }
    }

    /// Sends a payload to everyone who listens on `<prefix>josoor-auth:invalidate` now, this node included.
    pub async fn publish(&self, payload: &str) -> Result<(), KvError> {
        match self {
            Self::InProcess => Ok(()),
            Self::Redis(redis) => redis.publish(payload).await,
        }
    }

    /// Whether the store answers; in a cluster, whether one of the masters does.
    pub async fn ping(&self) -> Result<(), KvError> {
        match self {
            Self::InProcess => Ok(()),
            Self::Redis(redis) => redis.ping().await,
        }
    }

    /// A listener of its own. It starts with [`KvEvent::Subscribed`] when the subscription stands already; in process
    /// that is also the only event it ever gets.
    pub fn events(&self) -> KvEvents {
        let (sender, receiver) = mpsc::unbounded_channel();
        let open = match self {
            Self::InProcess => {
                // The receiver is still in this function, so it cannot be closed.
                let _ = sender.send(KvEvent::Subscribed);
                Some(sender)
            }
            Self::Redis(redis) => {
                redis.add_listener(sender);
                None
            }
        };
        KvEvents {
            receiver,
            _open: open,
        }
    }

    /// What is known about the connection now, without asking.
    pub fn state(&self) -> KvState {
        match self {
            Self::InProcess => KvState {
                kind: "in_process",
                connected: true,
                subscribed: true,
            },
            Self::Redis(redis) => redis.state(),
        }
    }

    /// Totals since the start; all zero in process.
    pub fn stats(&self) -> KvStats {
        match self {
            Self::InProcess => KvStats::default(),
            Self::Redis(redis) => redis.stats(),
        }
    }

    /// Waits until commands have a connection, `limit` at most; says whether they have.
    pub async fn wait_connected(&self, limit: Duration) -> bool {
        match self {
            Self::InProcess => true,
            Self::Redis(redis) => redis.wait_connected(limit).await,
        }
    }
}
