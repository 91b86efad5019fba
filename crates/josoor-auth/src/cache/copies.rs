//! The cached copies of sessions and users.

use std::any::Any;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use josoor_auth_verify::{Claims, Versioned, is_retired};
use serde::{Deserialize, Serialize};

use crate::domain::{Profile, Role, SessionId, Timestamp, UserId};
use crate::error::{Refusal, Result};
use crate::store::User;

/// How long a user's copy stays in Redis without being written again.
pub(super) const USER_COPY_LIFE: Duration = Duration::from_hours(24);

/// The copy of a live session under `session:<sid>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SessionCopy {
    /// Whose it is.
    pub user_id: i64,
    /// For display.
    pub email: String,
    /// The role when the copy was written; informational. Authorisation reads [`UserCopy`].
    pub role: Role,
    /// When the user signed in.
    pub login_at: Timestamp,
    /// When the session ends if nothing more happens; a use moves it.
    pub expires_at: Timestamp,
    /// When the row was last touched, in microseconds since 1970: the higher of two is the newer copy.
    pub version: i64,
    /// Tokens of this generation and of earlier ones are refused; 0 for none. Absent in the copies of older releases.
    #[serde(default)]
    pub retired_generation: Option<i64>,
}

/// What stands under `session:<sid>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum SessionEntry {
    Tombstone { revoked: String },
    Live(SessionCopy),
}

/// The copy of a user under `user:<id>`. A copy that a node of the release before has written lacks `mfa_enabled`, and is read again
/// from the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserCopy {
    /// Grows with every change.
    pub version: i64,
    /// What is shown of the user.
    #[serde(flatten)]
    pub profile: Profile,
    /// Since when the account has had a second factor without a break, in seconds since 1970.
    #[serde(default)]
    pub factor_since: Option<i64>,
    /// What was made of this copy.
    #[serde(skip)]
    pub memo: Memo,
}

impl std::ops::Deref for UserCopy {
    type Target = Profile;

    fn deref(&self) -> &Profile {
        &self.profile
    }
}

/// A value derived from a copy, such as its JSON: computed once and kept as long as the copy, which never changes.
/// Says nothing about the copy itself.
#[derive(Default)]
pub struct Memo(OnceLock<Box<dyn Any + Send + Sync>>);

impl Memo {
    /// What a memo is taken to have in a cache.
    const BYTES: u64 = 512;

    /// What was made before, or what `make` makes now. `None` when something of another type is kept here.
    pub fn get_or_make<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.0.get_or_init(|| Box::new(make())).downcast_ref()
    }
}

impl Clone for Memo {
    /// Empty: the clone may be about to become another copy.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Memo {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Memo {}

impl std::fmt::Debug for Memo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Memo")
    }
}

impl From<&User> for UserCopy {
    fn from(user: &User) -> Self {
        Self {
            version: user.version,
            profile: user.into(),
            factor_since: user.mfa_at.map(Timestamp::as_secs),
            memo: Memo::default(),
        }
    }
}

impl UserCopy {
    /// Replaces the copy of a deleted user, and is newer than any other.
    pub(super) fn deleted(id: UserId, now: Timestamp) -> Self {
        Self {
            version: i64::MAX,
            profile: Profile::of_deleted(id, now),
            factor_since: None,
            memo: Memo::default(),
        }
    }

    pub(super) const fn is_deleted(&self) -> bool {
        self.version == i64::MAX
    }
}

impl Versioned for UserCopy {
    fn version(&self) -> i64 {
        self.version
    }

    fn bytes(&self) -> u64 {
        // What was typed stands in the memo, too.
        192 + Memo::BYTES + 4 * self.typed_bytes() as u64
    }
}

pub(super) fn check_owner(owner: UserId, user: UserId) -> Result<()> {
    if owner == user {
        Ok(())
    } else {
        Err(Refusal::TokenInvalid.into())
    }
}

pub(super) fn check_generation(claims: &Claims, retired: i64) -> Result<()> {
    if is_retired(claims.generation, retired) {
        Err(Refusal::PasswordChanged.into())
    } else {
        Ok(())
    }
}

pub(super) fn admit(copy: &Arc<UserCopy>) -> Result<Arc<UserCopy>> {
    if copy.is_deleted() {
        return Err(Refusal::SessionRevoked.into());
    }
    if !copy.is_active {
        return Err(Refusal::AccountInactive.into());
    }
    Ok(Arc::clone(copy))
}

pub(super) fn session_key(id: SessionId) -> String {
    format!("session:{id}")
}

pub(super) fn user_key(id: UserId) -> String {
    format!("user:{id}")
}

pub(super) fn to_json<T: Serialize>(value: &T) -> String {
    // Our own types have string keys and no failing Serialize.
    serde_json::to_string(value).unwrap_or_default()
}

/// Until when a copy of a user that changes now can exist anywhere.
pub fn user_copies_until(now: Timestamp) -> Timestamp {
    now.plus(USER_COPY_LIFE)
}
