//! `[redis]` and `[cache]`.

use std::time::Duration;

pub(super) use josoor_auth_verify::RedisKind;
use josoor_auth_verify::{RedisUrl, RedisUrlError};

use super::raw::{Parsed, Raw, refused};
use super::reader::Reader;
use super::urls::is_this_machine;
use super::values::{self, MILLI, SECOND, any_text, optional, text};
use crate::domain::Secret;

/// `[redis]`
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// Where Redis is; `None`: in process, one node only.
    pub url: Option<RedisTarget>,
    /// Put before every key and channel; may be empty.
    pub prefix: String,
    /// For one command.
    pub timeout: Duration,
}

/// Where Redis is. The URL has been read.
#[derive(Clone, Debug)]
pub struct RedisTarget {
    /// As it was given, in one of the forms of [`RedisUrl`].
    pub url: Secret,
    /// What it leads to.
    pub kind: RedisKind,
    /// Whether the connection crosses the network unencrypted: another machine, and no TLS.
    pub is_unencrypted: bool,
}

/// `[cache]`: this process's own copies of sessions and users.
#[derive(Clone, Copy, Debug)]
pub struct CacheConfig {
    /// How long a copy counts as fresh; at most 5 seconds, may be zero.
    pub near_ttl: Duration,
    /// Memory for the copies, in bytes.
    pub near_bytes: u64,
}

impl Reader<'_> {
    pub(super) fn redis(&mut self) -> Option<RedisConfig> {
        let url = self.read("redis.url", |raw| optional(raw, redis));
        let prefix = self.read("redis.prefix", redis_prefix);
        if let Some(Some(target)) = &url
            && target.is_unencrypted
        {
            self.warn(
                "redis.url",
                "sessions and the password cross the network unencrypted, and can be changed there; use rediss://",
            );
        }
        let timeout = self.duration("redis.timeout", 10 * MILLI, 10 * SECOND);
        Some(RedisConfig {
            url: url?,
            prefix: prefix?,
            timeout: timeout?,
        })
    }

    pub(super) fn cache(&mut self) -> Option<CacheConfig> {
        let near_ttl = self.duration("cache.near_ttl", Duration::ZERO, 5 * SECOND);
        let near_bytes = self.read("cache.near_bytes", |raw| values::size(raw, 1 << 20..=64 << 30));
        Some(CacheConfig {
            near_ttl: near_ttl?,
            near_bytes: near_bytes?,
        })
    }
}

fn redis(raw: &Raw) -> Parsed<RedisTarget> {
    let given = text(raw)?;
    match RedisUrl::parse(given) {
        Ok(url) => Ok(RedisTarget {
            url: Secret::new(given),
            kind: url.kind(),
            is_unencrypted: !url.is_tls() && url.hosts().iter().any(|(host, _)| !is_this_machine(host)),
        }),
        Err(RedisUrlError(reason)) => refused(
            format!("this is not a URL of Redis that can be used: {reason}"),
            "write redis://[user:password@]host[:port][/database], or another of the forms in config.default.toml",
        ),
    }
}

fn redis_prefix(raw: &Raw) -> Parsed<String> {
    let given = any_text(raw)?;
    let is_good = given.len() <= 64
        && given
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'.' | b'-'));
    if is_good {
        Ok(given.to_owned())
    } else {
        refused(
            "this is not a prefix for keys",
            "use at most 64 of the letters a to z and A to Z, digits, `:`, `_`, `.`, `-`",
        )
    }
}
