//! Redis: what several nodes share without asking the database.
//!
//! This module moves bytes and messages and hides Redis. What the keys mean, and what is still valid after a
//! [`RedisEvent::Lost`], is decided by the caller.
//!
//! Needed of Redis: version 6 or newer (the subscription speaks RESP3), and for the user of the URL the commands
//! `GET SET DEL EVAL EVALSHA TIME PUBLISH SUBSCRIBE PING`, besides `ROLE` behind Sentinel and `CLUSTER` in a cluster.

mod client;
mod examine;
mod failure;
mod link;
mod scripts;
mod shared;
mod source;
#[cfg(test)]
mod tests;
mod types;

pub use self::client::Redis;
pub use self::examine::examine;
#[cfg(feature = "internals")]
pub use self::types::RedisEvents;
pub use self::types::{ConnectionSettings, RedisError, RedisEvent};
