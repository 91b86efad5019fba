//! The table `users`.

use std::collections::HashMap;

use sqlx::QueryBuilder;
use uuid::Uuid;

use super::codec::RoleColumn;
use super::{Conn, execute, from_row, on};
use crate::crypto;
use crate::domain::{Change, Email, FullName, Locale, Role, Timestamp, UserId};
use crate::error::{Error, Result};
use crate::hasher::PasswordHash;

/// A user, as stored.
#[derive(Clone, Debug)]
pub struct User {
    /// The id.
    pub id: UserId,
    /// The identifier for other systems; random, and the same for the account's whole life.
    pub uid: Uuid,
    /// The address as it was typed.
    pub email: String,
    /// Null for accounts that have no password yet.
    pub password_hash: Option<PasswordHash>,
    /// The name to show.
    pub full_name: Option<String>,
    /// What the user may do.
    pub role: Role,
    /// Whether the user may sign in.
    pub is_active: bool,
    /// When the address was proved.
    pub email_verified_at: Option<Timestamp>,
    /// The language of pages and mails.
    pub locale: Locale,
    /// Grows with every visible change.
    pub version: i64,
    /// When the account was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When another password was last set. An upgraded hash is of the same password.
    pub password_changed_at: Option<Timestamp>,
    /// When the account was deleted, if it was and can still be restored. Then it has no password and is not active.
    pub deleted_at: Option<Timestamp>,
    /// When a deleted account is removed for good.
    pub purge_at: Option<Timestamp>,
    /// Since when the account waits for its owner to recover it. Then it has no password and is not active.
    pub frozen_at: Option<Timestamp>,
}

struct UserRow {
    id: i64,
    uid: Uuid,
    email: String,
    password_hash: Option<String>,
    full_name: Option<String>,
    role: RoleColumn,
    is_active: bool,
    email_verified_at: Option<Timestamp>,
    locale: Locale,
    version: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
    password_changed_at: Option<Timestamp>,
    deleted_at: Option<Timestamp>,
    purge_at: Option<Timestamp>,
    frozen_at: Option<Timestamp>,
}

from_row!(UserRow {
    id,
    uid,
    email,
    password_hash,
    full_name,
    role,
    is_active,
    email_verified_at,
    locale,
    version,
    created_at,
    updated_at,
    password_changed_at,
    deleted_at,
    purge_at,
    frozen_at
});

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        // A node of the release before knows neither state, and an administrator there may have set one of these. A deletion
        // stands whatever it has set; an activation releases a frozen account, as it does here.
        let is_deleted = row.deleted_at.is_some();
        let is_active = row.is_active && !is_deleted;
        Self {
            id: UserId(row.id),
            uid: row.uid,
            email: row.email,
            password_hash: row
                .password_hash
                .filter(|_| !is_deleted)
                .map(PasswordHash::from_stored),
            full_name: row.full_name,
            role: row.role.0,
            is_active,
            email_verified_at: row.email_verified_at,
            locale: row.locale,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
            password_changed_at: row.password_changed_at,
            deleted_at: row.deleted_at,
            purge_at: row.purge_at,
            frozen_at: row.frozen_at.filter(|_| !row.is_active),
        }
    }
}

/// The columns of [`UserRow`], for every statement that gives one.
macro_rules! columns {
    () => {
        "id, uid, email, password_hash, full_name, role, is_active, email_verified_at, locale, version, created_at, updated_at, \
         password_changed_at, deleted_at, purge_at, frozen_at"
    };
}

/// What a new account begins with.
#[derive(Debug)]
pub struct NewUser<'a> {
    /// Its address.
    pub email: &'a Email,
    /// Null: cannot sign in until a password is set.
    pub password_hash: Option<&'a PasswordHash>,
    /// The name to show.
    pub full_name: Option<&'a FullName>,
    /// What the user may do.
    pub role: Role,
    /// The language of pages and mails.
    pub locale: Locale,
    /// When the address was proved, if it was.
    pub email_verified_at: Option<Timestamp>,
    /// Now.
    pub created_at: Timestamp,
}

/// The changes of one act; what is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserPatch {
    /// The name.
    pub full_name: Change<FullName>,
    /// The language.
    pub locale: Option<Locale>,
    /// The role.
    pub role: Option<Role>,
    /// Whether the user may sign in.
    pub is_active: Option<bool>,
}

