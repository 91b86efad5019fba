//! Commands. None of them connects or waits for a connection: it takes the link that stands or fails at once, so that an
//! outage costs a request nothing but the lookup.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use redis::{Cmd, ErrorKind, RedisResult, Script, ServerErrorKind};
use tokio::sync::{Notify, mpsc, watch};

use super::failure::{explain, is_plain_refusal};
use super::link::{Tasks, keep_linked, keep_subscribed};
use super::scripts::{ADVANCE, SET_VERSIONED, TAKE};
use super::shared::Shared;
use super::source::{Link, Source};
use super::types::{ConnectionSettings, Kind, RedisError, RedisEvent, RedisEvents, RedisState};
use crate::telemetry::steps;

/// Commands that travel together in `set_many`.
const CHUNK: usize = 256;

/// Redis keeps expiry times as milliseconds in an `i64`; a century is far below and far enough.
const LONGEST_TTL: Duration = Duration::from_hours(100 * 365 * 24);

/// Redis in one of its shapes. A clone is the same connection.
#[derive(Clone)]
pub struct Redis {
    shared: Arc<Shared>,
    _tasks: Arc<Tasks>,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl Redis {
    /// Checks the configuration and starts connecting in the background, for ever; Redis need not be up.
    ///
    /// Refuses a URL that is none of the forms, one that disagrees with `kind`, a zero timeout, and a call outside
    /// of a Tokio runtime.
    pub fn connect(config: ConnectionSettings) -> Result<Self, RedisError> {
        let source = Source::new(&config)?;
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| RedisError::Configuration("there is no runtime to connect on"))?;
        let shared = Arc::new(Shared {
            source,
            channel: format!("{}josoor-auth:invalidate", config.prefix),
            prefix: config.prefix,
            timeout: config.timeout,
            link: watch::Sender::new(None),
            epoch: AtomicU64::new(0),
            examine_now: Notify::new(),
            relinked: Notify::new(),
            listeners: Mutex::default(),
        });
        let tasks = [
            runtime.spawn(keep_linked(Arc::clone(&shared))),
            runtime.spawn(keep_subscribed(Arc::clone(&shared))),
        ];
        Ok(Self {
            shared,
            _tasks: Arc::new(Tasks(tasks)),
        })
    }

    /// Whether its keys are spread over several servers, each of which fails by itself.
    pub fn is_sharded(&self) -> bool {
        self.shared.source.kind() == Kind::Cluster
    }

