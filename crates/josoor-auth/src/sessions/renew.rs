//! Renewing an access token without a refresh token.

use josoor_auth_verify::{Claims, is_retired};

use super::issue::{Issued, issue_access};
use super::rotation;
use crate::app::App;
use crate::cache::{UserCopy, ended, ends_at};
use crate::domain::{Role, SessionId, Timestamp, UserId};
use crate::error::{Error, Refusal, Result};
use crate::store::{Conn, SessionRow};
use crate::telemetry::RefreshOutcome;

/// Renews the access token of a live session from a valid one: the same generation, no refresh token; the idle end moves, never
/// past the absolute end. For clients that never use a refresh token; see [`rotation::may_renew`].
///
/// # Errors
/// What a request with this token is rejected with; `RefreshTokenRequired`; `RateLimited`.
pub async fn renew_access(app: &App, token: &str) -> Result<Issued> {
    let result = try_renew_access(app, token).await;
    app.metrics.refresh(match &result {
        Ok(_) => RefreshOutcome::Extended,
        Err(_) => RefreshOutcome::Refused,
    });
    result
}

async fn try_renew_access(app: &App, token: &str) -> Result<Issued> {
    let now = app.clock.now();
    let claims = app.keys.access.verify(token, now).await?;
    let (session, user) = (SessionId(claims.sid), UserId(claims.sub));
    // First, so that a token that is not accepted any more does not use up its owner's limit.
    let role = app.cache.resolve(&claims, now).await?.role;
    if !app.config.auth.bearer_renewal || app.cache.is_outdated(session, claims.generation) {
        return Err(Error::RefreshTokenRequired);
    }
    app.limits.refresh(session, None).await?;
    let mut conn = app.db.write().await?;
    let row = require_renewable(app, &mut conn, &claims, role, now).await?;
    let idle_end = now.plus(app.config.session.idle).min(row.expires_at);
    let extended = conn
        .extend_session(session, claims.generation, idle_end, now)
        .await?;
    let Some(row) = extended else {
        // A refresh or a revocation came first; the answer says which.
        require_renewable(app, &mut conn, &claims, role, now).await?;
        return Err(Refusal::SessionExpired.into());
    };
    let user = conn.user_by_id(user).await?.ok_or(Refusal::SessionRevoked)?;
    drop(conn);
    if !user.is_active {
        return Err(Refusal::AccountInactive.into());
    }
    let user = UserCopy::from(&user);
    app.cache.publish(&row, &user).await;
    app.cache.note_use(session, claims.generation, now);
    let until = row
        .created_at
        .plus(app.config.auth.bearer_renewal_max)
        .min(ends_at(&app.config.session, &row, user.role));
    issue_access(app, &row, user.into(), until, now)
}

/// The row of the session of a token that may be renewed by itself.
///
/// # Errors
/// Why it may not.
async fn require_renewable(
    app: &App,
    conn: &mut Conn,
    claims: &Claims,
    role: Role,
    now: Timestamp,
) -> Result<SessionRow> {
    let row = conn.session_by_id(SessionId(claims.sid)).await?;
    let row = row.ok_or(Refusal::SessionRevoked)?;
    app.cache.note_generation(row.id(), row.generation);
    if let Some(why) = ended(&app.config.session, &row, role, now) {
        return Err(why.into());
    }
    if is_retired(claims.generation, row.retired_generation) {
        return Err(Refusal::PasswordChanged.into());
    }
    if !rotation::may_renew(&row, claims.generation, now, app.config.auth.bearer_renewal_max) {
        return Err(Error::RefreshTokenRequired);
    }
    Ok(row)
}