/// Which users a list holds.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// Lower-case text that the address or the name contains.
    pub text: Option<String>,
    /// Only this role.
    pub role: Option<Role>,
    /// Only active, or only inactive, users.
    pub is_active: Option<bool>,
    /// Those that were deleted and can still be restored, instead of all others.
    pub deleted: bool,
}

impl UserFilter {
    /// Whether it asks for anything.
    const fn is_some(&self) -> bool {
        self.text.is_some() || self.role.is_some() || self.is_active.is_some() || self.deleted
    }
}

/// The order of a list. Ties are broken by id, so that pages neither repeat nor miss a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserSort {
    /// The column.
    pub column: &'static str,
    /// Largest first.
    pub descending: bool,
}

impl UserSort {
    /// What a list may be sorted by, and the column behind each name.
    pub const KEYS: [(&'static str, &'static str); 6] = [
        ("id", "id"),
        ("email", "email_key"),
        ("full_name", "full_name"),
        ("role", "role"),
        ("created_at", "created_at"),
        ("updated_at", "updated_at"),
    ];

    /// As SQL has it, for both engines alike, and so that an index gives it in either direction.
    fn order(self) -> String {
        let (column, direction) = (self.column, if self.descending { "desc" } else { "asc" });
        match column {
            "id" => format!(" order by id {direction}"),
            // The one that may be null.
            "full_name" => {
                format!(" order by (full_name is null), full_name {direction}, id {direction}")
            }
            _ => format!(" order by {column} {direction}, id {direction}"),
        }
    }

    /// Reads `created_at` or `-created_at`.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
        let (_, column) = Self::KEYS.into_iter().find(|(key, _)| *key == name)?;
        Some(Self { column, descending })
    }
}

pub(super) fn search_text(email_key: &str, full_name: Option<&str>) -> String {
    format!("{email_key}\n{}", full_name.unwrap_or_default().to_lowercase())
}

