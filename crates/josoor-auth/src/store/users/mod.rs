//! The table `users`.

mod credentials;
mod lifecycle;
mod list;

pub use list::{UserFilter, UserSort};
use uuid::Uuid;

use super::codec::RoleColumn;
use super::{Conn, execute, from_row, on};
use crate::crypto;
use crate::domain::{Change, Email, FullName, Locale, PasswordHash, Role, Timestamp, UserId};
use crate::error::{Error, Result};

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
use columns;

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

    /// Makes every other unit of work that changes this user, or locks it, wait until this one ends; gives the user.
    pub async fn lock_user(&mut self, id: UserId) -> Result<Option<User>> {
        const SQL: &str = concat!(
            "update users set version = version where id = $1 returning ",
            columns!()
        );
        Ok(on!(self, sqlx::query_as::<_, UserRow>(SQL).bind(id.0), fetch_optional)?.map(User::from))
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
}
