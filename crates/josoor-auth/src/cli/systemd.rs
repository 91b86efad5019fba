//! Tells systemd how the service is, where it asks (`Type=notify`, `WatchdogSec`): sd_notify(3). Elsewhere this does nothing.

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

/// Reports that the service is ready, then that it is alive as often as the watchdog wants, and at `stop` that it stops. A runtime
/// that hangs reports nothing, and systemd restarts the service.
pub(super) fn report(stop: CancellationToken) {
    notify(NotifyState::Ready);
    tokio::spawn(async move {
        if let Some(patience) = sd_notify::watchdog_enabled() {
            let mut ticks = tokio::time::interval(patience / 3);
            while stop.run_until_cancelled(ticks.tick()).await.is_some() {
                notify(NotifyState::Watchdog);
            }
        } else {
            stop.cancelled().await;
        }
        notify(NotifyState::Stopping);
    });
}

fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "systemd could not be notified");
    }
}
