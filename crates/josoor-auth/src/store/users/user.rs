//! What a user is: one definition, from which the columns follow.

use uuid::Uuid;

use crate::crypto;
use crate::domain::{Change, Email, FullName, Locale, PasswordHash, Profile, Role, Timestamp, UserId};
use crate::store::codec::RoleColumn;
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
}

impl User {
    /// Whether the owner has not accepted the invitation yet.
    pub const fn is_invited(&self) -> bool {
        self.invited_at.is_some() && self.accepted_at.is_none()
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
            locale: user.locale.as_str().to_owned(),
            created_at: user.created_at,
            updated_at: user.updated_at,
        }
    }
}

from_row!(User as columns => User::completed {
    id, uid, email, email_key, password_hash, full_name, role: RoleColumn, is_active, email_verified_at, locale, version,
    created_at, updated_at, password_changed_at, last_login_at, deleted_at, purge_at, frozen_at, invited_at, accepted_at
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

pub(crate) fn search_text(email_key: &str, full_name: Option<&str>) -> String {
    format!("{email_key}\n{}", full_name.unwrap_or_default().to_lowercase())
}
