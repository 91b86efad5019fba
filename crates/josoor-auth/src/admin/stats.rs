//! The counts of the console. What cannot change any more is counted once and cached; what can, is counted again after a few seconds,
//! however many consoles are open.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use crate::app::App;
use crate::cache::stats::{DaysCounts, Kept};
use crate::domain::Timestamp;
use crate::error::Result;
use crate::store::{Conn, SpanCounts, UserCounts};

/// The most days that can be asked for.
pub const DAYS_AT_MOST: i64 = 366;

/// How long the counts of what still changes count as fresh.
const FRESH: Duration = Duration::from_secs(5);

/// How long the sign-ins of days that are over count as fresh: old rows of the audit trail can still be pruned.
const KEPT: Duration = Duration::from_hours(1);

/// Counts over all days are kept for so many times as long as the counting took: at most a twentieth of the time is spent on it.
const PATIENCE: u32 = 20;

/// How long the count of administrators without a second factor counts as fresh: `/readyz` is read by load balancers.
const KEPT_FACTORS: Duration = Duration::from_secs(15);

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
    /// Days in UTC, the earliest first; the last one is today.
    pub days: Vec<DayCounts>,
    /// Users who signed in at least once in these days: each is counted once.
    pub active_users: i64,
}

/// What happened on a day.
#[derive(Clone, Copy, Debug)]
pub struct DayCounts {
    /// Its beginning.
    pub begins: Timestamp,
    /// The sign-ins.
    pub sign_ins: SpanCounts,
    /// Accounts created that day that still are there.
    pub new_users: i64,
}

/// The counts of now and of the last `days` days, today included.
pub async fn collect(app: &App, days: i64) -> Result<Stats> {
    let now = app.clock.now();
    let today = now.as_micros().div_euclid(micros(DAY));
    let wanted = (today - days.clamp(1, DAYS_AT_MOST) + 1)..=today;
    let mut conn = app.db.read().await?;
    let (users, sessions) = count_now(app, &mut conn, now).await?;
    let over_days = count_over_days(app, &mut conn, now, &wanted).await?;
    let mut series = Vec::new();
    for (number, new_users) in wanted.zip(over_days.new_users) {
        series.push(DayCounts {
            begins: begin_of(number),
            sign_ins: count_sign_ins(app, &mut conn, now, number == today, begin_of(number)).await?,
            new_users,
        });
    }
    let oldest = begin_of(today - DAYS_AT_MOST);
    app.stats
        .with(|counts| counts.days.retain(|begins, _| *begins >= oldest));
    Ok(Stats {
        at: now,
        users,
        sessions,
        days: series,
        active_users: over_days.active_users,
    })
}

/// How many active administrators have no second factor; the count may be some seconds old.
///
/// # Errors
/// `StoreUnavailable`.
pub async fn admins_without_factor(app: &App) -> Result<i64> {
    let now = app.clock.now();
    let known = app.stats.with(|counts| {
        counts
            .admins_without_factor
            .as_ref()
            .and_then(|known| known.at(now))
    });
    if let Some(known) = known {
        return Ok(known);
    }
    let counted = app.db.read().await?.count_admins_without_factor().await?;
    app.stats
        .with(|counts| counts.admins_without_factor = Some(Kept::new(counted, now, KEPT_FACTORS)));
    Ok(counted)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn begin_of(day: i64) -> Timestamp {
    Timestamp::from_micros(day.saturating_mul(micros(DAY)))
}

async fn count_now(app: &App, conn: &mut Conn, now: Timestamp) -> Result<(UserCounts, i64)> {
    if let Some(known) = app
        .stats
        .with(|counts| counts.now.and_then(|known| known.at(now)))
    {
        return Ok(known);
    }
    let counted = (
        conn.count_users_by_kind().await?,
        conn.count_live_sessions(now).await?,
    );
    app.stats
        .with(|counts| counts.now = Some(Kept::new(counted, now, FRESH)));
    Ok(counted)
}

/// Accounts can be added to any day, because an import keeps the times at which they were created, and taken away from any: so all days
/// are counted again.
async fn count_over_days(
    app: &App,
    conn: &mut Conn,
    now: Timestamp,
    days: &RangeInclusive<i64>,
) -> Result<DaysCounts> {
    let known = app
        .stats
        .with(|counts| counts.over_days.get(days).and_then(|known| known.at(now)));
    if let Some(known) = known {
        return Ok(known);
    }
    let begun = Instant::now();
    let spans: Vec<(Timestamp, Timestamp)> = days
        .clone()
        .map(|day| (begin_of(day), begin_of(day + 1)))
        .collect();
    let counted = DaysCounts {
        new_users: conn.count_new_users(&spans).await?,
        active_users: conn
            .count_active_users(begin_of(*days.start()), begin_of(days.end() + 1))
            .await?,
    };
    let life = begun.elapsed().saturating_mul(PATIENCE).clamp(FRESH, KEPT);
    app.stats.with(|counts| {
        counts.over_days.retain(|_, known| known.at(now).is_some());
        counts
            .over_days
            .insert(days.clone(), Kept::new(counted.clone(), now, life));
    });
    Ok(counted)
}

async fn count_sign_ins(
    app: &App,
    conn: &mut Conn,
    now: Timestamp,
    is_today: bool,
    begins: Timestamp,
) -> Result<SpanCounts> {
    let known = app
        .stats
        .with(|counts| counts.days.get(&begins).and_then(|known| known.at(now)));
    if let Some(known) = known {
        return Ok(known);
    }
    let counted = conn.count_span(begins, begins.plus(DAY)).await?;
    let life = if is_today { FRESH } else { KEPT };
    app.stats
        .with(|counts| counts.days.insert(begins, Kept::new(counted, now, life)));
    Ok(counted)
}
