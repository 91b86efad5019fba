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
}

impl Caller {
    /// The user's id.
    pub fn id(&self) -> UserId {
        UserId(self.user.id)
    }
}
