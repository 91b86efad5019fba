//! The user behind a request with an access token.

use std::sync::Arc;

use crate::cache::UserCopy;
use crate::domain::{SessionId, UserId};

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The user, as of now.
    pub user: Arc<UserCopy>,
    /// The session of the access token.
    pub session: SessionId,
    /// When the user was last verified interactively, in seconds since 1970, as the token says; `None` in a token of an earlier
    /// release.
    pub auth_time: Option<i64>,
}

impl Caller {
    /// The user's id.
    pub fn id(&self) -> UserId {
        UserId(self.user.id)
    }
}
