//! Authenticating a request by its access token.

use std::sync::Arc;

use crate::app::App;
use crate::cache::UserCopy;
use crate::domain::{SessionId, UserId};
use crate::error::Result;

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The user, as of now.
    pub user: Arc<UserCopy>,
    /// The session that the token belongs to.
    pub session: SessionId,
}

impl Caller {
    /// The user's id.
    pub fn id(&self) -> UserId {
        UserId(self.user.id)
    }
}

/// Checks an access token, its session and its user. This runs on every request.
pub async fn authenticate(app: &App, token: &str) -> Result<Caller> {
    let now = app.clock.now();
    let claims = app.keys.access.verify(token, now)?;
    let session = SessionId(claims.sid);
    let user = app.cache.resolve(&claims, now).await?;
    app.cache.note_use(session, claims.generation, now);
    Ok(Caller { user, session })
}
