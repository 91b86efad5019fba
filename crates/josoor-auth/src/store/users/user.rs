//! What a user is: the columns, and the statements that write all that may be set. A new field of the user touches nothing else
//! in `store`.

use sqlx::QueryBuilder;
use uuid::Uuid;

use crate::crypto;
use crate::domain::{
    Change, Email, FullName, Locale, PasswordHash, Profile, Role, SearchKeys, Timestamp, UserId,
};
use crate::error::{Error, Result};
use crate::store::codec::RoleColumn;
use crate::store::conn::{Conn, built, execute, on};
use crate::store::row::from_row;

/// A user, as stored.
#[derive(Clone, Debug)]
pub struct User {
    /// The id.
    pub id: UserId,
    /// The identifier for other systems; random, and the same for the account's whole life.
    pub uid: Uuid,
    /// The address as it was typed.
    pub email: String,
    /// Its canonical form.
    pub email_key: String,
    /// Null for accounts that have no password yet.
    pub password_hash: Option<PasswordHash>,
    /// The name to show.
    pub full_name: Option<String>,
    /// What the user may do.
    pub role: Role,
    /// Whether the user may sign in.
    pub is_active: bool,
    /// When the address was verified.
    pub email_verified_at: Option<Timestamp>,
    /// The language of pages and mails.
    pub locale: Locale,
    /// Grows with every visible change: a copy with a lower version is stale.
    pub version: i64,
    /// When the account was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When another password was last set. An upgraded hash is of the same password.
    pub password_changed_at: Option<Timestamp>,
    /// When the user last signed in.
    pub last_login_at: Option<Timestamp>,
    /// When the account was deleted, if it was and can still be restored. Then it has no password and is not active.
    pub deleted_at: Option<Timestamp>,
    /// When a deleted account is removed for good.
    pub purge_at: Option<Timestamp>,
    /// Since when the account waits for its owner to recover it. Then it has no password and is not active.
    pub frozen_at: Option<Timestamp>,
    /// When an administrator, an operator or an import created the account for its owner, without a way to sign in.
    pub invited_at: Option<Timestamp>,
    /// When the owner of an account accepted the invitation.
    pub accepted_at: Option<Timestamp>,
    /// Since when the account has had a second factor without a break.
    pub mfa_at: Option<Timestamp>,
}

impl User {
    /// Whether the owner has not accepted the invitation yet.
    pub const fn is_invited(&self) -> bool {
        self.invited_at.is_some() && self.accepted_at.is_none()
    }

    /// Whether what users may change of themselves is the same: the name and the language.
    pub fn has_profile_of(&self, other: &Self) -> bool {
        self.full_name == other.full_name && self.locale == other.locale
    }

    /// A node of the release before knows neither deleted nor frozen accounts, and an administrator there may have changed one. A
    /// deletion stands whatever it has set; an activation releases a frozen account, as it does here.
    fn completed(self) -> Self {
        let is_deleted = self.deleted_at.is_some();
        Self {
            password_hash: self.password_hash.filter(|_| !is_deleted),
            frozen_at: self.frozen_at.filter(|_| !self.is_active),
            is_active: self.is_active && !is_deleted,
            ..self
        }
    }
}

impl From<&User> for Profile {
    fn from(user: &User) -> Self {
        Self {
            id: user.id.0,
            uid: user.uid,
            email: user.email.clone(),
            full_name: user.full_name.clone(),
            role: user.role,
            is_active: user.is_active,
            email_verified: user.email_verified_at.is_some(),
            mfa_enabled: user.mfa_at.is_some(),
            locale: user.locale.as_str().to_owned(),
            created_at: user.created_at,
            updated_at: user.updated_at,
        }
    }
}

from_row!(User as columns => User::completed {
    id, uid, email, email_key, password_hash, full_name, role: RoleColumn, is_active, email_verified_at, locale, version,
    created_at, updated_at, password_changed_at, last_login_at, deleted_at, purge_at, frozen_at, invited_at, accepted_at, mfa_at
});
pub(super) use columns;

/// What a new account begins with.
#[derive(Clone, Debug)]
pub struct NewUser<'a> {
    /// The id to keep; `None` gives the next one.
    pub id: Option<UserId>,
    /// The identifier for other systems.
    pub uid: Uuid,
    /// Its address.
    pub email: &'a Email,
    /// `None`: an invitation, which its owner accepts by setting a password.
    pub password_hash: Option<&'a PasswordHash>,
    /// The name to show.
    pub full_name: Option<&'a FullName>,
    /// What the user may do.
    pub role: Role,
    /// Whether the user may sign in.
    pub is_active: bool,
    /// When the address was verified, if it was.
    pub email_verified_at: Option<Timestamp>,
    /// The language of pages and mails.
    pub locale: Locale,
    /// When the account was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When the password was set; `None` stands for `created_at`.
    pub password_changed_at: Option<Timestamp>,
    /// When the user last signed in.
    pub last_login_at: Option<Timestamp>,
}

impl<'a> NewUser<'a> {
    /// An active user of the lowest role, with a fresh `uid` and nothing else.
    pub fn new(email: &'a Email, locale: Locale, now: Timestamp) -> Self {
        Self {
            id: None,
            uid: uuid::Builder::from_random_bytes(crypto::random_bytes()).into_uuid(),
            email,
            password_hash: None,
            full_name: None,
            role: Role::User,
            is_active: true,
            email_verified_at: None,
            locale,
            created_at: now,
            updated_at: now,
            password_changed_at: None,
            last_login_at: None,
        }
    }
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
                    "email, email_key, password_hash, full_name, search_text, name_key, role, is_active, email_verified_at, locale,
                     version, created_at, updated_at, password_changed_at, last_login_at, uid, invited_at) ",
                );
                query.push_values(users, |mut row, user| {
                    if let Some(id) = user.id {
                        row.push_bind(id.0);
                    }
                    let full_name = user.full_name.map(FullName::as_str);
                    let keys = SearchKeys::of(user.email.key(), full_name);
                    row.push_bind(user.email.address())
                        .push_bind(user.email.key())
                        .push_bind(user.password_hash.map(PasswordHash::as_str))
                        .push_bind(full_name)
                        .push_bind(keys.text)
                        .push_bind(keys.name)
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
            "update users set full_name = $2, search_text = $3, name_key = $10, locale = $4, role = $5, is_active = $6,
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
            let keys = SearchKeys::of(&before.email_key, full_name.as_deref());
            let row = on!(
                self,
                sqlx::query_as(SQL)
                    .bind(id.0)
                    .bind(full_name.as_deref())
                    .bind(keys.text.as_str())
                    .bind(locale.as_str())
                    .bind(role.as_str())
                    .bind(is_active)
                    .bind(now)
                    .bind(before.version)
                    .bind(stays_frozen)
                    .bind(keys.name.as_deref()),
                fetch_optional
            )?;
            if let Some(row) = row {
                return Ok(Some((before, row)));
            }
        }
        Err(Error::unavailable(anyhow::anyhow!(
            "user {id} is being changed by many others"
        )))
    }

    /// Clears what a user, who is locked, is shown with: the person who registered an address need not be its owner.
    pub async fn clear_profile(&mut self, user: &User) -> Result<()> {
        const SQL: &str =
            "update users set full_name = null, search_text = $2, name_key = null where id = $1";
        let keys = SearchKeys::of(&user.email_key, None);
        execute!(self, sqlx::query(SQL).bind(user.id.0).bind(keys.text)).map(drop)
    }
}
