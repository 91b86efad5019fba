//! The table `failed_sign_ins`: how often signing in has failed in a row, by canonical address.

use super::conn::{Conn, execute, on};
use crate::domain::Timestamp;
use crate::error::Result;

impl Conn {
    /// Counts a failed sign-in. Gives how many there are in a row.
    pub async fn count_failed_sign_in(&mut self, email_key: &str, now: Timestamp) -> Result<i64> {
        const SQL: &str = "insert into failed_sign_ins (email_key, count, last_at) values ($1, 1, $2)
             on conflict (email_key) do update set count = failed_sign_ins.count + 1, last_at = excluded.last_at
             returning count";
        on!(self, sqlx::query_scalar(SQL).bind(email_key).bind(now), fetch_one)
    }

    /// How many sign-ins have failed in a row.
    pub async fn failed_sign_ins(&mut self, email_key: &str) -> Result<i64> {
        const SQL: &str = "select count from failed_sign_ins where email_key = $1";
        let count: Option<i64> = on!(self, sqlx::query_scalar(SQL).bind(email_key), fetch_optional)?;
        Ok(count.unwrap_or(0))
    }

    /// Begins to count again.
    pub async fn clear_failed_sign_ins(&mut self, email_key: &str) -> Result<()> {
        const SQL: &str = "delete from failed_sign_ins where email_key = $1";
        execute!(self, sqlx::query(SQL).bind(email_key)).map(drop)
    }

    /// Removes up to `limit` counts of addresses without an account whose last failure was before a time. How many went.
    pub async fn purge_failed_sign_ins(&mut self, before: Timestamp, limit: i64) -> Result<u64> {
        const SQL: &str = "delete from failed_sign_ins where email_key in
            (select email_key from failed_sign_ins where last_at < $1
               and not exists (select 1 from users where users.email_key = failed_sign_ins.email_key)
             limit $2)";
        execute!(self, sqlx::query(SQL).bind(before).bind(limit))
    }
}
