//! Signing keys: read again when one has changed, and replaced by age.

use std::time::Duration;

use tokio::time::Instant;

use crate::admin::keys::{self, Rotation};
use crate::app::App;
use crate::domain::Timestamp;
use crate::error::Result;
use crate::telemetry::codes;

/// How often it is seen whether keys have changed. With Redis a message says so at once, and this is for messages that get lost.
const EVERY_ALONE: Duration = Duration::from_millis(150);
const EVERY_WITH_REDIS: Duration = Duration::from_secs(1);

/// How often it is seen whether the key that signs is too old.
const AGE_EVERY: Duration = Duration::from_secs(30);

/// Follows the signing keys for as long as the service runs.
pub(super) async fn follow(app: App) {
    let every = if app.cache.redis().is_some() {
        EVERY_WITH_REDIS
    } else {
        EVERY_ALONE
    };
    let mut seen = None;
    let (mut is_failing, mut is_old_reported) = (false, false);
    let mut aged: Option<Instant> = None;
    loop {
        match app.keys.access.readings.run(read(&app, &mut seen)).await {
            Ok(()) => is_failing = false,
            Err(error) => {
                if !is_failing {
                    tracing::warn!(
                        code = codes::KEYS_NOT_READ,
                        error = &error as &(dyn std::error::Error + 'static),
                        "the signing keys cannot be read; those that were read stay in use"
                    );
                }
                is_failing = true;
            }
        }
        if aged.is_none_or(|at| at.elapsed() >= AGE_EVERY) {
            aged = Some(Instant::now());
            match keys::rotate_if_old(&app).await {
                Ok(None) => is_old_reported = false,
                Ok(Some(Rotation { kid, signs_from, .. })) => {
                    tracing::info!(%kid, %signs_from, "a new signing key is published");
                }
                Err(error) => {
                    if !is_old_reported {
                        tracing::error!(
                            code = codes::KEY_NOT_ROTATED,
                            error = &error as &(dyn std::error::Error + 'static),
                            "the signing key is too old and cannot be replaced; trying again"
                        );
                    }
                    is_old_reported = true;
                }
            }
        }
        tokio::select! {
            () = app.cache.keys_changed() => {}
            () = app.keys.access.readings.asked() => {}
            () = tokio::time::sleep(every) => {}
        }
    }
}

/// Reads the keys, where they have changed or one of their times has come.
async fn read(app: &App, seen: &mut Option<i64>) -> Result<()> {
    let mut conn = app.db.read().await?;
    let changes = conn.key_changes().await?;
    let now = app.clock.now();
    if *seen == Some(changes) && !app.keys.access.are_outdated(now) {
        return Ok(());
    }
    let rows = conn.all_keys().await?;
    drop(conn);
    let before = app.keys.access.signing_kid();
    if !app.keys.reload(&app.config, &rows, now)? {
        tracing::error!(
            code = codes::KEY_NOT_DECRYPTED,
            "a signing key cannot be decrypted: the master key was replaced. Give this node the new one and restart it"
        );
    }
    *seen = Some(changes);
    let since = app.keys.access.signing_since();
    app.metrics.signing_since(since.map_or(0, Timestamp::as_secs));
    let kid = app.keys.access.signing_kid();
    if kid != before {
        tracing::info!(%kid, "another key signs access tokens");
    }
    Ok(())
}
