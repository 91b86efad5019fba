//! The table `required_factors`: since when roles have had to have a second factor.

use super::conn::{Conn, execute, on};
use crate::domain::{Role, Timestamp};
use crate::error::Result;

impl Conn {
    /// Since when users of a role have had to have a second factor: a time that was noted before, else now.
    pub async fn note_required_factor(&mut self, role: Role, now: Timestamp) -> Result<Timestamp> {
        const NOTE: &str =
            "insert into required_factors (role, since) values ($1, $2) on conflict do nothing";
        const SINCE: &str = "select since from required_factors where role = $1";
        execute!(self, sqlx::query(NOTE).bind(role.as_str()).bind(now))?;
        on!(self, sqlx::query_scalar(SINCE).bind(role.as_str()), fetch_one)
    }

    /// How many active administrators have no second factor.
    pub async fn count_admins_without_factor(&mut self) -> Result<i64> {
        const SQL: &str = "select count(*) from users where role = 'admin' and is_active and mfa_at is null";
        on!(self, sqlx::query_scalar(SQL), fetch_one)
    }
}
