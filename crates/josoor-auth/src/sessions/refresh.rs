//! Refreshing a session with its refresh token.

use std::sync::Arc;

use super::issue::{Issued, issue_both};
use super::rotation::{self, Decision};
use crate::account::recovery;
use crate::act::Client;
use crate::app::App;
use crate::cache::{Effects, UserCopy};
use crate::domain::{Email, Timestamp};
use crate::error::{Error, Refusal, Result};
use crate::keys::RefreshClaims;
use crate::store::{Audit, MailKind, NewAudit, RevokeReason, Rotation, SessionRow};
use crate::telemetry::RefreshOutcome;

/// Exchanges a refresh token for the tokens of the next generation, or for the current ones again; the table is in
/// [`rotation`].
///
/// # Errors
/// `TokenInvalid`; `RateLimited`; `TokenExpired` or, when the session itself is over, its reason; `RefreshTokenReused` after ending
/// the session.
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
        app.clock.now().as_secs() >= claims.exp || app.cache.is_outdated(claims.session(), claims.generation);
    let old = is_old.then_some(claims.generation);
    app.limits.refresh(claims.session(), old).await?;
    if let Some(issued) = rotate_current(app, &claims).await? {
        return Ok((RefreshOutcome::Rotated, issued));
    }
    // Each round is a fresh look; one that loses its step lost it to another refresh or to a revocation, both of
    // which the next look sees.
    for _ in 0..32 {
        let now = app.clock.now();
        let mut conn = app.db.write().await?;
        let Some(session) = conn.session_by_id(claims.session()).await? else {
            return Err(Refusal::SessionRevoked.into());
        };
        app.cache.note_generation(session.id(), session.generation);
        let user = app.cache.user(&mut conn, session.user_id()).await?;
        let user = live_user(&claims, &session, user, now)?;
        match rotation::decide(&session, claims.generation, now, app.config.session.refresh_grace) {
            Decision::GiveCurrent => {
                let issued = issue_both(app, &session, UserCopy::clone(&user), now)?;
                return Ok((RefreshOutcome::Repeated, issued));
            }
            Decision::Retired => return Err(Refusal::PasswordChanged.into()),
            Decision::Reuse => {
                drop(conn);
                return end_reused(app, &session, client).await;
            }
            Decision::Rotate {
                replaced,
                only_if_unused,
                superseded,
            } => {
                let step = Rotation {
                    id: session.id(),
                    from: session.generation,
                    only_if_unused,
                    replaced,
                    superseded,
                    issued_at: now,
                    idle_expires_at: now.plus(app.config.session.idle).min(session.expires_at),
                };
                let rotated = conn.rotate_session(&step).await?;
                drop(conn);
                if let Some(session) = rotated {
                    return Ok((RefreshOutcome::Rotated, issue_next(app, session, user, now)?));
                }
            }
        }
    }
    Err(Error::StoreUnavailable(anyhow::anyhow!(
        "session {} is being refreshed by many others",
        claims.session()
    )))
}

/// What nearly every refresh is: the current token of a live session, whose user this node knows. One statement decides.
/// `None` says nothing but that the table has to be asked.
async fn rotate_current(app: &App, claims: &RefreshClaims) -> Result<Option<Issued>> {
    let now = app.clock.now();
    let user = claims.user().and_then(|user| app.cache.known_user(user));
    let Some(user) = user.filter(|user| user.is_active && now.as_secs() < claims.exp) else {
        return Ok(None);
    };
    let rotated = app
        .db
        .write()
        .await?
        .rotate_current(
            claims.session(),
            claims.generation,
            now,
            now.plus(app.config.session.idle),
            &rotation::superseding(claims.generation, now),
            rotation::ROOM,
        )
        .await?;
    match rotated {
        Some(session) if session.user_id().0 == user.id => issue_next(app, session, user, now).map(Some),
        _ => Ok(None),
    }
}

/// The tokens of a generation that has just been made.
fn issue_next(app: &App, session: SessionRow, user: Arc<UserCopy>, now: Timestamp) -> Result<Issued> {
    let issued = issue_both(app, &session, UserCopy::clone(&user), now)?;
    app.cache.note_generation(session.id(), session.generation);
    app.cache.publish_later(session, user);
    Ok(issued)
}

/// The user of a session that may still be refreshed; or why not.
fn live_user(
    claims: &RefreshClaims,
    session: &SessionRow,
    user: Option<Arc<UserCopy>>,
    now: Timestamp,
) -> Result<Arc<UserCopy>> {
    let ended = session.ended(now);
    if now.as_secs() >= claims.exp {
        // An old token that comes up late is no sign of theft. Its holder is told what became of the session.
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

async fn end_reused(app: &App, session: &SessionRow, client: &Client) -> Result<(RefreshOutcome, Issued)> {
    let reason = RevokeReason::RefreshReuse;
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    // Only who really ends the session raises the alarm.
    if let Some(ended) = tx.revoke_session(session.id(), reason, now).await? {
        tx.record_revocation(&ended, reason, now).await?;
        let row = NewAudit {
            succeeded: false,
            reason: Some(reason.as_str()),
            subject: Some(session.user_id()),
            session: Some(session.id()),
            ..client.audit(Audit::RefreshReuse, now)
        };
        tx.insert_audit(&row).await?;
        if let Some(user) = tx.user_by_id(session.user_id()).await? {
            let email = Email::parse(&user.email)
                .map_err(|_| Error::Internal(anyhow::anyhow!("a stored address is none")))?;
            let mail = recovery::mail_to(&user, &email, MailKind::RefreshReuse, None, client, now);
            tx.queue_mail(&mail).await?;
        }
        let mut effects = Effects::default();
        effects.revoke(&ended, reason);
        app.commit(tx, effects).await?;
        app.mail_queued.notify_one();
        app.metrics.sessions_revoked(reason.as_str(), 1);
        tracing::warn!(user_id = %session.user_id(), session_id = %session.id(), "an old refresh token was presented; the session was ended");
    }
    Err(Refusal::RefreshTokenReused.into())
}
