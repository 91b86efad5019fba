//! Counts over several tables, for the console.

use sqlx::QueryBuilder;

use super::conn::{Conn, built, execute, on};
use super::row::from_row;
use crate::domain::Timestamp;
use crate::error::Result;

/// How many users there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserCounts {
    /// All of them.
    pub total: i64,
    /// Who may sign in.
    pub active: i64,
    /// Whose address is not verified.
    pub unverified: i64,
    /// Who has not accepted the invitation yet.
    pub invited: i64,
    /// Active analysts.
    pub analysts: i64,
    /// Active administrators.
    pub admins: i64,
    /// Active administrators without a second factor.
    pub admins_without_factor: i64,
}

from_row!(UserCounts {
    total,
    active,
    unverified,
    invited,
    analysts,
    admins,
    admins_without_factor
});

/// What happened in a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanCounts {
    /// Sign-ins that succeeded.
    pub sign_ins: i64,
    /// Sign-ins that failed.
    pub failures: i64,
    /// Users who signed in at least once.
    pub active_users: i64,
}

from_row!(SpanCounts {
    sign_ins,
    failures,
    active_users
});

/// A row of `counted_days`.
struct CountedDay {
    day: i64,
    sign_ins: i64,
    failures: i64,
    active_users: i64,
}

from_row!(CountedDay {
    day,
    sign_ins,
    failures,
    active_users
});

impl CountedDay {
    const fn counts(&self) -> SpanCounts {
        SpanCounts {
            sign_ins: self.sign_ins,
            failures: self.failures,
            active_users: self.active_users,
        }
    }
}

impl Conn {
    /// Counts the users by kind.
    pub async fn count_users_by_kind(&mut self) -> Result<UserCounts> {
        const SQL: &str = "select count(*) as total, count(*) filter (where is_active) as active,
                count(*) filter (where email_verified_at is null) as unverified,
                count(*) filter (where invited_at is not null and accepted_at is null) as invited,
                count(*) filter (where is_active and role = 'analyst') as analysts,
                count(*) filter (where is_active and role = 'admin') as admins,
                count(*) filter (where is_active and role = 'admin' and mfa_at is null) as admins_without_factor
             from users where deleted_at is null";
        on!(self, sqlx::query_as(SQL), fetch_one)
    }

    /// Counts the sessions that are live.
    pub async fn count_live_sessions(&mut self, now: Timestamp) -> Result<i64> {
        const SQL: &str = "select count(*) from sessions
             where revoked_at is null and expires_at > $1 and idle_expires_at > $1";
        on!(self, sqlx::query_scalar(SQL).bind(now), fetch_one)
    }

    /// Counts the users who signed in from `from` on. Those who were deleted are not among them.
    pub async fn count_active_users(&mut self, from: Timestamp) -> Result<i64> {
        const SQL: &str = "select count(*) from users where last_login_at >= $1 and deleted_at is null";
        on!(self, sqlx::query_scalar(SQL).bind(from), fetch_one)
    }

    /// Counts the accounts that were created in each of these spans, which is given by its beginning and its end, and still are there.
    pub async fn count_new_users(&mut self, spans: &[(Timestamp, Timestamp)]) -> Result<Vec<i64>> {
        built!(
            self,
            {
                let mut query = QueryBuilder::new(
                    "select (select count(*) from users where created_at >= v.column2 and created_at < v.column3
                        and deleted_at is null) from (",
                );
                query.push_values(spans.iter().zip(0_i64..), |mut row, ((from, to), number)| {
                    row.push_bind(number).push_bind(*from).push_bind(*to);
                });
                query.push(") as v order by v.column1");
                query
            },
            // Every length is a statement of its own.
            build_query_scalar().persistent(false).fetch_all
        )
    }

    /// Counts what happened from `from` on and before `to`.
    pub async fn count_span(&mut self, from: Timestamp, to: Timestamp) -> Result<SpanCounts> {
        const SQL: &str = "select count(*) filter (where outcome = 'success') as sign_ins,
                count(*) filter (where outcome = 'failure') as failures,
                count(distinct case when outcome = 'success' then subject_id end) as active_users
             from audit where action = 'sign_in' and at >= $1 and at < $2";
        on!(self, sqlx::query_as(SQL).bind(from).bind(to), fetch_one)
    }

    /// What was counted of days that are over, from `first` on, by the number of the day since 1970.
    pub async fn counted_days(&mut self, first: i64) -> Result<Vec<(i64, SpanCounts)>> {
        const SQL: &str = "select day, sign_ins, failures, active_users from counted_days where day >= $1";
        let days: Vec<CountedDay> = on!(self, sqlx::query_as(SQL).bind(first), fetch_all)?;
        Ok(days.into_iter().map(|day| (day.day, day.counts())).collect())
    }

    /// Keeps what was counted of a day. What another node has kept of it stays.
    pub async fn keep_day(&mut self, day: i64, counts: SpanCounts) -> Result<()> {
        const SQL: &str =
            "insert into counted_days (day, sign_ins, failures, active_users) values ($1, $2, $3, $4)
             on conflict (day) do nothing";
        execute!(
            self,
            sqlx::query(SQL)
                .bind(day)
                .bind(counts.sign_ins)
                .bind(counts.failures)
                .bind(counts.active_users)
        )
        .map(drop)
    }

    /// Removes what was counted of days before this one; how many there were.
    pub async fn purge_days(&mut self, before: i64) -> Result<u64> {
        const SQL: &str = "delete from counted_days where day < $1";
        execute!(self, sqlx::query(SQL).bind(before))
    }
}
