//! Whether an installation does what the service needs of it, tried step by step.

use std::time::Duration;

use redis::PushKind;

use super::client::Redis;
use super::link::{payload, within};
use super::source::Source;
use super::types::{ConnectionSettings, RedisError};
use crate::crypto;

/// What was found, and what helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What Redis did not do, and why.
    pub found: String,
    /// What to do about it.
    pub remedy: &'static str,
}

/// For connecting, and for each step.
const PATIENCE: Duration = Duration::from_secs(3);

/// After this a key that was to live for [`SHORT_LIFE`] is gone.
const EXPIRED: Duration = Duration::from_millis(600);

const SHORT_LIFE: Duration = Duration::from_millis(100);

const RIGHTS: &str = "give the Redis user the commands, keys and channel that the page \"Deploy\" lists";

/// Tries all commands that the service uses, on keys of its own that no session has, which are gone a moment later.
///
/// # Errors
/// The first thing that does not work.
pub async fn examine(settings: &ConnectionSettings) -> Result<(), Trouble> {
    let settings = ConnectionSettings {
        timeout: settings.timeout.max(PATIENCE),
        ..settings.clone()
    };
    let configured = |error: RedisError| Trouble {
        found: error.to_string(),
        remedy: "check REDIS_URL",
    };
    let source = Source::new(&settings).map_err(configured)?;
    if let Err(reason) = within(PATIENCE, source.open()).await {
        return Err(not_connected(&reason));
    }
    let redis = Redis::connect(settings.clone()).map_err(configured)?;
    if !redis.wait_connected(PATIENCE).await {
        return Err(not_connected("no answer in time"));
    }
    let mark = u64::from_ne_bytes(crypto::random_bytes());
    try_keys(&redis, mark).await?;
    try_messages(
        &redis,
        &source,
        &format!("{}josoor-auth:invalidate", settings.prefix),
        mark,
    )
    .await
}

fn not_connected(reason: &str) -> Trouble {
    let remedy = if reason.contains("certificate") {
        "let SSL_CERT_FILE name the file of the authority that signed it, and REDIS_URL the name in the certificate"
    } else if reason.contains("WRONGPASS") || reason.contains("NOAUTH") {
        "correct the user and the password in REDIS_URL; # % : / @ in them are percent-encoded"
    } else if reason.contains("NOPERM") {
        RIGHTS
    } else {
        "check REDIS_URL and that the server runs; the service works without it, more slowly and with later invalidations"
    };
    Trouble {
        found: format!("does not answer: {reason}"),
        remedy,
    }
}

fn refused(what: &str, error: &RedisError) -> Trouble {
    let (reason, remedy) = match error {
        RedisError::Refused(code) if code == "NOPERM" => (
            "the user may not run it, or not on this key (NOPERM)".to_owned(),
            RIGHTS,
        ),
        RedisError::Unavailable(code) if code == "READONLY" => (
            "the server is a replica, which takes no writes (READONLY)".to_owned(),
            "let REDIS_URL name the primary, or the Sentinels",
        ),
        RedisError::Refused(code) if code == "OOM" => (
            "its memory is full (OOM)".to_owned(),
            "raise maxmemory, or set maxmemory-policy to volatile-ttl",
        ),
        other => (other.to_string(), "check the server's log"),
    };
    Trouble {
        found: format!("refuses {what}: {reason}"),
        remedy,
    }
}

async fn try_keys(redis: &Redis, mark: u64) -> Result<(), Trouble> {
    let value = mark.to_string();
    let garbage = |what: &str| Trouble {
        found: format!("{what} does not do what it does in Redis"),
        remedy: "use Redis 6 or newer, or Valkey",
    };
    for key in [
        format!("session:{mark}"),
        "user:0".to_owned(),
        format!("josoor-auth:limit:doctor:{mark}"),
    ] {
        redis
            .set(&key, value.as_bytes(), SHORT_LIFE * 50)
            .await
            .map_err(|error| refused("SET", &error))?;
        let read = redis.get(&key).await.map_err(|error| refused("GET", &error))?;
        if read.as_deref() != Some(value.as_bytes()) {
            return Err(garbage("SET with GET"));
        }
        let versioned = redis
            .set_versioned(&key, 1, 0, "{\"version\":1}", SHORT_LIFE * 50)
            .await;
        versioned.map_err(|error| refused("a script (EVAL, EVALSHA)", &error))?;
        redis.delete(&key).await.map_err(|error| refused("DEL", &error))?;
    }
    let bucket = format!("josoor-auth:limit:doctor:{mark}");
    let taken = redis.take(&bucket, SHORT_LIFE, SHORT_LIFE).await;
    taken.map_err(|error| refused("TIME in a script", &error))?;
    // It asks for nothing that is not so already, so nothing is stored.
    let watermark = redis
        .advance("josoor-auth:applied", 0, 0, "{}", SHORT_LIFE, i64::MAX >> 12)
        .await;
    watermark.map_err(|error| refused("a script on josoor-auth:applied", &error))?;
    let key = format!("session:{mark}");
    let set = redis.set(&key, value.as_bytes(), SHORT_LIFE).await;
    set.map_err(|error| refused("SET", &error))?;
    tokio::time::sleep(EXPIRED).await;
    match redis.get(&key).await {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(garbage("the end of a key (SET with PX)")),
        Err(error) => Err(refused("GET", &error)),
    }
}

async fn try_messages(redis: &Redis, source: &Source, channel: &str, mark: u64) -> Result<(), Trouble> {
    let denied = |reason: String| {
        if reason.contains("NOPERM") {
            return Trouble {
                found: format!(
                    "refuses SUBSCRIBE to {channel}: the user may not use the channel or the command (NOPERM)"
                ),
                remedy: "give the Redis user the channel, which Redis 7 gives to no new user: ACL SETUSER name &* (or the channel alone)",
            };
        }
        Trouble {
            found: format!("refuses SUBSCRIBE: {reason}"),
            remedy: "use Redis 6 or newer, or Valkey",
        }
    };
    let subscribed = within(PATIENCE, source.subscribe(channel, None)).await;
    let mut subscription = subscribed.map_err(denied)?;
    // No node understands it, and all ignore it.
    let text = format!("doctor:{mark}");
    redis
        .publish(&text)
        .await
        .map_err(|error| refused("PUBLISH", &error))?;
    let received = async {
        while let Some(push) = subscription.pushes.recv().await {
            if push.kind == PushKind::Message && payload(push.data).as_deref() == Some(&text) {
                return true;
            }
        }
        false
    };
    if tokio::time::timeout(PATIENCE, received).await == Ok(true) {
        return Ok(());
    }
    Err(Trouble {
        found: "does not deliver what is published".to_owned(),
        remedy: "let REDIS_URL name the server, not a proxy that has no publish and subscribe",
    })
}
