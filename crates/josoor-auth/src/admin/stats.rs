//! The counts of the console. A day that is over is counted once and cached; what still changes is counted again after a few
//! seconds, however many consoles are open.

use std::time::Duration;

use crate::app::App;
use crate::domain::Timestamp;
use crate::error::Result;
use crate::store::{SpanCounts, UserCounts};

/// The most days that can be asked for.
pub const DAYS_AT_MOST: i64 = 366;

/// How long the counts of what still changes count as fresh.
const FRESH: Duration = Duration::from_secs(5);

/// How long the counts of days that are over count as fresh: users can still be deleted, and old rows pruned.
const KEPT: Duration = Duration::from_hours(1);

const DAY: Duration = Duration::from_hours(24);

/// The counts at a moment.
#[derive(Clone, Debug)]
pub struct Stats {
    /// The moment.
    pub at: Timestamp,
    /// The users.
    pub users: UserCounts,
    /// The live sessions.
    pub sessions: i64,
    /// Days in UTC by their beginning, the earliest first; the last one is today.
    pub days: Vec<(Timestamp, SpanCounts)>,
}

/// The counts of now and of the last `days` days, today included.
pub async fn collect(app: &App, days: i64) -> Result<Stats> {
    let now = app.clock.now();
    let day = i64::try_from(DAY.as_micros()).unwrap_or(i64::MAX);
    let today = now.as_micros().div_euclid(day);
    let wanted = (today - days.clamp(1, DAYS_AT_MOST) + 1)..=today;
    let is_fresh = |at: Timestamp, life: Duration| at <= now && now.since(at) < life;

    let mut conn = app.db.read().await?;
    let known = app.stats.with(|counts| counts.now);
    let (users, sessions) = match known {
        Some((at, users, sessions)) if is_fresh(at, FRESH) => (users, sessions),
        _ => {
            let users = conn.count_users_by_kind().await?;
            let sessions = conn.count_live_sessions(now).await?;
            app.stats.with(|counts| counts.now = Some((now, users, sessions)));
            (users, sessions)
        }
    };
    let mut series = Vec::new();
    for number in wanted {
        let begins = Timestamp::from_micros(number.saturating_mul(day));
        let life = if number == today { FRESH } else { KEPT };
        let known = app.stats.with(|counts| counts.days.get(&begins).copied());
        let counts = match known {
            // Counted while the day was not over yet, it may lack its evening.
            Some((at, counts)) if is_fresh(at, life) && (number == today || at >= begins.plus(DAY)) => counts,
            _ => {
                let counts = conn.count_span(begins, begins.plus(DAY)).await?;
                app.stats
                    .with(|remembered| remembered.days.insert(begins, (now, counts)));
                counts
            }
        };
        series.push((begins, counts));
    }
    let oldest = Timestamp::from_micros((today - DAYS_AT_MOST).saturating_mul(day));
    app.stats
        .with(|counts| counts.days.retain(|begins, _| *begins >= oldest));
    Ok(Stats {
        at: now,
        users,
        sessions,
        days: series,
    })
}
