//! What a change does to the cached copies.

use super::copies::UserCopy;
use crate::domain::{RevokeReason, SessionId, Timestamp, UserId};
use crate::store::{SessionRow, User};

/// What an act changed in the caches; published after its commit.
#[derive(Debug, Default)]
pub struct Effects {
    pub(super) revoked: Vec<(SessionId, RevokeReason, Timestamp)>,
    pub(super) users: Vec<UserCopy>,
    pub(super) retired: Vec<(SessionRow, UserCopy)>,
    pub(super) keys: bool,
}

impl Effects {
    /// Adds an ended session.
    pub fn revoke(&mut self, session: &SessionRow, reason: RevokeReason) {
        self.revoked.push((session.id(), reason, session.expires_at));
    }

    /// Adds a session, as it is now, whose earlier generations were retired.
    pub fn retire(&mut self, session: &SessionRow, user: &User) {
        self.retired.push((session.clone(), user.into()));
    }

    /// Whether nothing has to be published.
    pub const fn is_empty(&self) -> bool {
        self.revoked.is_empty() && self.users.is_empty() && self.retired.is_empty() && !self.keys
    }

    /// Adds that signing keys changed.
    pub const fn change_keys(&mut self) {
        self.keys = true;
    }

    /// Adds a changed user.
    pub fn change(&mut self, user: &User) {
        self.users.push(user.into());
    }

    /// Adds a deleted user.
    pub fn delete(&mut self, user: UserId, now: Timestamp) {
        self.users.push(UserCopy::deleted(user, now));
    }
}
