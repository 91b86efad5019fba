//! Signing in, staying in, signing out.

use std::sync::Arc;

use josoor_auth_verify::{AccessType, Claims};

use crate::app::App;
use crate::crypto;
use crate::devices::{self, Familiarity, SignInDevice};
use crate::error::{Error, Refusal, Result};
use crate::hasher::{Asker, PasswordHash, Verdict};
use crate::hot::{Effects, UserCopy};
use crate::keys::{DeviceMark, KnownDevice, RefreshClaims};
use crate::limits;
use crate::recovery;
use crate::rotation::{self, Decision};
use crate::store::{
    Audit, Conn, MailKind, NewAudit, NewSession, RevokeReason, Rotation, SessionRow, Transport, User,
};
use crate::telemetry::{RefreshOutcome, SignIn};
use crate::types::{Email, Password, Secret, SessionId, Timestamp, UserId};

/// Who is calling: recorded with sessions and in the audit trail, never a reason to trust anything.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// The client's address; empty for the command line.
    pub ip: String,
    /// The client's `User-Agent`, cut and cleaned.
    pub user_agent: String,
    /// The request's id.
    pub request_id: String,
    /// The user behind the request, where one is known.
    pub actor: Option<UserId>,
}

impl Client {
    /// An audit row of this client's, to be completed.
    pub fn audit(&self, action: Audit, at: Timestamp) -> NewAudit<'_> {
        NewAudit {
            at,
            action,
            succeeded: true,
            reason: None,
            actor: self.actor,
            subject: None,
            session: None,
            ip: non_empty(&self.ip),
            user_agent: non_empty(&self.user_agent),
            request_id: non_empty(&self.request_id),
        }
    }

    /// On whose behalf passwords are computed for this client.
    pub fn asker(&self) -> Asker {
        match (self.actor, limits::network(&self.ip)) {
            (Some(user), _) => Asker::Known(user),
            (None, Some(network)) => Asker::Network(network),
            // The command line, with a queue of its own.
            (None, None) => Asker::Network(String::new()),
        }
    }
}

fn non_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// What comes with a sign-in besides address and password.
#[derive(Clone, Copy, Debug, Default)]
pub struct SignInWith {
    /// The mark of a device. Its signature is right, and it is made for the address that is signed in to.
    pub mark: Option<DeviceMark>,
    /// Where the client wants its refresh token.
    pub transport: Transport,
}

/// The tokens of a session, and whose they are.
#[derive(Debug)]
pub struct Issued {
    /// The user, as of now.
    pub user: UserCopy,
    /// Good for requests.
    pub access_token: Secret,
    /// Good for the next refresh. `None` where only the access token was renewed.
    pub refresh_token: Option<Secret>,
    /// The device of a sign-in, whose mark the client gets.
    pub device: Option<KnownDevice>,
    /// Until the access token expires, in seconds.
    pub expires_in: i64,
    /// When the session ends if nothing more happens.
    pub session_ends_at: Timestamp,
    /// Now.
    pub issued_at: Timestamp,
}

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
    let claims = app.keys.verify_access(token, now)?;
    let session = SessionId(claims.sid);
    let user = app.hot.resolve(session, UserId(claims.sub), now).await?;
    app.hot.note_use(session, claims.generation, now);
    Ok(Caller { user, session })
}

/// Signs in with address and password.
///
/// # Errors
/// `RateLimited`, before the account is looked up and without a trace in the audit trail, which a flood must not fill;
/// `InvalidCredentials` for an unknown address and for a wrong password, after the same work; `AccountInactive` only
/// after the right password; `Overloaded` when too many wait for the hasher.
pub async fn log_in(
    app: &App,
    email: &Email,
    password: Password,
    with: SignInWith,
    client: &Client,
) -> Result<Issued> {
    let result = match take_limits(app, email, with.mark.as_ref(), client).await {
        Ok(device) => {
            let asker = device.map_or_else(|| client.asker(), |device| Asker::Known(device.user));
            try_log_in(app, email, password, asker, with, client).await
        }
        Err(error) => Err(error),
    };
    let outcome = match &result {
        Ok(_) => Some(SignIn::Success),
        Err(Error::InvalidCredentials) => Some(SignIn::InvalidCredentials),
        Err(Error::AccountInactive) => Some(SignIn::AccountInactive),
        Err(Error::Overloaded { .. }) => Some(SignIn::Overloaded),
        Err(Error::RateLimited { .. }) => Some(SignIn::RateLimited),
        // Counted as a failed request, not as a sign-in.
        Err(_) => None,
    };
    if let Some(outcome) = outcome {
        app.metrics.sign_in(outcome);
    }
    result
}

