//! The alarm for failed sign-ins over the whole service: passwords that are tried from many networks at many accounts stay
//! below every other limit.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::Quota;
use crate::telemetry::Metrics;
use crate::telemetry::codes;

/// Whether more sign-ins fail than the setting says: one line in the log when it begins, one when it ends, and a gauge.
#[derive(Clone, Debug)]
pub(super) struct Alarm(Arc<State>);

#[derive(Debug)]
struct State {
    /// When the quota was last exceeded, while the alarm lasts.
    exceeded_at: Mutex<Option<Instant>>,
    metrics: Metrics,
}

impl Alarm {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self(Arc::new(State {
            exceeded_at: Mutex::default(),
            metrics,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.exceeded_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The quota was exceeded now. The alarm ends by itself after a window without that.
    pub(super) fn raise(&self, quota: Quota) {
        let lasts = self.lock().replace(Instant::now()).is_some();
        if lasts {
            return;
        }
        self.0.metrics.failed_sign_ins_alert(true);
        tracing::warn!(code = codes::FAILED_SIGN_INS_ALERT, alert_above = %quota, "failed sign-ins: more than usual over the whole service; passwords may be being tried at many accounts");
        let alarm = self.clone();
        tokio::spawn(async move {
            while let Some(left) = alarm.time_left(quota.window) {
                tokio::time::sleep(left).await;
            }
            tracing::warn!(
                code = codes::FAILED_SIGN_INS_NORMAL,
                "failed sign-ins: no more than usual again"
            );
        });
    }

    /// How long the alarm lasts at least; `None` when it has just ended.
    fn time_left(&self, window: Duration) -> Option<Duration> {
        let mut exceeded_at = self.lock();
        let left = exceeded_at.and_then(|at| window.checked_sub(at.elapsed()));
        if left.is_none() {
            *exceeded_at = None;
            self.0.metrics.failed_sign_ins_alert(false);
        }
        left
    }
}
