//! Revoking sessions.

use crate::act::Client;
use crate::app::App;
use crate::cache::Effects;
use crate::domain::{SessionId, Timestamp, UserId};
use crate::error::{Error, Result};
use crate::store::{Audit, Conn, NewAudit, RevokeReason, SessionRow};

/// Which session a sign-out means.
#[derive(Debug)]
pub enum LogOut<'a> {
    /// By its refresh token: current, superseded or expired.
    Refresh(&'a str),
    /// By its access token: valid or expired.
    Access(&'a str),
}

/// Ends the session of a token. Done already is done; and a token that a change of the password has retired ends nothing, since
/// the session is not its holder's any more.
pub async fn log_out(app: &App, token: LogOut<'_>, client: &Client) -> Result<()> {
    let (session, generation) = match token {
        LogOut::Refresh(token) => {
            let claims = app.keys.refresh.read(token)?;
            (claims.session(), claims.generation)
        }
        LogOut::Access(token) => {
            let claims = app.keys.access.verify_at_any_age(token, app.clock.now())?;
            (SessionId(claims.sid), claims.generation)
        }
    };
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    let reason = RevokeReason::Logout;
    let Some(ended) = tx
        .revoke_session_by_token(session, generation, reason, now)
        .await?
    else {
        return Ok(());
    };
    let client = Client {
        actor: Some(ended.user_id()),
        ..client.clone()
    };
    finish_revocation(app, tx, vec![ended], RevokeReason::Logout, &client, now)
        .await
        .map(drop)
}

/// Ends one session of `owner`.
///
/// # Errors
/// `NotFound` when the user has no such live session, also when it is somebody else's.
pub async fn revoke(app: &App, owner: UserId, session: SessionId, client: &Client) -> Result<()> {
    let reason = RevokeReason::RevokedByUser;
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    let mine = tx
        .session_by_id(session)
        .await?
        .is_some_and(|row| row.user_id() == owner);
    let ended = if mine {
        tx.revoke_session(session, reason, now).await?
    } else {
        None
    };
    let ended = ended.ok_or(Error::NotFound)?;
    finish_revocation(app, tx, vec![ended], reason, client, now)
        .await
        .map(drop)
}

/// Ends a session whoever it belongs to, for an operator. Whether it was live.
pub async fn revoke_any(app: &App, session: SessionId, client: &Client) -> Result<bool> {
    let reason = RevokeReason::RevokedByAdmin;
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    let Some(ended) = tx.revoke_session(session, reason, now).await? else {
        return Ok(false);
    };
    finish_revocation(app, tx, vec![ended], reason, client, now).await?;
    Ok(true)
}

/// Ends all sessions of a user but, if given, one. How many there were.
pub async fn revoke_all(
    app: &App,
    user: UserId,
    except: Option<SessionId>,
    reason: RevokeReason,
    client: &Client,
) -> Result<usize> {
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    let ended = tx.revoke_sessions_of(user, except, reason, now).await?;
    if ended.is_empty() {
        return Ok(0);
    }
    finish_revocation(app, tx, ended, reason, client, now).await
}

/// Records, commits and announces ended sessions.
async fn finish_revocation(
    app: &App,
    mut tx: Conn,
    ended: Vec<SessionRow>,
    reason: RevokeReason,
    client: &Client,
    now: Timestamp,
) -> Result<usize> {
    let mut effects = Effects::default();
    record_revocations(&mut tx, &ended, reason, client, now, &mut effects).await?;
    app.commit(tx, effects).await?;
    app.metrics.sessions_revoked(reason.as_str(), ended.len() as u64);
    Ok(ended.len())
}

/// Writes what every ended session needs, in the caller's unit of work, and gathers what to announce after it. The sessions
/// are one user's, ended just now in this unit of work.
pub(crate) async fn record_revocations(
    tx: &mut Conn,
    ended: &[SessionRow],
    reason: RevokeReason,
    client: &Client,
    now: Timestamp,
    effects: &mut Effects,
) -> Result<()> {
    let row = NewAudit {
        reason: Some(reason.as_str()),
        ..client.audit(Audit::SessionRevoke, now)
    };
    match ended {
        [] => return Ok(()),
        [only] => {
            tx.record_revocation(only, reason, now).await?;
            let row = NewAudit {
                subject: Some(only.user_id()),
                session: Some(only.id()),
                ..row
            };
            tx.insert_audit(&row).await?;
        }
        // Ten thousand in as many statements would hold SQLite's writer, and the user's row, for seconds.
        [first, ..] => {
            tx.record_revocations_of(first.user_id(), reason, now).await?;
            let rows: Vec<_> = ended
                .iter()
                .map(|session| NewAudit {
                    subject: Some(session.user_id()),
                    session: Some(session.id()),
                    ..row
                })
                .collect();
            tx.insert_audits(&rows).await?;
        }
    }
    for session in ended {
        effects.revoke(session, reason);
    }
    Ok(())
}
