//! Authenticating a request by its access token.

use crate::app::App;
use crate::auth::caller::Caller;
use crate::domain::SessionId;
use crate::error::Result;

/// Verifies an access token, its session and its user. This runs on every request.
///
/// # Errors
/// `Refused` with the reason; `StoreUnavailable` when neither a cache nor the database can say.
pub async fn authenticate(app: &App, token: &str) -> Result<Caller> {
    let now = app.clock.now();
    let claims = app.keys.access.verify(token, now).await?;
    let session = SessionId(claims.sid);
    let user = app.cache.resolve(&claims, now).await?;
    app.cache.note_use(session, claims.generation, now);
    Ok(Caller::new(&claims, user))
}
