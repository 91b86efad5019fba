//! Revoking sessions.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::act::{Act, Client};
use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::step_up::{self, Policy};
use crate::cache::live_since;
use crate::domain::{RevokeReason, Role, SessionId, UserId};
use crate::error::{Error, Result};
use crate::store::{SessionPage, SessionRow};

/// The token that a sign-out comes with.
#[derive(Debug)]
pub enum LogOut<'a> {
    /// A refresh token: current, superseded or expired.
    Refresh(&'a str),
    /// An access token: valid or expired.
    Access(&'a str),
}

/// Revokes the session of a token. A session that is over already is no failure; and a token that a change of the password has
/// retired revokes nothing, since the session is not its holder's any more.
///
/// # Errors
/// `TokenInvalid`.
pub async fn log_out(app: &App, token: LogOut<'_>, client: &Client) -> Result<()> {
    let (session, generation) = match token {
        LogOut::Refresh(token) => {
            let claims = app.keys.refresh.read(token)?;
            (claims.session(), claims.generation)
        }
        LogOut::Access(token) => {
            let claims = app.keys.access.verify_at_any_age(token, app.clock.now()).await?;
            (SessionId(claims.sid), claims.generation)
        }
    };
    let reason = RevokeReason::Logout;
    let mut act = app.act(client).await?;
    let revoked = act
        .tx
        .revoke_session_by_token(session, generation, reason, act.now)
        .await?;
    let Some(revoked) = revoked else {
        return Ok(());
    };
    act.client.actor = Some(revoked.user_id());
    commit_revoked(act, &[revoked], reason).await
}

/// The live sessions of a user who has this role, the latest first.
///
/// # Errors
/// `StoreUnavailable`.
pub async fn list(app: &App, user: UserId, role: Role) -> Result<Vec<SessionRow>> {
    let live = live_since(&app.config.session, role, app.clock.now());
    app.db.read().await?.live_sessions(user, &live).await
}

/// Up to `limit` of the live sessions of a user who has this role, after `offset` later ones.
///
/// # Errors
/// `StoreUnavailable`.
pub async fn list_page(app: &App, user: UserId, role: Role, limit: i64, offset: i64) -> Result<SessionPage> {
    let live = live_since(&app.config.session, role, app.clock.now());
    let mut conn = app.db.read().await?;
    conn.page_of_live_sessions(user, &live, limit, offset).await
}

/// Revokes one session of `owner`.
///
/// # Errors
/// `NotFound` when the user has no such live session, also when it is another user's.
pub async fn revoke(app: &App, owner: UserId, session: SessionId, client: &Client) -> Result<()> {
    let reason = RevokeReason::RevokedByUser;
    let mut act = app.act(client).await?;
    let row = act.tx.session_by_id(session).await?;
    row.filter(|row| row.user_id() == owner).ok_or(Error::NotFound)?;
    let revoked = act.tx.revoke_session(session, reason, act.now).await?;
    let revoked = revoked.ok_or(Error::NotFound)?;
    commit_revoked(act, &[revoked], reason).await
}

/// Revokes any user's session, for an operator. Returns whether it was live.
///
/// # Errors
/// `StoreUnavailable`.
pub async fn revoke_any(app: &App, session: SessionId, client: &Client) -> Result<bool> {
    let reason = RevokeReason::RevokedByAdmin;
    let mut act = app.act(client).await?;
    let Some(revoked) = act.tx.revoke_session(session, reason, act.now).await? else {
        return Ok(false);
    };
    commit_revoked(act, &[revoked], reason).await?;
    Ok(true)
}

/// Revokes all sessions of a user but, if given, one. Returns how many there were.
///
/// # Errors
/// `StoreUnavailable`.
pub async fn revoke_all(
    app: &App,
    user: UserId,
    except: Option<SessionId>,
    reason: RevokeReason,
    client: &Client,
) -> Result<usize> {
    let mut act = app.act(client).await?;
    let count = act.revoke_sessions_of(user, except, reason).await?;
    if count > 0 {
        act.commit().await?;
    }
    Ok(count)
}

/// Revokes all sessions of the caller but this one. Returns how many there were.
///
/// # Errors
/// `StepUpRequired` for an account with a second factor.
pub async fn revoke_others(app: &App, caller: &Caller, client: &Client) -> Result<usize> {
    step_up::require(app, caller, Policy::OwnAccount)?;
    let reason = RevokeReason::RevokedByUser;
    revoke_all(app, caller.id(), Some(caller.session), reason, client).await
}

/// Users whose sessions are read in one step by [`revoke_everyones`].
const USERS: i64 = 200;

/// How many users' sessions are revoked at once.
const AT_ONCE: usize = 8;

/// Revokes every session of every user, each user's in a unit of work of its own. Returns how many there were. A sign-in that comes
/// meanwhile may stay.
///
/// # Errors
/// `StoreUnavailable`; what was revoked until then stays revoked.
pub async fn revoke_everyones(app: &App, reason: RevokeReason, client: &Client) -> Result<usize> {
    let (mut after, mut count) = (UserId(0), 0);
    loop {
        let mut conn = app.db.read().await?;
        let users = conn.users_with_sessions(after, app.clock.now(), USERS).await?;
        drop(conn);
        let Some(last) = users.last() else {
            return Ok(count);
        };
        after = *last;
        let revoked: Vec<usize> = stream::iter(users)
            .map(|user| revoke_all(app, user, None, reason, client))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        count += revoked.into_iter().sum::<usize>();
    }
}

async fn commit_revoked(mut act: Act, revoked: &[SessionRow], reason: RevokeReason) -> Result<()> {
    act.record_revoked(revoked, reason).await?;
    act.commit().await
}