impl Conn {
    /// Adds a user; `None` when the address's canonical key is taken.
    pub async fn insert_user(&mut self, new: &NewUser<'_>) -> Result<Option<User>> {
        const SQL: &str = concat!(
            "insert into users (email, email_key, password_hash, full_name, search_text, role, is_active,
                email_verified_at, locale, version, created_at, updated_at, password_changed_at, uid)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1, $10, $10, $11, $12)
             on conflict (email_key) do nothing
             returning ",
            columns!()
        );
        let full_name = new.full_name.map(FullName::as_str);
        let password_changed_at = new.password_hash.map(|_| new.created_at);
        let row = on!(
            self,
            sqlx::query_as::<_, UserRow>(SQL)
                .bind(new.email.address())
                .bind(new.email.key())
                .bind(new.password_hash.map(PasswordHash::as_str))
                .bind(full_name)
                .bind(search_text(new.email.key(), full_name))
                .bind(new.role.as_str())
                .bind(true)
                .bind(new.email_verified_at)
                .bind(new.locale.as_str())
                .bind(new.created_at)
                .bind(password_changed_at)
                // SQLite's `returning` gives a row as it is before triggers.
                .bind(uuid::Builder::from_random_bytes(crypto::random_bytes()).into_uuid()),
            fetch_optional
        )?;
        Ok(row.map(User::from))
    }

    /// The user with this id.
    pub async fn user_by_id(&mut self, id: UserId) -> Result<Option<User>> {
        const SQL: &str = concat!("select ", columns!(), " from users where id = $1");
        Ok(on!(self, sqlx::query_as::<_, UserRow>(SQL).bind(id.0), fetch_optional)?.map(User::from))
    }

    /// The user with this address, by its canonical key.
    pub async fn user_by_email(&mut self, email: &Email) -> Result<Option<User>> {
        const SQL: &str = concat!("select ", columns!(), " from users where email_key = $1");
        Ok(on!(
            self,
            sqlx::query_as::<_, UserRow>(SQL).bind(email.key()),
            fetch_optional
        )?
        .map(User::from))
    }

    /// Notes a sign-in, if the user is still what the password was checked against: same version, active. Holds the
    /// row until the transaction ends, so that a concurrent change comes before or after the whole sign-in.
    pub async fn claim_sign_in(&mut self, id: UserId, version: i64, now: Timestamp) -> Result<bool> {
        const SQL: &str = "update users set last_login_at = $3
             where id = $1 and version = $2 and is_active and deleted_at is null";
        Ok(execute!(self, sqlx::query(SQL).bind(id.0).bind(version).bind(now))? == 1)
    }

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

    /// Makes every other unit of work that changes this user, or locks it, wait until this one ends; gives the user.
    pub async fn lock_user(&mut self, id: UserId) -> Result<Option<User>> {
        const SQL: &str = concat!(
            "update users set version = version where id = $1 returning ",
            columns!()
        );
        Ok(on!(self, sqlx::query_as::<_, UserRow>(SQL).bind(id.0), fetch_optional)?.map(User::from))
    }

    /// Sets a password for whoever holds a link to the account's address, which is proved thereby. With `forget`, what was
    /// set before the proof goes. The user is locked.
    pub async fn reset_password_hash(
        &mut self,
        id: UserId,
        new: &PasswordHash,
        forget: bool,
        now: Timestamp,
    ) -> Result<Option<User>> {
        const SQL: &str = concat!(
            "update users set password_hash = $2, password_changed_at = $3, updated_at = $3, version = version + 1,
                email_verified_at = coalesce(email_verified_at, $3),
                full_name = case when $4 then null else full_name end,
                search_text = case when $4 then email_key else search_text end
             where id = $1 returning ",
            columns!()
        );
        Ok(on!(
            self,
            sqlx::query_as::<_, UserRow>(SQL)
                .bind(id.0)
                .bind(new.as_str())
                .bind(now)
                .bind(forget),
            fetch_optional
        )?
        .map(User::from))
    }

    /// Notes that a user's address was proved. The user is locked.
    pub async fn verify_email(&mut self, id: UserId, now: Timestamp) -> Result<Option<User>> {
        const SQL: &str = concat!(
            "update users set email_verified_at = $2, updated_at = $2, version = version + 1 where id = $1 returning ",
            columns!()
        );
        Ok(on!(
            self,
            sqlx::query_as::<_, UserRow>(SQL).bind(id.0).bind(now),
            fetch_optional
        )?
        .map(User::from))
    }

    /// Gives a user, who is locked, another address, proved at `verified_at`. `None` when somebody else has it; after that
    /// the unit of work can only be given up.
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
            sqlx::query_as::<_, UserRow>(SQL)
                .bind(user.id.0)
                .bind(email.address())
                .bind(email.key())
                .bind(search_text(email.key(), user.full_name.as_deref()))
                .bind(verified_at)
                .bind(now),
            fetch_optional
        );
        match row {
            Ok(row) => Ok(row.map(User::from)),
            // Another transaction took it between the look and the commit.
            Err(Error::Internal(cause)) if super::is_unique_violation(&cause) => Ok(None),
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

    /// Applies a patch and gives the user as it was before and as it is now; `None` when there is no such user, or when it was
    /// deleted. The version grows only when something really changes. Whether a frozen account is active is the
    /// administrator's word from then on: an activation releases it, a deactivation ends its recovery.
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
        const KEY: &str = "select email_key from users where id = $1";
        // Another act may change the user between the read and the update; then this one looks again.
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
            let key: Option<String> = on!(self, sqlx::query_scalar(KEY).bind(id.0), fetch_optional)?;
            let Some(key) = key else { return Ok(None) };
            let row = on!(
                self,
                sqlx::query_as::<_, UserRow>(SQL)
                    .bind(id.0)
                    .bind(full_name.as_deref())
                    .bind(search_text(&key, full_name.as_deref()))
                    .bind(locale.as_str())
                    .bind(role.as_str())
                    .bind(is_active)
                    .bind(now)
                    .bind(before.version)
                    .bind(stays_frozen),
                fetch_optional
            )?;
            if let Some(row) = row {
                return Ok(Some((before, row.into())));
            }
        }
        Err(Error::StoreUnavailable(anyhow::anyhow!(
            "user {id} is being changed by many others"
        )))
    }

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
        Ok(on!(
            self,
            sqlx::query_as::<_, UserRow>(SQL)
                .bind(id.0)
                .bind(now)
                .bind(purge_at),
            fetch_optional
        )?
        .map(User::from))
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
        Ok(on!(
            self,
            sqlx::query_as::<_, UserRow>(SQL).bind(id.0).bind(now),
            fetch_optional
        )?
        .map(User::from))
    }

    /// Freezes a user, who is locked: without a password and inactive until the owner recovers the account.
    pub async fn freeze_user(&mut self, id: UserId, now: Timestamp) -> Result<Option<User>> {
        const SQL: &str = concat!(
            "update users set frozen_at = $2, password_hash = null, password_changed_at = $2, is_active = false,
                updated_at = $2, version = version + 1
             where id = $1 returning ",
            columns!()
        );
        Ok(on!(
            self,
            sqlx::query_as::<_, UserRow>(SQL).bind(id.0).bind(now),
            fetch_optional
        )?
        .map(User::from))
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
        Ok(on!(
            self,
            sqlx::query_as::<_, UserRow>(SQL)
                .bind(id.0)
                .bind(now)
                .bind(new.as_str()),
            fetch_optional
        )?
        .map(User::from))
    }

    /// Lets the owner of a frozen account, which is locked, set a password with a link alone. `None` when it is not frozen.
    pub async fn release_user(&mut self, id: UserId, now: Timestamp) -> Result<Option<User>> {
        const SQL: &str = concat!(
            "update users set frozen_at = null, is_active = true, updated_at = $2, version = version + 1
             where id = $1 and frozen_at is not null and not is_active and deleted_at is null returning ",
            columns!()
        );
        Ok(on!(
            self,
            sqlx::query_as::<_, UserRow>(SQL).bind(id.0).bind(now),
            fetch_optional
        )?
        .map(User::from))
    }

    /// Takes the password of a user, who is locked, away: nothing signs in until a link has set another one.
    pub async fn remove_password(&mut self, id: UserId, now: Timestamp) -> Result<Option<User>> {
        const SQL: &str = concat!(
            "update users set password_hash = null, password_changed_at = $2, updated_at = $2, version = version + 1
             where id = $1 returning ",
            columns!()
        );
        Ok(on!(
            self,
            sqlx::query_as::<_, UserRow>(SQL).bind(id.0).bind(now),
            fetch_optional
        )?
        .map(User::from))
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

    /// Removes a user and, with it, its sessions and tokens. Whether there was one.
    pub async fn delete_user(&mut self, id: UserId) -> Result<bool> {
        const SQL: &str = "delete from users where id = $1";
        Ok(execute!(self, sqlx::query(SQL).bind(id.0))? == 1)
    }

    /// The active administrators whose address is verified, up to `limit` of them, by id.
    pub async fn verified_admins(&mut self, limit: i64) -> Result<Vec<User>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from users where role = 'admin' and is_active and email_verified_at is not null order by id limit $1"
        );
        let rows: Vec<UserRow> = on!(self, sqlx::query_as(SQL).bind(limit), fetch_all)?;
        Ok(rows.into_iter().map(User::from).collect())
    }

    /// How many administrators are active. Decide on it only after [`Conn::pass_guard`]`("admins")`.
    pub async fn count_active_admins(&mut self) -> Result<i64> {
        const SQL: &str = "select count(*) from users where role = 'admin' and is_active";
        on!(self, sqlx::query_scalar(SQL), fetch_one)
    }

    /// How many of the active administrators have a password: an invitation that nobody has redeemed manages nobody.
    /// Decide on it only after [`Conn::pass_guard`]`("admins")`.
    pub async fn count_admins_with_password(&mut self) -> Result<i64> {
        const SQL: &str =
            "select count(*) from users where role = 'admin' and is_active and password_hash is not null";
        on!(self, sqlx::query_scalar(SQL), fetch_one)
    }

    /// How many users there are.
    pub async fn count_users(&mut self) -> Result<i64> {
        const SQL: &str = "select count(*) from users";
        on!(self, sqlx::query_scalar(SQL), fetch_one)
    }

    /// One page of the users that a filter lets through, and how many there are in all.
    pub async fn list_users(
        &mut self,
        filter: &UserFilter,
        sort: UserSort,
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<User>, i64)> {
        let total: i64 = match self.raw() {
            super::Raw::Postgres(c) => {
                let mut query = counting("", filter, GRAMS_POSTGRES);
                query.build_query_scalar().fetch_one(&mut *c).await
            }
            super::Raw::Sqlite(c) => {
                let mut query = counting("", filter, GRAMS_SQLITE);
                query.build_query_scalar().fetch_one(&mut *c).await
            }
        }
        .map_err(super::store_error)?;
        let page = Page { limit, offset };
        let rows: Vec<UserRow> = match self.raw() {
            super::Raw::Postgres(c) => {
                let mut query = listing("", columns!(), filter, sort, total, Some(page), GRAMS_POSTGRES);
                query.build_query_as().fetch_all(&mut *c).await
            }
            super::Raw::Sqlite(c) => {
                let mut query = listing("", columns!(), filter, sort, total, Some(page), GRAMS_SQLITE);
                query.build_query_as().fetch_all(&mut *c).await
            }
        }
        .map_err(super::store_error)?;
        Ok((rows.into_iter().map(User::from).collect(), total))
    }

    /// How the engine would go about [`list_users`](Self::list_users), for a list of which `total` is known: the lines of its
    /// plans, for tests.
    #[doc(hidden)]
    pub async fn explain_list_users(
        &mut self,
        filter: &UserFilter,
        sort: UserSort,
        total: i64,
    ) -> Result<Vec<String>> {
        let page = Page { limit: 20, offset: 0 };
        let mut lines = Vec::new();
        match self.raw() {
            super::Raw::Postgres(c) => {
                for mut query in [
                    counting("explain ", filter, GRAMS_POSTGRES),
                    listing(
                        "explain ",
                        columns!(),
                        filter,
                        sort,
                        total,
                        Some(page),
                        GRAMS_POSTGRES,
                    ),
                ] {
                    let plan: Vec<String> = query
                        .build_query_scalar()
                        .fetch_all(&mut *c)
                        .await
                        .map_err(super::store_error)?;
                    lines.extend(plan);
                }
            }
            super::Raw::Sqlite(c) => {
                for mut query in [
                    counting("explain query plan ", filter, GRAMS_SQLITE),
                    listing(
                        "explain query plan ",
                        columns!(),
                        filter,
                        sort,
                        total,
                        Some(page),
                        GRAMS_SQLITE,
                    ),
                ] {
                    let plan: Vec<(i64, i64, i64, String)> = query
                        .build_query_as()
                        .fetch_all(&mut *c)
                        .await
                        .map_err(super::store_error)?;
                    lines.extend(plan.into_iter().map(|row| row.3));
                }
            }
        }
        Ok(lines)
    }
}