/// Counts a sign-in, and gives the known device that it comes from. The network comes first, so that a client over that limit
/// costs the database nothing; the row of a mark is read only when its signature is right, which no stranger's is.
async fn take_limits(
    app: &App,
    email: &Email,
    mark: Option<&DeviceMark>,
    client: &Client,
) -> Result<Option<KnownDevice>> {
    app.limits.sign_in_from(&client.ip).await?;
    let device = devices::verify_mark(app, mark).await?;
    app.limits
        .sign_in_to(&client.ip, email.key(), device.as_ref())
        .await?;
    Ok(device)
}

async fn try_log_in(
    app: &App,
    email: &Email,
    password: Password,
    asker: Asker,
    with: SignInWith,
    client: &Client,
) -> Result<Issued> {
    // Most of a flood ends here, before the database has any work with it.
    app.hasher.admit(&asker)?;
    let user = app.db.read().await?.user_by_email(email).await?;
    let stored = user.as_ref().and_then(|user| user.password_hash.clone());
    let verdict = app.hasher.verify(password.clone(), stored, asker.clone()).await?;
    let subject = user.as_ref().map(|user| user.id);
    let (Some(user), Verdict::Match { outdated }) = (user, verdict) else {
        // Known or not, one row: also the work after the hash is the same.
        return refuse_log_in(app, subject, Error::InvalidCredentials, client).await;
    };
    if !user.is_active {
        return refuse_log_in(app, Some(user.id), Error::AccountInactive, client).await;
    }
    // The sign-in does not fail because its hash could not be modernised.
    let upgrade = if outdated {
        app.hasher.hash(password.clone(), asker.clone()).await.ok()
    } else {
        None
    };
    let mut user = user;
    for _ in 0..8 {
        if let Some(issued) = open_session_for(app, &user, upgrade.as_ref(), with, client).await? {
            return Ok(issued);
        }
        // Something changed during the hash. Another name is no reason to fail; everything else is looked at anew.
        let Some(again) = app.db.write().await?.user_by_id(user.id).await? else {
            return refuse_log_in(app, None, Error::InvalidCredentials, client).await;
        };
        if !same_hash(&again, &user) {
            let verdict = app
                .hasher
                .verify(password.clone(), again.password_hash.clone(), asker.clone())
                .await?;
            if verdict == Verdict::NoMatch {
                return refuse_log_in(app, Some(again.id), Error::InvalidCredentials, client).await;
            }
        }
        if !again.is_active {
            return refuse_log_in(app, Some(again.id), Error::AccountInactive, client).await;
        }
        user = again;
    }
    Err(Error::StoreUnavailable(anyhow::anyhow!(
        "user {} is being changed by many others",
        user.id
    )))
}

fn same_hash(left: &User, right: &User) -> bool {
    left.password_hash.as_ref().map(PasswordHash::as_str)
        == right.password_hash.as_ref().map(PasswordHash::as_str)
}

async fn refuse_log_in(app: &App, subject: Option<UserId>, error: Error, client: &Client) -> Result<Issued> {
    let reason = match error {
        Error::AccountInactive => "account_inactive",
        _ => "invalid_credentials",
    };
    let row = NewAudit {
        succeeded: false,
        reason: Some(reason),
        subject,
        ..client.audit(Audit::SignIn, app.clock.now())
    };
    app.db.write().await?.insert_audit(&row).await?;
    Err(error)
}

/// Opens a session for a user whose password was just verified; `None` when the user is not any more what it was
/// verified against.
async fn open_session_for(
    app: &App,
    user: &User,
    upgrade: Option<&PasswordHash>,
    with: SignInWith,
    client: &Client,
) -> Result<Option<Issued>> {
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    if !tx.claim_sign_in(user.id, user.version, now).await? {
        return Ok(None);
    }
    if let (Some(old), Some(new)) = (&user.password_hash, upgrade) {
        tx.upgrade_password_hash(user.id, old, new).await?;
    }
    let opened = open_session(app, &mut tx, user, with, client, now).await?;
    let row = NewAudit {
        actor: Some(user.id),
        subject: Some(user.id),
        session: Some(opened.session.id()),
        ..client.audit(Audit::SignIn, now)
    };
    tx.insert_audit(&row).await?;
    tx.commit().await?;
    opened.issue(app, user, now).await.map(Some)
}

/// A session that a unit of work has opened.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Its row.
    pub session: SessionRow,
    /// The device that the client signed in on, and whether the account knew it.
    pub device: SignInDevice,
}

impl Opened {
    /// Makes both tokens, after the commit.
    pub(crate) async fn issue(&self, app: &App, user: &User, now: Timestamp) -> Result<Issued> {
        let mut issued = issue(app, &self.session, user, now).await?;
        issued.device = Some(self.device.device);
        Ok(issued)
    }
}

