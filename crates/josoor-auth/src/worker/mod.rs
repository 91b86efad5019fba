//! Everything that runs by itself beside the requests: started by `serve`, above the use cases.

mod backups;
mod copies;
mod keys;
mod open;
pub mod outbox;
pub mod purge;
mod refold;

use std::time::Duration;

use futures_util::FutureExt as _;

use crate::app::App;
use crate::audit;
use crate::telemetry::codes;

/// Between the end of a background task that should not have ended and its next start.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Starts the background tasks.
pub fn start(app: &App) {
    if app.cache.redis().is_some() {
        spawn(app, copies::listen);
    } else {
        // On a node alone there are no messages to miss.
        app.cache.on_subscribed();
    }
    spawn(app, copies::tail);
    spawn(app, copies::write_touches);
    spawn(app, copies::write_refreshed);
    spawn(app, purge::purge_regularly);
    spawn(app, refold::refold_regularly);
    spawn(app, outbox::deliver);
    spawn(app, outbox::watch);
    spawn(app, audit::seal_regularly);
    spawn(app, audit::stream_regularly);
    spawn(app, backups::back_up_regularly);
    spawn(app, keys::follow);
}

fn spawn<F>(app: &App, task: fn(App) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (app, work) = (app.clone(), app.clone());
    app.clone().finish(async move {
        let stop = app.stopping();
        // A panic in one of these must not go unnoticed: without its tail a node would serve stale copies.
        while !stop.is_cancelled() {
            let run = std::panic::AssertUnwindSafe(task(work.clone())).catch_unwind();
            tokio::select! {
                () = stop.cancelled() => return,
                _ = run => {}
            }
            tracing::error!(
                code = codes::BACKGROUND_TASK_RESTARTED,
                "a background task ended; it is started again"
            );
            app.cache.invalidate_redis();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RESTART_PAUSE) => {}
            }
        }
    });
}
