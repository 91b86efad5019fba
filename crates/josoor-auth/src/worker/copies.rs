//! Keeping the cached copies true: messages, the tail of `changes`, and what is written behind the answers.

use std::time::Duration;

use crate::app::App;
use crate::cache::{TailMemory, tail_every};
use crate::clock::Clock;
use crate::redis::RedisEvent;
use crate::telemetry::codes;

/// Follows the state of the invalidation channel and applies its messages.
pub(super) async fn listen(app: App) {
    let Some(redis) = app.cache.redis() else {
        return;
    };
    // However this ends, from then on the node may miss invalidations.
    let _guard = UnsubscribedGuard(&app);
    let mut events = redis.events();
    while let Some(event) = events.recv().await {
        match event {
            RedisEvent::Subscribed => app.cache.on_subscribed(),
            RedisEvent::Message(payload) => app.cache.on_message(&payload),
            RedisEvent::Lost => app.cache.on_unsubscribed(),
        }
    }
}

/// Marks the caches as unsubscribed when dropped.
struct UnsubscribedGuard<'a>(&'a App);

impl Drop for UnsubscribedGuard<'_> {
    fn drop(&mut self) {
        self.0.cache.on_unsubscribed();
    }
}

/// The longest that one round of writing notes of use may take. A connection whose other end has gone silent answers
/// never; giving it up costs a connection.
const ROUND_AT_MOST: Duration = Duration::from_secs(10);

/// The shortest pause between two rounds, however often something fails.
const TAIL_PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn tail(app: App) {
    let every = tail_every(app.cache.redis().is_none());
    let mut memory = TailMemory::default();
    let mut failing = false;
    let mut skewed = false;
    loop {
        match app.cache.tail(&mut memory).await {
            Ok(()) => {
                if failing {
                    tracing::info!("changes are read again");
                }
                failing = false;
                if app.clock.is_skewed() != skewed {
                    skewed = !skewed;
                    report_skew(&app.clock);
                }
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(
                        code = codes::CHANGES_NOT_READ,
                        error = &error as &(dyn std::error::Error + 'static),
                        "changes cannot be read; trying again each second"
                    );
                }
                failing = true;
            }
        }
        tokio::time::sleep(TAIL_PAUSE).await;
        let _ = tokio::time::timeout(every.saturating_sub(TAIL_PAUSE), app.cache.woken()).await;
    }
}

fn report_skew(clock: &Clock) {
    let seconds = clock.skew() / 1_000_000;
    if clock.is_skewed() {
        tracing::warn!(
            code = codes::CLOCK_SKEW,
            seconds,
            "this machine's clock differs from the database's, which the service goes by; programs that verify tokens \
             by this clock may reject good ones: let both machines follow a time server"
        );
    } else {
        tracing::info!("this machine's clock agrees with the database's again");
    }
}

/// Gathers for a moment, so that many notes share a transaction.
const TOUCH_PAUSE: Duration = Duration::from_millis(100);

/// Between two tries while the database is away.
const TOUCH_RETRY: Duration = Duration::from_secs(1);

/// The pause between two rounds of writing refreshed copies, in which more of them gather.
const REFRESHED_PAUSE: Duration = Duration::from_millis(2);

pub(super) async fn write_refreshed(app: App) {
    loop {
        app.cache.write_refreshed().await;
        tokio::time::sleep(REFRESHED_PAUSE).await;
    }
}

pub(super) async fn write_touches(app: App) {
    let mut failing = false;
    loop {
        app.cache.has_touches().await;
        let flushed = tokio::time::timeout(ROUND_AT_MOST, app.cache.flush_touches()).await;
        let failed = match flushed {
            Ok(Ok(())) => false,
            Ok(Err(error)) => {
                if !failing {
                    tracing::warn!(
                        code = codes::SESSION_USE_NOT_WRITTEN,
                        error = &error as &(dyn std::error::Error + 'static),
                        "notes of use cannot be written; trying again each second"
                    );
                }
                true
            }
            Err(_) => {
                if !failing {
                    tracing::warn!(
                        code = codes::SESSION_USE_NOT_WRITTEN,
                        "notes of use cannot be written in time; trying again each second"
                    );
                }
                app.cache.keep_flushing();
                true
            }
        };
        failing = failed;
        tokio::time::sleep(if failed { TOUCH_RETRY } else { TOUCH_PAUSE }).await;
    }
}
