//! Folding what was written without it: rows from before the folding at an upgrade, then those of older nodes and of other programs.

use std::time::Duration;

use crate::app::App;
use crate::telemetry::codes;

/// How often it is checked whether there are any: one lookup in an index that is empty.
const EVERY: Duration = Duration::from_secs(2);

/// Users in one step: few enough not to delay other writers.
const STEP: i64 = 500;

/// The pause between two steps.
const PAUSE: Duration = Duration::from_millis(20);

/// Folds them, for ever.
pub(super) async fn refold_regularly(app: App) {
    let mut is_failing = false;
    loop {
        let pause = match app.db.refold_users(STEP).await {
            Ok(folded) => {
                is_failing = false;
                if folded > 0 { PAUSE } else { EVERY }
            }
            Err(error) => {
                if !is_failing {
                    tracing::warn!(
                        code = codes::SEARCH_NOT_FOLDED,
                        error = &error as &(dyn std::error::Error + 'static),
                        "search texts cannot be folded; trying again"
                    );
                }
                is_failing = true;
                EVERY
            }
        };
        tokio::time::sleep(pause).await;
    }
}
