//! Settings, errors, events and figures of the connection to Redis.

use std::time::Duration;

pub(super) use josoor_auth_verify::RedisKind as Kind;
use josoor_auth_verify::{RedisUrl, RedisUrlError};
use tokio::sync::mpsc;

use crate::domain::Secret;

/// How long a command may take unless the configuration says otherwise.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_millis(200);

/// Where the shared store is and how to use it.
///
/// The forms of the URL are those of [`RedisUrl`].
#[derive(Debug, Clone)]
pub struct ConnectionSettings {
    /// One of the forms above. Secret, because it may carry a password.
    pub url: Secret,
    /// Has to agree with the URL's scheme.
    pub kind: Kind,
    /// Put before every key and channel; may be empty.
    pub prefix: String,
    /// The longest that a command may take, zero excluded.
    pub timeout: Duration,
}

impl ConnectionSettings {
    /// The kind that the URL's scheme names and the default timeout. Refuses a scheme that is none of the above.
    pub fn new(url: Secret, prefix: impl Into<String>) -> Result<Self, RedisError> {
        let kind = read(&url)?.kind();
        Ok(Self {
            url,
            kind,
            prefix: prefix.into(),
            timeout: DEFAULT_TIMEOUT,
        })
    }
}

pub(super) fn read(url: &Secret) -> Result<RedisUrl, RedisError> {
    RedisUrl::parse(url.expose()).map_err(|RedisUrlError(reason)| RedisError::Configuration(reason))
}

/// Why the shared store did not do what was asked. Holds neither the URL nor a key nor a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedisError {
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

/// An event of the subscription to the invalidation channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisEvent {
    /// The server confirmed the subscription; what is published from now on arrives.
    Subscribed,
    /// A published payload. Bytes that are not UTF-8 come as U+FFFD.
    Message(String),
    /// Messages may have been missed since the last heartbeat, and none arrives until the next `Subscribed`.
    Lost,
}

/// The events of one listener, in order, without gaps: memory is the only bound.
#[derive(Debug)]
pub struct RedisEvents {
    pub(super) receiver: mpsc::UnboundedReceiver<RedisEvent>,
}

impl RedisEvents {
    /// The next event; `None` once every [`Redis`](super::Redis) of this connection is gone. Cancel-safe.
    pub async fn recv(&mut self) -> Option<RedisEvent> {
        self.receiver.recv().await
    }
}

/// What is known about the connection now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedisState {
    /// `single`, `cluster` or `sentinel`.
    pub kind: &'static str,
    /// Whether commands have a connection that answered its last heartbeat.
    pub connected: bool,
    /// Whether published invalidations arrive.
    pub subscribed: bool,
}