/// Adds a session in the caller's unit of work, in which the user is locked or new.
pub(crate) async fn open_session(
    app: &App,
    tx: &mut Conn,
    user: &User,
    with: SignInWith,
    client: &Client,
    now: Timestamp,
) -> Result<Opened> {
    let device = devices::record_sign_in(app, tx, user, with.mark.as_ref(), client, now).await?;
    let expires_at = now.plus(app.config.session.absolute);
    let new = NewSession {
        // Always fresh; nothing that the client sent becomes an identifier.
        id: SessionId::random(),
        user_id: user.id,
        created_at: now,
        expires_at,
        idle_expires_at: now.plus(app.config.session.idle).min(expires_at),
        ip: &client.ip,
        user_agent: &client.user_agent,
        transport: with.transport,
        device: Some(device.device.id),
        on_known_device: device.familiarity == Familiarity::Device,
    };
    let session = tx.insert_session(&new).await?;
    Ok(Opened { session, device })
}

/// Makes both tokens of the session's current generation, after the commit.
pub(crate) async fn issue(app: &App, session: &SessionRow, user: &User, now: Timestamp) -> Result<Issued> {
    let user = UserCopy::from(user);
    app.hot.publish(session, &user).await;
    issue_both(app, session, user, now)
}

fn issue_both(app: &App, session: &SessionRow, user: UserCopy, now: Timestamp) -> Result<Issued> {
    let mut issued = issue_access(app, session, session.generation, user, now)?;
    issued.refresh_token = Some(app.keys.mint_refresh(session));
    Ok(issued)
}

fn issue_access(
    app: &App,
    session: &SessionRow,
    generation: i64,
    user: UserCopy,
    now: Timestamp,
) -> Result<Issued> {
    let iat = now.as_secs();
    let exp = now
        .plus(app.config.auth.access_lifetime)
        .min(session.ends_at())
        .as_secs();
    let claims = Claims {
        iss: app.config.auth.issuer.clone(),
        sub: user.id,
        email: user.email.clone(),
        email_verified: user.email_verified,
        role: user.role,
        token_type: AccessType::Access,
        sid: session.id().0,
        generation,
        jti: uuid::Builder::from_random_bytes(crypto::random_bytes())
            .into_uuid()
            .to_string(),
        iat,
        exp,
        aud: app.config.auth.audience.clone(),
    };
    Ok(Issued {
        user,
        access_token: app.keys.sign_access(&claims)?,
        refresh_token: None,
        device: None,
        expires_in: exp - iat,
        session_ends_at: session.ends_at(),
        issued_at: now,
    })
}

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
    let claims = app.keys.read_refresh(token)?;
    app.limits.refresh(claims.session()).await?;
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
        let user = app.hot.user(&mut conn, session.user_id()).await?;
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
    let user = claims.user().and_then(|user| app.hot.known_user(user));
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
    app.hot.publish_later(session, user);
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

/// Renews the access token of a live session from a valid one: no new generation, no refresh token; the idle end
/// moves, never past the absolute end.
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
    let claims = app.keys.verify_access(token, now)?;
    let (session, user) = (SessionId(claims.sid), UserId(claims.sub));
    app.limits.refresh(session).await?;
    app.hot.resolve(session, user, now).await?;
    let mut conn = app.db.write().await?;
    let row = conn
        .session_by_id(session)
        .await?
        .ok_or(Refusal::SessionRevoked)?;
    let idle_end = now.plus(app.config.session.idle).min(row.expires_at);
    let Some(row) = conn.extend_session(session, idle_end, now).await? else {
        let row = conn
            .session_by_id(session)
            .await?
            .ok_or(Refusal::SessionRevoked)?;
        return Err(row.ended(now).unwrap_or(Refusal::SessionExpired).into());
    };
    let user = conn.user_by_id(user).await?.ok_or(Refusal::SessionRevoked)?;
    drop(conn);
    if !user.is_active {
        return Err(Refusal::AccountInactive.into());
    }
    let user = UserCopy::from(&user);
    app.hot.publish(&row, &user).await;
    app.hot.note_use(session, claims.generation, now);
    issue_access(app, &row, claims.generation, user, now)
}

/// Which session a sign-out means.
#[derive(Debug)]
pub enum LogOut<'a> {
    /// By its refresh token: current, superseded or expired.
    Refresh(&'a str),
    /// By its access token: valid or expired.
    Access(&'a str),
}

/// Ends the session of a token. Done already is done.
pub async fn log_out(app: &App, token: LogOut<'_>, client: &Client) -> Result<()> {
    let session = match token {
        LogOut::Refresh(token) => app.keys.read_refresh(token)?.session(),
        LogOut::Access(token) => SessionId(app.keys.verify_access_at_any_age(token, app.clock.now())?.sid),
    };
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    let Some(ended) = tx.revoke_session(session, RevokeReason::Logout, now).await? else {
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

/// A user's live sessions, the latest first.
pub async fn list(app: &App, user: UserId) -> Result<Vec<SessionRow>> {
    app.db.read().await?.live_sessions(user, app.clock.now()).await
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
            tx.insert_audit_of_ended(first.user_id(), &row).await?;
        }
    }
    for session in ended {
        effects.revoke(session, reason);
    }
    Ok(())
}
