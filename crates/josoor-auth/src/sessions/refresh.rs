//! Refreshing a session with its refresh token.

use std::sync::Arc;

use super::issue::{Issued, issue_next, issue_tokens, refresh_expires_at};
use super::rotation::{self, Decision, Generations, Step};
use crate::act::{Client, Entry};
use crate::app::App;
use crate::auth::caller::Caller;
use crate::cache::{UserCopy, ended};
use crate::domain::{Audit, MailKind, RevokeReason, SessionId, Timestamp, UserId};
use crate::error::{Acr, Error, Refusal, Result};
use crate::keys::RefreshClaims;
use crate::store::{Conn, Rotation, SessionRow};
use crate::telemetry::RefreshOutcome;
use crate::telemetry::codes;

/// How often a refresh decides again because another request changed the session in between.
const ATTEMPTS: usize = 32;

/// Exchanges a refresh token for the tokens of the next generation, or for the current ones again; the table is in
/// [`rotation`].
///
/// # Errors
/// `TokenInvalid`; `RateLimited`; `TokenExpired` or, when the session itself is over, its reason; `RefreshTokenReused` after
/// revoking the session.
pub async fn refresh(app: &App, token: &str, client: &Client) -> Result<Issued> {
    let result = try_refresh(app, token, client).await;
    app.metrics.refresh(match &result {
        Ok((outcome, _)) => *outcome,
        Err(Error::Refused(Refusal::RefreshTokenReused)) => RefreshOutcome::Reused,
        Err(_) => RefreshOutcome::Refused,
    });
    result.map(|(_, issued)| issued)
}

async fn try_refresh(app: &App, token: &str, client: &Client) -> Result<(RefreshOutcome, Issued)> {
    let claims = app.keys.refresh.read(token)?;
    let is_old =
        claims.is_expired(app.clock.now()) || app.cache.is_outdated(claims.session(), claims.generation);
    let old = is_old.then_some(claims.generation);
    app.limits.refresh(claims.session(), old).await?;
    if let Some(issued) = rotate_predicted(app, &claims).await? {
        return Ok((RefreshOutcome::Rotated, issued));
    }
    for _ in 0..ATTEMPTS {
        let now = app.clock.now();
        let mut conn = app.db.write().await?;
        let session = conn.session_by_id(claims.session()).await?;
        let session = session.ok_or(Refusal::SessionRevoked)?;
        app.cache.note_generation(session.id(), session.generation);
        let user = app.cache.user(&mut conn, session.user_id()).await?;
        let user = require_live(app, &claims, &session, user, now)?;
        match decide(app, &Generations::from(&session), claims.generation, now) {
            Decision::RepeatCurrent => {
                return Ok((RefreshOutcome::Repeated, issue_tokens(app, &session, user, now)?));
            }
            Decision::Retired => return Err(Refusal::PasswordChanged.into()),
            Decision::Reuse => {
                drop(conn);
                return revoke_reused(app, &session, client).await;
            }
            // Another refresh or a revocation came first if there is no such row; the next attempt sees it.
            Decision::Rotate(step) => {
                if let Some(issued) = take(app, conn, session.id(), &step, user, now).await? {
                    return Ok((RefreshOutcome::Rotated, issued));
                }
            }
        }
    }
    Err(Error::unavailable(anyhow::anyhow!(
        "session {} is being refreshed by many requests at once",
        claims.session()
    )))
}

/// The user and the session of a refresh token that [`refresh`] would accept now. Nothing is rotated or noted.
///
/// # Errors
/// `Refused` with the reason.
pub async fn holder(app: &App, token: &str) -> Result<Caller> {
    let claims = app.keys.refresh.read(token)?;
    let now = app.clock.now();
    let mut conn = app.db.write().await?;
    let session = conn.session_by_id(claims.session()).await?;
    let session = session.ok_or(Refusal::SessionRevoked)?;
    let user = app.cache.user(&mut conn, session.user_id()).await?;
    let user = require_live(app, &claims, &session, user, now)?;
    match decide(app, &Generations::from(&session), claims.generation, now) {
        Decision::RepeatCurrent | Decision::Rotate(_) => Ok(Caller {
            user,
            session: session.id(),
            auth_time: Some(session.authenticated_at().as_secs()),
            // For what needs more, the session's access token is asked for.
            acr: Acr::One,
        }),
        Decision::Retired => Err(Refusal::PasswordChanged.into()),
        Decision::Reuse => Err(Refusal::RefreshTokenReused.into()),
    }
}

