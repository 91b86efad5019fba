//! Backups by themselves.

use std::time::Duration;

use crate::app::App;
use crate::backup::schedule;
use crate::telemetry::codes;

/// How often the folder is read, at least: a clock may be set.
const CHECK_EVERY: Duration = Duration::from_secs(10);

/// After a backup that failed.
const RETRY_AFTER: Duration = Duration::from_mins(10);

/// Makes a backup each time one is due, where the settings ask for it.
pub(super) async fn back_up_regularly(app: App) {
    let settings = &app.config.backup;
    let folder = schedule::folder(settings, &app.config.database.url);
    let (Some(every), Some(folder)) = (settings.every, folder) else {
        return std::future::pending().await;
    };
    if let Some(latest) = schedule::latest(&folder) {
        app.metrics.backup_finished(latest);
    }
    loop {
        let due = schedule::due_in(
            schedule::latest(&folder),
            schedule::system_time(app.clock.now()),
            every,
        );
        if !due.is_zero() {
            tokio::time::sleep(due.min(CHECK_EVERY)).await;
            continue;
        }
        match schedule::make_next(&app, &folder).await {
            Ok(made) => {
                app.metrics
                    .backup_finished(schedule::system_time(app.clock.now()));
                tracing::info!(
                    folder = %folder.display(),
                    bytes = made.bytes,
                    users = made.manifest.rows("users"),
                    "a backup was made"
                );
            }
            Err(error) => {
                tracing::error!(
                    code = codes::BACKUP_FAILED,
                    folder = %folder.display(),
                    error = &error as &(dyn std::error::Error + 'static),
                    "no backup could be made; it is tried again"
                );
                tokio::time::sleep(RETRY_AFTER.min(every)).await;
            }
        }
    }
}
