//! The password, the address and the second factor of a user.

use super::user::{User, columns};
use crate::domain::{Email, PasswordHash, SearchKeys, Timestamp, UserId};
use crate::error::{Error, Result};
use crate::store::conn::{Conn, execute, on};
use crate::store::failure::is_unique_violation;

impl Conn {
    /// Replaces a stored hash by one with the current parameters, if it is still the one that was verified.
    pub async fn upgrade_password_hash(
        &mut self,
        id: UserId,
        old: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<bool> {
        const SQL: &str = "update users set password_hash = $3 where id = $1 and password_hash = $2";
        Ok(execute!(
            self,
            sqlx::query(SQL).bind(id.0).bind(old.as_str()).bind(new.as_str())
        )? == 1)
    }

    /// Sets another password, if the stored one is still `old`. The version grows.
    pub async fn change_password_hash(
        &mut self,
        id: UserId,
        old: Option<&PasswordHash>,
        new: &PasswordHash,
        now: Timestamp,
    ) -> Result<bool> {
        const SQL: &str = "update users set password_hash = $3, password_changed_at = $4, updated_at = $4,
                version = version + 1
             where id = $1 and coalesce(password_hash, '') = $2";
        let old = old.map_or("", PasswordHash::as_str);
        Ok(execute!(
            self,
            sqlx::query(SQL).bind(id.0).bind(old).bind(new.as_str()).bind(now)
        )? == 1)
    }

    /// Sets a password for the holder of a link that was sent to the account's address, which is verified thereby. The user is
    /// locked.
    pub async fn reset_password_hash(
        &mut self,
        id: UserId,
        new: &PasswordHash,
        now: Timestamp,
    ) -> Result<Option<User>> {
        const SQL: &str = concat!(
            "update users set password_hash = $2, password_changed_at = $3, updated_at = $3, version = version + 1,
                email_verified_at = coalesce(email_verified_at, $3),
                accepted_at = case when invited_at is null then accepted_at else coalesce(accepted_at, $3) end
             where id = $1 returning ",
            columns!()
        );
        on!(
            self,
            sqlx::query_as(SQL).bind(id.0).bind(new.as_str()).bind(now),
            fetch_optional
        )
    }

    /// Marks the address of a user, who is locked, as verified.
    pub async fn verify_email(&mut self, id: UserId, now: Timestamp) -> Result<Option<User>> {
        const SQL: &str = concat!(
            "update users set email_verified_at = $2, updated_at = $2, version = version + 1 where id = $1 returning ",
            columns!()
        );
        on!(self, sqlx::query_as(SQL).bind(id.0).bind(now), fetch_optional)
    }

    /// Gives a user, who is locked, another address, verified at `verified_at`. `None` when it is taken; after that the unit
    /// of work can only be rolled back.
    pub async fn change_email(
        &mut self,
        user: &User,
        email: &Email,
        verified_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<User>> {
        const SQL: &str = concat!(
            "update users set email = $2, email_key = $3, search_text = $4, email_verified_at = $5, updated_at = $6,
                version = version + 1
             where id = $1 and not exists (select 1 from users as other where other.email_key = $3 and other.id <> $1)
             returning ",
            columns!()
        );
        let row = on!(
            self,
            sqlx::query_as(SQL)
                .bind(user.id.0)
                .bind(email.address())
                .bind(email.key())
                .bind(SearchKeys::of(email.key(), user.full_name.as_deref()).text)
                .bind(verified_at)
                .bind(now),
            fetch_optional
        );
        match row {
            Ok(user) => Ok(user),
            // Another transaction took it between the check and the commit.
            Err(Error::Internal(cause)) if is_unique_violation(&cause) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Counts a request for another address by an account whose address is not verified; false, and nothing counted, when
    /// there were `at_most` already.
    pub async fn count_email_correction(&mut self, id: UserId, at_most: i64) -> Result<bool> {
        const SQL: &str = "insert into email_corrections (user_id, count) values ($1, 1)
             on conflict (user_id) do update set count = email_corrections.count + 1
             where email_corrections.count < $2";
        Ok(execute!(self, sqlx::query(SQL).bind(id.0).bind(at_most))? == 1)
    }

    /// Notes since when a user, who is locked, has had a second factor; `None`: there is none.
    pub async fn set_second_factor(
        &mut self,
        id: UserId,
        since: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<User>> {
        const SQL: &str = concat!(
            "update users set mfa_at = $2, updated_at = $3, version = version + 1 where id = $1 returning ",
            columns!()
        );
        on!(
            self,
            sqlx::query_as(SQL).bind(id.0).bind(since).bind(now),
            fetch_optional
        )
    }

    /// Verifies the address of a user, who is locked, and removes the password that was set before that.
    pub async fn claim_unverified(&mut self, id: UserId, now: Timestamp) -> Result<Option<User>> {
        const SQL: &str = concat!(
            "update users set password_hash = null, password_changed_at = $2, email_verified_at = $2, updated_at = $2,
                version = version + 1
             where id = $1 returning ",
            columns!()
        );
        on!(self, sqlx::query_as(SQL).bind(id.0).bind(now), fetch_optional)
    }

    /// Removes the password of a user, who is locked: a link sets another one.
    pub async fn remove_password(&mut self, id: UserId, now: Timestamp) -> Result<Option<User>> {
        const SQL: &str = concat!(
            "update users set password_hash = null, password_changed_at = $2, updated_at = $2, version = version + 1
             where id = $1 returning ",
            columns!()
        );
        on!(self, sqlx::query_as(SQL).bind(id.0).bind(now), fetch_optional)
    }
}