/// The usual refresh in one statement: the current token of a live session whose user is cached. The step is decided on that
/// state, and the database takes it only in that state. `None` when it does not, and the row has to be read.
async fn rotate_predicted(app: &App, claims: &RefreshClaims) -> Result<Option<Issued>> {
    if app.config.session.has_lifetimes_by() {
        // These depend on the row.
        return Ok(None);
    }
    let now = app.clock.now();
    let user = claims.user().and_then(|user| app.cache.known_user(user));
    let Some(user) = user.filter(|user| user.is_active && !claims.is_expired(now)) else {
        return Ok(None);
    };
    let predicted = Generations::predicted(claims.generation);
    let Decision::Rotate(step) = decide(app, &predicted, claims.generation, now) else {
        return Ok(None);
    };
    let conn = app.db.write().await?;
    take(app, conn, claims.session(), &step, user, now).await
}

fn decide(app: &App, session: &Generations<'_>, presented: i64, now: Timestamp) -> Decision {
    rotation::decide(session, presented, now, app.config.session.refresh_grace)
}

/// Takes a step and issues the tokens of the next generation; `None` when the session was not in the state for it.
async fn take(
    app: &App,
    mut conn: Conn,
    session: SessionId,
    step: &Step,
    user: Arc<UserCopy>,
    now: Timestamp,
) -> Result<Option<Issued>> {
    let rotation = Rotation {
        id: session,
        user: UserId(user.id),
        from: step.from,
        only_if_unused: step.only_if_unused,
        replaced: step.replaced,
        kept: step.kept.as_deref(),
        added: &step.added,
        issued_at: now,
        refresh_expires_at: refresh_expires_at(app, now),
        idle_expires_at: now.plus(app.config.session.idle),
    };
    let rotated = conn.rotate_session(&rotation).await?;
    drop(conn);
    rotated
        .map(|session| issue_next(app, session, user, now))
        .transpose()
}

/// The user of a session that may be refreshed.
///
/// # Errors
/// Why it may not.
fn require_live(
    app: &App,
    claims: &RefreshClaims,
    session: &SessionRow,
    user: Option<Arc<UserCopy>>,
    now: Timestamp,
) -> Result<Arc<UserCopy>> {
    let ended = match &user {
        Some(user) => ended(&app.config.session, session, user.role, now),
        None => session.ended(now),
    };
    if claims.is_expired(now) {
        // An expired token is no sign of theft. The answer says what became of the session.
        return Err(ended.unwrap_or(Refusal::TokenExpired).into());
    }
    if let Some(why) = ended {
        return Err(why.into());
    }
    match user {
        None => Err(Refusal::SessionRevoked.into()),
        Some(user) if !user.is_active => Err(Refusal::AccountInactive.into()),
        Some(user) => Ok(user),
    }
}

async fn revoke_reused(app: &App, session: &SessionRow, client: &Client) -> Result<(RefreshOutcome, Issued)> {
    let reason = RevokeReason::RefreshReuse;
    let mut act = app.act(client).await?;
    // Only the request that revokes the session raises the alarm.
    if let Some(revoked) = act.tx.revoke_session(session.id(), reason, act.now).await? {
        let entry = Entry::failure(Audit::RefreshReuse, reason.as_str());
        act.audit(entry.subject(session.user_id()).session(session.id()));
        if let Some(user) = act.tx.user_by_id(session.user_id()).await? {
            act.notify(&user, MailKind::RefreshReuse).await?;
        }
        act.publish_revoked(&[revoked], reason).await?;
        act.commit().await?;
        tracing::warn!(code = codes::REFRESH_TOKEN_REUSED, user_id = %session.user_id(), session_id = %session.id(), "an old refresh token was presented; the session was revoked");
    }
    Err(Refusal::RefreshTokenReused.into())
}