impl Conn {
    /// The ids of the users that a filter lets through, in order. Eight bytes for each: what follows can be read in pieces, and
    /// nobody is lost or met twice when others come and go meanwhile.
    pub async fn list_user_ids(&mut self, filter: &UserFilter, sort: UserSort) -> Result<Vec<i64>> {
        // All of them are wanted, so no index spares the sorting.
        match self.raw() {
            super::Raw::Postgres(c) => {
                let mut query = listing("", "id", filter, sort, 0, None, GRAMS_POSTGRES);
                query.build_query_scalar().fetch_all(&mut *c).await
            }
            super::Raw::Sqlite(c) => {
                let mut query = listing("", "id", filter, sort, 0, None, GRAMS_SQLITE);
                query.build_query_scalar().fetch_all(&mut *c).await
            }
        }
        .map_err(super::store_error)
    }

    /// The users with these ids that are still there, in the order of the ids.
    pub async fn users_by_ids(&mut self, ids: &[i64]) -> Result<Vec<User>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let head = concat!("select ", columns!(), " from users where id in (");
        let rows: Vec<UserRow> = match self.raw() {
            super::Raw::Postgres(c) => {
                let mut query = QueryBuilder::new(head);
                push_ids(&mut query, ids);
                query.build_query_as().fetch_all(&mut *c).await
            }
            super::Raw::Sqlite(c) => {
                let mut query = QueryBuilder::new(head);
                push_ids(&mut query, ids);
                query.build_query_as().fetch_all(&mut *c).await
            }
        }
        .map_err(super::store_error)?;
        let mut found: HashMap<i64, User> = rows.into_iter().map(|row| (row.id, row.into())).collect();
        Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
    }
}

