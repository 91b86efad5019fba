//! Deleting, restoring, freezing and removing a user.

use super::user::{User, columns};
use crate::domain::{PasswordHash, Timestamp, UserId};
use crate::error::Result;
use crate::store::conn::{Conn, execute, on};

impl Conn {
    /// Marks a user, who is locked, as deleted until `purge_at`: without a password and inactive. `None` when it is already.
    pub async fn mark_deleted(
        &mut self,
        id: UserId,
        purge_at: Timestamp,
        now: Timestamp,
    ) -> Result<Option<User>> {
        const SQL: &str = concat!(
            "update users set deleted_at = $2, purge_at = $3, kept_password_hash = password_hash,
                kept_is_active = is_active, password_hash = null, is_active = false, updated_at = $2,
                version = version + 1
             where id = $1 and deleted_at is null returning ",
            columns!()
        );
        on!(
            self,
            sqlx::query_as(SQL).bind(id.0).bind(now).bind(purge_at),
            fetch_optional
        )
    }

    /// Restores a deleted user, who is locked, as it was. `None` when it is not deleted.
    pub async fn restore_deleted(&mut self, id: UserId, now: Timestamp) -> Result<Option<User>> {
        const SQL: &str = concat!(
            "update users set deleted_at = null, purge_at = null, password_hash = kept_password_hash,
                is_active = kept_is_active, kept_password_hash = null, kept_is_active = false, updated_at = $2,
                version = version + 1
             where id = $1 and deleted_at is not null returning ",
            columns!()
        );
        on!(self, sqlx::query_as(SQL).bind(id.0).bind(now), fetch_optional)
    }

    /// Freezes a user, who is locked: without a password and inactive until the owner recovers the account.
    pub async fn freeze_user(&mut self, id: UserId, now: Timestamp) -> Result<Option<User>> {
        const SQL: &str = concat!(
            "update users set frozen_at = $2, password_hash = null, password_changed_at = $2, is_active = false,
                updated_at = $2, version = version + 1
             where id = $1 returning ",
            columns!()
        );
        on!(self, sqlx::query_as(SQL).bind(id.0).bind(now), fetch_optional)
    }

    /// Sets the password with which its owner recovers a frozen account, which is locked, and which is active from then on.
    /// `None` when it is not frozen.
    pub async fn recover_user(
        &mut self,
        id: UserId,
        new: &PasswordHash,
        now: Timestamp,
    ) -> Result<Option<User>> {
        const SQL: &str = concat!(
            "update users set frozen_at = null, password_hash = $3, password_changed_at = $2, is_active = true,
                updated_at = $2, version = version + 1
             where id = $1 and frozen_at is not null and not is_active and deleted_at is null returning ",
            columns!()
        );
        on!(
            self,
            sqlx::query_as(SQL).bind(id.0).bind(now).bind(new.as_str()),
            fetch_optional
        )
    }

    /// Lets the owner of a frozen account, which is locked, set a password with a link alone. `None` when it is not frozen.
    pub async fn release_user(&mut self, id: UserId, now: Timestamp) -> Result<Option<User>> {
        const SQL: &str = concat!(
            "update users set frozen_at = null, is_active = true, updated_at = $2, version = version + 1
             where id = $1 and frozen_at is not null and not is_active and deleted_at is null returning ",
            columns!()
        );
        on!(self, sqlx::query_as(SQL).bind(id.0).bind(now), fetch_optional)
    }

    /// Up to `limit` deleted users whose time to be restored has passed.
    pub async fn users_to_purge(&mut self, now: Timestamp, limit: i64) -> Result<Vec<UserId>> {
        const SQL: &str = "select id from users where purge_at <= $1 order by purge_at limit $2";
        let ids: Vec<i64> = on!(self, sqlx::query_scalar(SQL).bind(now).bind(limit), fetch_all)?;
        Ok(ids.into_iter().map(UserId).collect())
    }

    /// Removes a deleted user for good, if its time has passed. Of any number of nodes one removes it.
    pub async fn purge_user(&mut self, id: UserId, now: Timestamp) -> Result<bool> {
        const SQL: &str = "delete from users where id = $1 and purge_at <= $2";
        Ok(execute!(self, sqlx::query(SQL).bind(id.0).bind(now))? == 1)
    }

    /// Removes a user and, with it, its sessions and tokens. Whether there was one.
    pub async fn delete_user(&mut self, id: UserId) -> Result<bool> {
        const SQL: &str = "delete from users where id = $1";
        Ok(execute!(self, sqlx::query(SQL).bind(id.0))? == 1)
    }
}
