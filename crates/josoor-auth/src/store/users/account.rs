//! Adding, finding and changing users.

use sqlx::QueryBuilder;

use super::user::{NewUser, User, UserPatch, columns, search_text};
use crate::domain::{Change, Email, FullName, PasswordHash, Timestamp, UserId};
use crate::error::{Error, Result};
use crate::store::conn::{Conn, built, execute, on};

impl Conn {
    /// Adds a user; `None` when the address's canonical key is taken.
    pub async fn insert_user(&mut self, new: &NewUser<'_>) -> Result<Option<User>> {
        Ok(self.insert_users(&[new]).await?.pop())
    }

    /// Adds users, as far as neither their ids nor their addresses are taken; gives those that were added. All of them bring an id,
    /// or none does.
    pub async fn insert_users(&mut self, users: &[&NewUser<'_>]) -> Result<Vec<User>> {
        let Some(first) = users.first() else {
            return Ok(Vec::new());
        };
        let id = if first.id.is_some() { "id, " } else { "" };
        built!(
            self,
            {
                let mut query = QueryBuilder::new("insert into users (");
                query.push(id).push(
                    "email, email_key, password_hash, full_name, search_text, role, is_active, email_verified_at, locale, version,
                     created_at, updated_at, password_changed_at, last_login_at, uid, invited_at) ",
                );
                query.push_values(users, |mut row, user| {
                    if let Some(id) = user.id {
                        row.push_bind(id.0);
                    }
                    let full_name = user.full_name.map(FullName::as_str);
                    row.push_bind(user.email.address())
                        .push_bind(user.email.key())
                        .push_bind(user.password_hash.map(PasswordHash::as_str))
                        .push_bind(full_name)
                        .push_bind(search_text(user.email.key(), full_name))
                        .push_bind(user.role.as_str())
                        .push_bind(user.is_active)
                        .push_bind(user.email_verified_at)
                        .push_bind(user.locale.as_str())
                        .push_bind(1_i64)
                        .push_bind(user.created_at)
                        .push_bind(user.updated_at)
                        .push_bind(
                            user.password_changed_at
                                .or(user.password_hash.map(|_| user.created_at)),
                        )
                        .push_bind(user.last_login_at)
                        .push_bind(user.uid)
                        .push_bind(user.password_hash.is_none().then_some(user.created_at));
                });
                query.push(concat!(" on conflict do nothing returning ", columns!()));
                query
            },
            build_query_as().fetch_all
        )
    }

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

    /// Applies a patch and gives the user as it was before and as it is now; `None` when there is no such user, or when it was
    /// deleted. The version grows only when something really changes. An administrator decides over
    /// a frozen account: an activation releases it, a deactivation ends its recovery.
    pub async fn update_user(
        &mut self,
        id: UserId,
        patch: &UserPatch,
        now: Timestamp,
    ) -> Result<Option<(User, User)>> {
        const SQL: &str = concat!(
            "update users set full_name = $2, search_text = $3, locale = $4, role = $5, is_active = $6,
                updated_at = $7, version = version + 1,
                frozen_at = case when $9 then frozen_at else null end
             where id = $1 and version = $8 and deleted_at is null
             returning ",
            columns!()
        );
        // Another act may change the user between the read and the update; then this one reads it again.
        for _ in 0..16 {
            let Some(before) = self
                .user_by_id(id)
                .await?
                .filter(|user| user.deleted_at.is_none())
            else {
                return Ok(None);
            };
            let stays_frozen = before.frozen_at.is_some() && patch.is_active.is_none();
            let full_name = match &patch.full_name {
                Change::Keep => before.full_name.clone(),
                Change::Clear => None,
                Change::Set(name) => Some(name.as_str().to_owned()),
            };
            let locale = patch.locale.unwrap_or(before.locale);
            let role = patch.role.unwrap_or(before.role);
            let is_active = patch.is_active.unwrap_or(before.is_active);
            let unchanged = full_name == before.full_name
                && locale == before.locale
                && role == before.role
                && is_active == before.is_active
                && stays_frozen == before.frozen_at.is_some();
            if unchanged {
                return Ok(Some((before.clone(), before)));
            }
            let row = on!(
                self,
                sqlx::query_as(SQL)
                    .bind(id.0)
                    .bind(full_name.as_deref())
                    .bind(search_text(&before.email_key, full_name.as_deref()))
                    .bind(locale.as_str())
                    .bind(role.as_str())
                    .bind(is_active)
                    .bind(now)
                    .bind(before.version)
                    .bind(stays_frozen),
                fetch_optional
            )?;
            if let Some(row) = row {
                return Ok(Some((before, row)));
            }
        }
        Err(Error::StoreUnavailable(anyhow::anyhow!(
            "user {id} is being changed by many others"
        )))
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
