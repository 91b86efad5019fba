//! Finding and locking users.

use super::user::{User, columns};
use crate::domain::{Email, Timestamp, UserId};
use crate::error::Result;
use crate::store::conn::{Conn, execute, on};

impl Conn {
    /// The user with this id.
    pub async fn user_by_id(&mut self, id: UserId) -> Result<Option<User>> {
        const SQL: &str = concat!("select ", columns!(), " from users where id = $1");
        on!(self, sqlx::query_as(SQL).bind(id.0), fetch_optional)
    }

    /// The user with this address, by its canonical key.
    pub async fn user_by_email(&mut self, email: &Email) -> Result<Option<User>> {
        const SQL: &str = concat!("select ", columns!(), " from users where email_key = $1");
        on!(self, sqlx::query_as(SQL).bind(email.key()), fetch_optional)
    }

    /// Notes a sign-in, if the user is still what the password was checked against: same version, active. Holds the
    /// row until the transaction ends, so that a concurrent change comes before or after the whole sign-in.
    pub async fn claim_sign_in(&mut self, id: UserId, version: i64, now: Timestamp) -> Result<bool> {
        const SQL: &str = "update users set last_login_at = $3
             where id = $1 and version = $2 and is_active and deleted_at is null";
        Ok(execute!(self, sqlx::query(SQL).bind(id.0).bind(version).bind(now))? == 1)
    }

    /// Makes every other unit of work that changes this user, or locks it, wait until this one ends; gives the user.
    pub async fn lock_user(&mut self, id: UserId) -> Result<Option<User>> {
        const SQL: &str = concat!(
            "update users set version = version where id = $1 returning ",
            columns!()
        );
        on!(self, sqlx::query_as(SQL).bind(id.0), fetch_optional)
    }

    /// Claims the mail that tells a user, who is locked, of a sign-in from a new device: one in any `every`.
    pub async fn claim_new_device_mail(
        &mut self,
        id: UserId,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<bool> {
        const SQL: &str = "update users set new_device_mailed_at = $3
             where id = $1 and (new_device_mailed_at is null or new_device_mailed_at <= $2)";
        Ok(execute!(self, sqlx::query(SQL).bind(id.0).bind(since).bind(now))? == 1)
    }

    /// The active administrators whose address is verified, up to `limit` of them, by id.
    pub async fn verified_admins(&mut self, limit: i64) -> Result<Vec<User>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from users where role = 'admin' and is_active and email_verified_at is not null order by id limit $1"
        );
        on!(self, sqlx::query_as(SQL).bind(limit), fetch_all)
    }

    /// How many administrators are active. Decide on it only after [`Conn::pass_guard`]`("admins")`.
    pub async fn count_active_admins(&mut self) -> Result<i64> {
        const SQL: &str = "select count(*) from users where role = 'admin' and is_active";
        on!(self, sqlx::query_scalar(SQL), fetch_one)
    }

    /// How many of the active administrators have accepted their invitation, or needed none. Decide on it only after
    /// [`Conn::pass_guard`]`("admins")`.
    pub async fn count_accepted_admins(&mut self) -> Result<i64> {
        const SQL: &str = "select count(*) from users
             where role = 'admin' and is_active and (invited_at is null or accepted_at is not null)";
        on!(self, sqlx::query_scalar(SQL), fetch_one)
    }

    /// How many users there are.
    pub async fn count_users(&mut self) -> Result<i64> {
        const SQL: &str = "select count(*) from users";
        on!(self, sqlx::query_scalar(SQL), fetch_one)
    }
}