    /// The value of a key.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, RedisError> {
        let mut link = self.link()?;
        self.bounded("GET", async { link.run(&self.get_command(key)).await })
            .await
    }

    /// The values of two keys, in one round trip where they are on one server. Not a snapshot.
    pub async fn get_pair(
        &self,
        first: &str,
        second: &str,
    ) -> Result<(Option<Vec<u8>>, Option<Vec<u8>>), RedisError> {
        let (first, second) = (self.get_command(first), self.get_command(second));
        self.bounded("GET", async {
            match self.link_or_down()? {
                Link::Node(mut connection, _) => {
                    let mut pipeline = redis::pipe();
                    pipeline.add_command(first).add_command(second);
                    pipeline.query_async(&mut connection).await
                }
                mut link @ Link::Cluster(_) => {
                    let mut other = link.clone();
                    tokio::try_join!(link.run(&first), other.run(&second))
                }
            }
        })
        .await
    }

    /// Stores a value, whatever was there. `ttl` counts in milliseconds, one at least.
    pub async fn set(&self, key: &str, value: &[u8], ttl: Duration) -> Result<(), RedisError> {
        let mut link = self.link()?;
        self.bounded("SET", async {
            link.run(&self.set_command(key, value, ttl)).await
        })
        .await
    }

    /// Counts the connections for commands. What was read is of the connection of this number if the number was the
    /// same before and after; behind another one there may be another server, or one that has lost its memory.
    pub fn epoch(&self) -> u64 {
        self.shared.epoch.load(Ordering::Acquire)
    }

    /// Removes a key; succeeds too where there is none.
    pub async fn delete(&self, key: &str) -> Result<(), RedisError> {
        let mut link = self.link()?;
        let mut command = redis::cmd("DEL");
        command.arg(self.key(key));
        self.bounded("DEL", async { link.run(&command).await }).await
    }

    /// Removes every key of this service, as after a restore of the database while no node runs. How many there were.
    ///
    /// # Errors
    /// When a server does not answer; some keys may be removed then.
    pub async fn remove_all(&self) -> Result<u64, RedisError> {
        let mut removed = 0;
        for pattern in ["session:*", "user:*", "josoor-auth:*"] {
            let pattern = format!("{}{pattern}", escaped(&self.shared.prefix));
            let servers = self
                .bounded("CLUSTER", async { self.link_or_down()?.masters().await })
                .await?;
            for server in servers {
                let mut cursor = 0_u64;
                loop {
                    let mut scan = redis::cmd("SCAN");
                    scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(1000);
                    let found: (u64, Vec<Vec<u8>>) = self
                        .bounded("SCAN", async {
                            self.link_or_down()?.run_at(&scan, server.as_ref()).await
                        })
                        .await?;
                    // In a cluster each key of a command has to be of the same slot.
                    let at_once = if self.is_sharded() { 1 } else { CHUNK };
                    for keys in found.1.chunks(at_once) {
                        let mut command = redis::cmd("UNLINK");
                        command.arg(keys);
                        removed += self
                            .bounded("UNLINK", async {
                                self.link_or_down()?.run::<u64>(&command).await
                            })
                            .await?;
                    }
                    cursor = found.0;
                    if cursor == 0 {
                        break;
                    }
                }
            }
        }
        Ok(removed)
    }

    /// Stores many values, whatever was there, some hundreds at a time; the timeout counts for each such part. After
    /// an `Err` any of them may be stored.
    pub async fn set_many(&self, entries: Vec<(String, Vec<u8>, Duration)>) -> Result<(), RedisError> {
        for chunk in entries.chunks(CHUNK) {
            let commands = chunk
                .iter()
                .map(|(key, value, ttl)| self.set_command(key, value, *ttl));
            self.bounded("SET", async {
                match self.link_or_down()? {
                    Link::Node(mut connection, _) => {
                        let mut pipeline = redis::pipe();
                        for command in commands {
                            pipeline.add_command(command).ignore();
                        }
                        pipeline.query_async::<()>(&mut connection).await
                    }
                    link @ Link::Cluster(_) => {
                        let all = commands.map(|command| {
                            let mut link = link.clone();
                            async move { link.run::<()>(&command).await }
                        });
                        try_join_all(all).await.map(drop)
                    }
                }
            })
            .await?;
        }
        Ok(())
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
    ) -> Result<bool, RedisError> {
        let arguments = [
            version.to_string(),
            value.to_owned(),
            milliseconds(ttl).to_string(),
            retired.to_string(),
        ];
        self.eval(&SET_VERSIONED, key, &arguments).await
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
    ) -> Result<Option<i64>, RedisError> {
        let arguments = [
            expected.to_string(),
            version.to_string(),
            value.to_owned(),
            milliseconds(ttl).to_string(),
            ahead_at_most.to_string(),
        ];
        let behind: Option<String> = self.eval(&ADVANCE, key, &arguments).await?;
        behind
            .map(|text| text.parse().map_err(|_| RedisError::Garbage))
            .transpose()
    }

    /// Takes one from a bucket that gets one back after each `interval` and needs `capacity` to fill, by the store's own
    /// clock and in one step; else says after what time there is one. A bucket that is full again leaves nothing behind.
    /// A stored value that is none counts as full. In process there are no buckets, and nothing is refused.
    pub async fn take(
        &self,
        key: &str,
        interval: Duration,
        capacity: Duration,
    ) -> Result<Option<Duration>, RedisError> {
        let arguments = [interval.as_micros().to_string(), capacity.as_micros().to_string()];
        let wait: i64 = self.eval(&TAKE, key, &arguments).await?;
        let wait = u64::try_from(wait).map_err(|_| RedisError::Garbage)?;
        Ok((wait > 0).then(|| Duration::from_micros(wait)))
    }

    /// Runs a script on one key.
    async fn eval<T: redis::FromRedisValue>(
        &self,
        (script, code): &(Script, &'static str),
        key: &str,
        arguments: &[String],
    ) -> Result<T, RedisError> {
        let call = |name: &str, script: &str| {
            let mut command = redis::cmd(name);
            command.arg(script).arg(1).arg(self.key(key)).arg(arguments);
            command
        };
        let mut link = self.link()?;
        // EVAL, unlike SCRIPT LOAD, goes to the one server that holds the key, and caches the script there.
        self.bounded("EVALSHA", async {
            match link.run(&call("EVALSHA", script.get_hash())).await {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    link.run(&call("EVAL", code)).await
                }
                other => other,
            }
        })
        .await
    }

    /// Sends a payload to every listener on `<prefix>josoor-auth:invalidate` now, this node included.
    pub async fn publish(&self, payload: &str) -> Result<(), RedisError> {
        let mut link = self.link()?;
        let mut command = redis::cmd("PUBLISH");
        command.arg(&self.shared.channel).arg(payload);
        self.bounded("PUBLISH", async { link.run(&command).await }).await
    }

    fn add_listener(&self, sender: mpsc::UnboundedSender<RedisEvent>) {
        let mut listeners = self
            .shared
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if listeners.subscribed {
            // The receiver is in the caller's hands, so it cannot be closed.
            let _ = sender.send(RedisEvent::Subscribed);
        }
        listeners.senders.push(sender);
    }

    /// A listener of its own. It starts with [`RedisEvent::Subscribed`] when the subscription stands already; in process
    /// that is also the only event it ever gets.
    pub fn events(&self) -> RedisEvents {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.add_listener(sender);
        RedisEvents { receiver }
    }

    /// What is known about the connection now, without asking.
    pub fn state(&self) -> RedisState {
        RedisState {
            kind: self.shared.source.kind().as_str(),
            connected: self.shared.link.borrow().is_some(),
            subscribed: self
                .shared
                .listeners
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .subscribed,
        }
    }

    /// Waits until commands have a connection, `limit` at most; says whether they have.
    pub async fn wait_connected(&self, limit: Duration) -> bool {
        let mut link = self.shared.link.subscribe();
        let connected = tokio::time::timeout(limit, link.wait_for(Option::is_some)).await;
        matches!(connected, Ok(Ok(_)))
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.shared.prefix)
    }

    fn get_command(&self, key: &str) -> Cmd {
        let mut command = redis::cmd("GET");
        command.arg(self.key(key));
        command
    }

    fn set_command(&self, key: &str, value: &[u8], ttl: Duration) -> Cmd {
        let mut command = redis::cmd("SET");
        command
            .arg(self.key(key))
            .arg(value)
            .arg("PX")
            .arg(milliseconds(ttl));
        command
    }

    fn link(&self) -> Result<Link, RedisError> {
        self.link_or_down().map_err(|error| explain(&error))
    }

    fn link_or_down(&self) -> RedisResult<Link> {
        let link = self.shared.link.borrow().clone();
        link.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected).into())
    }

    /// Waits for the answer to a command as long as the configuration allows, and has the link examined when the answer calls for it.
    async fn bounded<T>(
        &self,
        command: &'static str,
        work: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, RedisError> {
        let mut step = steps::redis(command);
        let error = match tokio::time::timeout(self.shared.timeout, work).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error,
            Err(_) => std::io::Error::from(std::io::ErrorKind::TimedOut).into(),
        };
        step.fail(if error.is_timeout() { "timeout" } else { "_OTHER" });
        if !is_plain_refusal(&error) {
            self.shared.examine_now.notify_one();
        }
        Err(explain(&error))
    }
}

/// A text that a pattern of Redis takes as it is.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

fn milliseconds(ttl: Duration) -> u64 {
    let ttl = ttl.clamp(Duration::from_millis(1), LONGEST_TTL);
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)
}
