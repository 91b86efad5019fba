//! The time. The one place where this crate reads it; [`AuthLayer::clock`](crate::AuthLayer::clock) puts another in
//! its stead.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
#[cfg(feature = "axum")]
pub(crate) fn now() -> i64 {
    now_micros().div_euclid(1_000_000)
}

/// Microseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "this is the default clock itself")]
pub(crate) fn now_micros() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_micros()).ok())
        .unwrap_or_default()
}
