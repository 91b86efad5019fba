//! The counts of the console. What cannot change any more is counted once and stored by day; what can, is counted again after a few
//! seconds, however many consoles are open.

use std::collections::HashSet;
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

/// How long a node uses what it knows of days that are over.
const KEPT: Duration = Duration::from_hours(1);

/// Counts of all users and over all days are kept for so many times as long as the counting took: at most a twentieth of the time is
/// spent on each.
const PATIENCE: u32 = 20;

/// How long the count of administrators without a second factor counts as fresh: `/readyz` is read by load balancers.
const KEPT_FACTORS: Duration = Duration::from_secs(15);

const DAY: Duration = Duration::from_hours(24);

/// How long after its end a day is stored: what happened in it has been committed by then.
const SETTLED: Duration = Duration::from_mins(10);

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
    let sign_ins = count_sign_ins(app, &mut conn, now, &wanted).await?;
    let series = wanted
        .zip(over_days.new_users)
        .zip(sign_ins)
        .map(|((number, new_users), sign_ins)| DayCounts {
            begins: begin_of(number),
            sign_ins,
            new_users,
        })
        .collect();
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
    let begun = Instant::now();
    let counted = (
        conn.count_users_by_kind().await?,
        conn.count_live_sessions(now).await?,
    );
    app.stats
        .with(|counts| counts.now = Some(Kept::new(counted, now, life_of(begun))));
    Ok(counted)
}

/// How long to keep what was counted since `begun`.
fn life_of(begun: Instant) -> Duration {
    begun.elapsed().saturating_mul(PATIENCE).clamp(FRESH, KEPT)
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
        active_users: conn.count_active_users(begin_of(*days.start())).await?,
    };
    let life = life_of(begun);
    app.stats.with(|counts| {
        counts.over_days.retain(|_, known| known.at(now).is_some());
        counts
            .over_days
            .insert(days.clone(), Kept::new(counted.clone(), now, life));
    });
    Ok(counted)
}

/// The sign-ins of each of these days.
async fn count_sign_ins(
    app: &App,
    conn: &mut Conn,
    now: Timestamp,
    days: &RangeInclusive<i64>,
) -> Result<Vec<SpanCounts>> {
    let known = |day: i64| {
        app.stats
            .with(|counts| counts.days.get(&begin_of(day)).and_then(|known| known.at(now)))
    };
    let keep = |day: i64, counted: SpanCounts| {
        let life = if begin_of(day + 1) <= now { KEPT } else { FRESH };
        app.stats
            .with(|counts| counts.days.insert(begin_of(day), Kept::new(counted, now, life)));
    };
    if days.clone().any(|day| day != *days.end() && known(day).is_none()) {
        for (day, counted) in conn.counted_days(*days.start()).await? {
            keep(day, counted);
        }
    }
    let mut series = Vec::new();
    for day in days.clone() {
        let counted = if let Some(known) = known(day) {
            known
        } else {
            let counted = conn.count_span(begin_of(day), begin_of(day + 1)).await?;
            keep(day, counted);
            counted
        };
        series.push(counted);
    }
    Ok(series)
}

/// Stores the sign-ins of days that are over and not stored yet, and removes those that cannot be asked for any more.
///
/// # Errors
/// `StoreUnavailable`; what was stored until then stays.
pub async fn store_days(app: &App) -> Result<()> {
    let now = app.clock.now();
    let today = now.as_micros().div_euclid(micros(DAY));
    let oldest = today - DAYS_AT_MOST;
    let stored = app.db.read().await?.counted_days(oldest).await?;
    let stored: HashSet<i64> = stored.into_iter().map(|(day, _)| day).collect();
    for day in oldest..today {
        if !stored.contains(&day) && begin_of(day + 1).plus(SETTLED) <= now {
            // One connection at a time: there may be no second one.
            let counted = async {
                let mut conn = app.db.read().await?;
                conn.count_span(begin_of(day), begin_of(day + 1)).await
            };
            let counted = counted.await?;
            app.db.write().await?.keep_day(day, counted).await?;
        }
    }
    app.db.write().await?.purge_days(oldest).await.map(drop)
}