fn push_ids<'a, E>(query: &mut QueryBuilder<E>, ids: &[i64])
where
    E: sqlx::Database,
    i64: sqlx::Encode<'a, E> + sqlx::Type<E>,
{
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(*id);
    }
    query.push(")");
}

/// Up to so many users that a filter lets through are gathered by its index and then sorted. Where there are more, the order's
/// index is followed, and a page is soon full.
const GATHERED: i64 = 10_000;

/// How to find the texts that may contain another one of at least three characters, by their groups of three.
type Grams = (&'static str, &'static str, fn(&str) -> String);

const GRAMS_POSTGRES: Grams = (
    " and josoor_auth_grams(search_text) @> josoor_auth_grams(",
    ")",
    str::to_owned,
);

const GRAMS_SQLITE: Grams = (
    " and id in (select rowid from users_search where users_search match ",
    ")",
    // A phrase in FTS5's syntax.
    |text| format!("\"{}\"", text.replace('"', "\"\"")),
);

#[derive(Clone, Copy)]
struct Page {
    limit: i64,
    offset: i64,
}

/// What a filter's parts are bound as.
trait Engine: sqlx::Database {}
impl Engine for sqlx::Postgres {}
impl Engine for sqlx::Sqlite {}

fn counting<E: Engine>(prefix: &str, filter: &UserFilter, grams: Grams) -> QueryBuilder<E>
where
    String: for<'q> sqlx::Encode<'q, E> + sqlx::Type<E>,
    bool: for<'q> sqlx::Encode<'q, E> + sqlx::Type<E>,
{
    let mut query = QueryBuilder::new(prefix);
    if filter.deleted {
        query.push("select count(*) from users where true");
        push_filter(&mut query, filter, Some(grams));
        return query;
    }
    // The deleted ones, which are few and have an index, are subtracted: so counting all the others reads the smallest index.
    query.push("select (select count(*) from users where true");
    push_conditions(&mut query, filter, Some(grams));
    query.push(") - (select count(*) from users where deleted_at is not null");
    push_conditions(&mut query, filter, Some(grams));
    query.push(")");
    query
}

fn listing<E: Engine>(
    prefix: &str,
    columns: &str,
    filter: &UserFilter,
    sort: UserSort,
    total: i64,
    page: Option<Page>,
    grams: Grams,
) -> QueryBuilder<E>
where
    String: for<'q> sqlx::Encode<'q, E> + sqlx::Type<E>,
    bool: for<'q> sqlx::Encode<'q, E> + sqlx::Type<E>,
    i64: for<'q> sqlx::Encode<'q, E> + sqlx::Type<E>,
{
    let is_gathered = filter.is_some() && total <= GATHERED;
    let mut query = QueryBuilder::new(prefix);
    if is_gathered {
        query.push("with found as materialized (select * from users where true");
        push_filter(&mut query, filter, Some(grams));
        query.push(format!(") select {columns} from found"));
    } else {
        query.push(format!("select {columns} from users where true"));
        push_filter(&mut query, filter, None);
    }
    query.push(sort.order());
    if let Some(page) = page {
        query.push(" limit ").push_bind(page.limit);
        query.push(" offset ").push_bind(page.offset);
    }
    query
}

/// With `grams` the filter's own indexes are to be used, and without them none of them.
fn push_filter<E: Engine>(query: &mut QueryBuilder<E>, filter: &UserFilter, grams: Option<Grams>)
where
    String: for<'q> sqlx::Encode<'q, E> + sqlx::Type<E>,
    bool: for<'q> sqlx::Encode<'q, E> + sqlx::Type<E>,
{
    query.push(if filter.deleted {
        " and deleted_at is not null"
    } else {
        " and deleted_at is null"
    });
    push_conditions(query, filter, grams);
}

/// [`push_filter`], whether a user was deleted or not.
fn push_conditions<E: Engine>(query: &mut QueryBuilder<E>, filter: &UserFilter, grams: Option<Grams>)
where
    String: for<'q> sqlx::Encode<'q, E> + sqlx::Type<E>,
    bool: for<'q> sqlx::Encode<'q, E> + sqlx::Type<E>,
{
    if let Some(text) = &filter.text {
        if let Some((before, after, phrase)) = grams
            && text.chars().count() >= 3
        {
            query.push(before).push_bind(phrase(text)).push(after);
        }
        let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        query
            .push(" and search_text like ")
            .push_bind(format!("%{escaped}%"))
            .push(" escape '\\'");
    }
    if let Some(role) = filter.role {
        let column = if grams.is_some() { "role" } else { "(role || '')" };
        query
            .push(format!(" and {column} = "))
            .push_bind(role.as_str().to_owned());
    }
    if let Some(is_active) = filter.is_active {
        query.push(" and is_active = ").push_bind(is_active);
    }
}
