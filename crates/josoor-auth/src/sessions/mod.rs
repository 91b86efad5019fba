//! Signing in, staying in, signing out.

pub mod rotation;

use std::sync::Arc;
use std::time::Duration;

use josoor_auth_verify::{AccessType, Claims, is_retired};

use self::rotation::Decision;
use crate::account::recovery;
use crate::account::secure;
use crate::app::App;
use crate::auth::devices::{self, Familiarity, SignInDevice};
use crate::cache::{Effects, UserCopy};
use crate::crypto;
use crate::domain::{Email, Network, Password, Secret, SessionId, Timestamp, UserId};
use crate::error::{Error, Refusal, Result};
use crate::hasher::{Asker, PasswordHash, Verdict};
use crate::keys::{DeviceMark, KnownDevice, RefreshClaims};
use crate::limits::PasswordCheck;
use crate::store::{
    Audit, Conn, MailKind, NewAudit, NewSession, RevokeReason, Rotation, SessionRow, Transport, User,
};
use crate::telemetry::{RefreshOutcome, SignIn};

/// Who is calling: recorded with sessions and in the audit trail, never a reason to trust anything.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// The client's address; empty for the command line.
    pub ip: String,
    /// The client's `User-Agent`, cut and cleaned.
    pub user_agent: String,
    /// The request's id.
    pub request_id: String,
    /// The id that the client gave the request; empty where it gave none.
    pub client_request_id: String,
    /// The user behind the request, where one is known.
    pub actor: Option<UserId>,
}

impl Client {
    /// An audit row of this client's, to be completed.
    pub fn audit(&self, action: Audit, at: Timestamp) -> NewAudit<'_> {
        NewAudit {
            actor: self.actor,
            ip: non_empty(&self.ip),
            user_agent: non_empty(&self.user_agent),
            request_id: non_empty(&self.request_id),
            client_request_id: non_empty(&self.client_request_id),
            ..NewAudit::by_operator(action, at)
        }
    }

    /// On whose behalf passwords are computed for this client.
    pub fn asker(&self) -> Asker {
        match (self.actor, Network::of(&self.ip)) {
            (Some(user), _) => Asker::Known(user),
            (None, Some(network)) => Asker::Network(network),
            (None, None) => Asker::Operator,
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
    /// The session whose refresh cookie came along and is about to be overwritten.
    pub replaces: Option<Held>,
}

/// A session that a client holds a verified token of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The session.
    pub session: SessionId,
    /// The token's generation.
    pub generation: i64,
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
    let user = app.hot.resolve(&claims, now).await?;
    app.hot.note_use(session, claims.generation, now);
    Ok(Caller { user, session })
}

/// Signs in with address and password.
///
/// # Errors
/// `RateLimited`, before the account is looked up and without a trace in the audit trail, which a flood must not fill;
/// `InvalidCredentials` for an unknown address and for a wrong password, after the same work; `AccountInactive` and
/// `EmailNotVerified` only after the right password; `Overloaded` when too many wait for the hasher.
pub async fn log_in(
    app: &App,
    email: &Email,
    password: Password,
    with: SignInWith,
    client: &Client,
) -> Result<Issued> {
    let result = match take_limits(app, email, with.mark.as_ref(), client).await {
        Ok(counted) => try_log_in(app, email, password, counted, with, client).await,
        Err(error) => Err(error),
    };
    let outcome = match &result {
        Ok(_) => Some(SignIn::Success),
        Err(Error::InvalidCredentials) => Some(SignIn::InvalidCredentials),
        Err(Error::AccountInactive) => Some(SignIn::AccountInactive),
        Err(Error::EmailNotVerified) => Some(SignIn::EmailNotVerified),
        Err(Error::Overloaded { .. }) => Some(SignIn::Overloaded),
        Err(Error::RateLimited { .. }) => Some(SignIn::RateLimited),
        // Counted as a failed request, not as a sign-in.
        Err(_) => None,
    };
    if let Some(outcome) = outcome {
        app.metrics.sign_in(outcome);
    }
    if outcome == Some(SignIn::InvalidCredentials) {
        app.limits.note_failed_sign_in().await;
    }
    result
}

/// Counts a sign-in, as one on a known device where the mark is one. The network comes first, so that a client over that limit
/// costs the database nothing; the row of a mark is read only when its signature is right, which no stranger's is.
async fn take_limits(
    app: &App,
    email: &Email,
    mark: Option<&DeviceMark>,
    client: &Client,
) -> Result<PasswordCheck> {
    let from = app.limits.sign_in_from(&client.ip).await?;
    let device = devices::verify_mark(app, mark).await?;
    app.limits.sign_in_to(from, email.key(), device.as_ref()).await
}

async fn try_log_in(
    app: &App,
    email: &Email,
    password: Password,
    counted: PasswordCheck,
    with: SignInWith,
    client: &Client,
) -> Result<Issued> {
    // Most of a flood ends here, before the database has any work with it.
    app.hasher.admit(counted.asker())?;
    let user = app.db.read().await?.user_by_email(email).await?;
    let stored = user.as_ref().and_then(|user| user.password_hash.clone());
    let verdict = app.hasher.verify(password.clone(), stored, counted).await?;
    let subject = user.as_ref().map(|user| user.id);
    let (Some(user), Verdict::Match { outdated }) = (user, verdict) else {
        // Known or not, one row: also the work after the hash is the same.
        return refuse_log_in(app, subject, Error::InvalidCredentials, client).await;
    };
    if let Some(error) = why_not(app, &user) {
        return refuse_log_in(app, Some(user.id), error, client).await;
    }
    // The sign-in does not fail because its hash could not be modernised.
    let upgrade = if outdated {
        app.hasher.hash_again(password.clone(), counted).await.ok()
    } else {
        None
    };
    let mut user = user;
    for _ in 0..8 {
        match open_session_for(app, &user, upgrade.as_ref(), with, client).await {
            Ok(Some(issued)) => return Ok(issued),
            Ok(None) => {}
            Err(Error::SessionLimit) => return refuse_for_session_limit(app, &user, client).await,
            Err(error) => return Err(error),
        }
        // Something changed during the hash. Another name is no reason to fail; everything else is looked at anew.
        let Some(again) = app.db.write().await?.user_by_id(user.id).await? else {
            return refuse_log_in(app, None, Error::InvalidCredentials, client).await;
        };
        if !same_hash(&again, &user) {
            let verdict = app
                .hasher
                .verify(password.clone(), again.password_hash.clone(), counted)
                .await?;
            if verdict == Verdict::NoMatch {
                return refuse_log_in(app, Some(again.id), Error::InvalidCredentials, client).await;
            }
        }
        if let Some(error) = why_not(app, &again) {
            return refuse_log_in(app, Some(again.id), error, client).await;
        }
        user = again;
    }
    Err(Error::StoreUnavailable(anyhow::anyhow!(
        "user {} is being changed by many others",
        user.id
    )))
}

/// Why an account cannot be signed in to, although the password was right.
fn why_not(app: &App, user: &User) -> Option<Error> {
    if !user.is_active {
        return Some(Error::AccountInactive);
    }
    let is_verified = user.email_verified_at.is_some() || !app.config.registration.require_verified;
    (!is_verified).then_some(Error::EmailNotVerified)
}

fn same_hash(left: &User, right: &User) -> bool {
    left.password_hash.as_ref().map(PasswordHash::as_str)
        == right.password_hash.as_ref().map(PasswordHash::as_str)
}

async fn refuse_log_in(app: &App, subject: Option<UserId>, error: Error, client: &Client) -> Result<Issued> {
    let reason = match error {
        Error::AccountInactive => "account_inactive",
        Error::EmailNotVerified => "email_not_verified",
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
    let is_new = opened.device.familiarity == Familiarity::New;
    if is_new {
        secure::tell_of_new_device(&mut tx, user, client, now).await?;
    }
    let issued = opened.commit(app, tx, user, now).await?;
    if is_new {
        app.mail_queued.notify_one();
    }
    Ok(Some(issued))
}

/// A session that a unit of work has opened.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Its row.
    pub session: SessionRow,
    /// The device that the client signed in on, and whether the account knew it.
    pub device: SignInDevice,
    /// Sessions that were ended for it, by reason.
    ended: Vec<(RevokeReason, u64)>,
    effects: Effects,
}

impl Opened {
    /// Commits the unit of work and makes both tokens.
    pub(crate) async fn commit(self, app: &App, tx: Conn, user: &User, now: Timestamp) -> Result<Issued> {
        if self.effects.is_empty() {
            tx.commit().await?;
        } else {
            app.commit(tx, self.effects).await?;
            app.mail_queued.notify_one();
        }
        for (reason, count) in self.ended {
            app.metrics.sessions_revoked(reason.as_str(), count);
        }
        let mut issued = issue(app, &self.session, user, now).await?;
        issued.device = Some(self.device.device);
        Ok(issued)
    }
}

/// Within this time a session that was used on a known device is not ended for a new one.
const RECENT: Duration = Duration::from_hours(1);

/// The owner of an account is told of too many sessions once in this time.
const SESSION_LIMIT_MAIL_EVERY: Duration = Duration::from_hours(24);

/// How many sessions one sign-in ends at most, where the number was lowered.
const ENDED_AT_ONCE: i64 = 100;

/// Adds a session in the caller's unit of work, in which the user is locked or new. The session whose cookie is overwritten
/// ends, and so do sessions beyond `session.max_per_user`.
///
/// # Errors
/// `SessionLimit` when there are as many as there may be and none may be ended. The unit of work can only be given up then.
pub(crate) async fn open_session(
    app: &App,
    tx: &mut Conn,
    user: &User,
    with: SignInWith,
    client: &Client,
    now: Timestamp,
) -> Result<Opened> {
    let acting = Client {
        actor: Some(user.id),
        ..client.clone()
    };
    let (mut effects, mut ended) = (Effects::default(), Vec::new());
    if let Some(Held { session, generation }) = with.replaces {
        let reason = RevokeReason::Replaced;
        let replaced = tx
            .revoke_session_by_token(session, generation, reason, now)
            .await?;
        if let Some(replaced) = replaced {
            record_revocations(tx, &[replaced], reason, &acting, now, &mut effects).await?;
            ended.push((reason, 1));
        }
    }
    let count = end_sessions_beyond_the_limit(app, tx, user, &acting, now, &mut effects).await?;
    if count > 0 {
        ended.push((RevokeReason::SessionLimit, count));
    }
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
    Ok(Opened {
        session,
        device,
        ended,
        effects,
    })
}

/// Makes space for one more session of a user. How many were ended.
async fn end_sessions_beyond_the_limit(
    app: &App,
    tx: &mut Conn,
    user: &User,
    client: &Client,
    now: Timestamp,
    effects: &mut Effects,
) -> Result<u64> {
    let most = i64::from(app.config.session.max_per_user);
    let live = tx
        .count_live_sessions_of(user.id, now, most + ENDED_AT_ONCE - 1)
        .await?;
    let beyond = live - most + 1;
    if beyond <= 0 {
        return Ok(0);
    }
    let ids = tx
        .dispensable_sessions(user.id, now, now.minus(RECENT), beyond)
        .await?;
    if i64::try_from(ids.len()).is_ok_and(|count| count < beyond) {
        return Err(Error::SessionLimit);
    }
    let reason = RevokeReason::SessionLimit;
    let mut count = 0;
    for id in ids {
        // One that is over by now makes space, too.
        if let Some(ended) = tx.revoke_session(id, reason, now).await? {
            record_revocations(tx, &[ended], reason, client, now, effects).await?;
            count += 1;
        }
    }
    tell_of_session_limit(tx, user, client, now).await?;
    Ok(count)
}

/// Queues the mail about too many sessions, unless one was queued within the day.
async fn tell_of_session_limit(tx: &mut Conn, user: &User, client: &Client, now: Timestamp) -> Result<()> {
    let before = now.minus(SESSION_LIMIT_MAIL_EVERY);
    if tx.claim_session_limit_mail(user.id, now, before).await? {
        let email = Email::parse(&user.email)
            .map_err(|_| Error::Internal(anyhow::anyhow!("a stored address cannot be parsed")))?;
        let mail = recovery::mail_to(user, &email, MailKind::SessionLimit, None, client, now);
        tx.queue_mail(&mail).await?;
    }
    Ok(())
}

async fn refuse_for_session_limit(app: &App, user: &User, client: &Client) -> Result<Issued> {
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    tell_of_session_limit(&mut tx, user, client, now).await?;
    let row = NewAudit {
        succeeded: false,
        reason: Some("session_limit"),
        subject: Some(user.id),
        ..client.audit(Audit::SignIn, now)
    };
    tx.insert_audit(&row).await?;
    tx.commit().await?;
    app.mail_queued.notify_one();
    Err(Error::SessionLimit)
}

/// Makes both tokens of the session's current generation, after the commit.
pub(crate) async fn issue(app: &App, session: &SessionRow, user: &User, now: Timestamp) -> Result<Issued> {
    let user = UserCopy::from(user);
    app.hot.publish(session, &user).await;
    issue_both(app, session, user, now)
}

fn issue_both(app: &App, session: &SessionRow, user: UserCopy, now: Timestamp) -> Result<Issued> {
    let mut issued = issue_access(app, session, user, session.ends_at(), now)?;
    issued.refresh_token = Some(app.keys.mint_refresh(session));
    Ok(issued)
}

fn issue_access(
    app: &App,
    session: &SessionRow,
    user: UserCopy,
    until: Timestamp,
    now: Timestamp,
) -> Result<Issued> {
    let iat = now.as_secs();
    let exp = now.plus(app.config.auth.access_lifetime).min(until).as_secs();
    let claims = Claims {
        iss: app.config.auth.issuer.clone(),
        sub: user.id,
        email: user.email.clone(),
        email_verified: user.email_verified,
        role: user.role,
        token_type: AccessType::Access,
        sid: session.id().0,
        generation: session.generation,
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
    let is_old =
        app.clock.now().as_secs() >= claims.exp || app.hot.is_outdated(claims.session(), claims.generation);
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
        app.hot.note_generation(session.id(), session.generation);
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
    app.hot.note_generation(session.id(), session.generation);
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
/// moves, never past the absolute end. For clients that never use a refresh token; see [`rotation::may_renew`].
///
/// # Errors
/// What a request with this token is refused with; `RefreshTokenRequired`; `RateLimited`.
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
    // First, so that a token which is worth nothing any more does not use up what its owner may do.
    app.hot.resolve(&claims, now).await?;
    if !app.config.auth.bearer_renewal || app.hot.is_outdated(session, claims.generation) {
        return Err(Error::RefreshTokenRequired);
    }
    app.limits.refresh(session, None).await?;
    let mut conn = app.db.write().await?;
    let row = renewable(app, &mut conn, &claims, now).await?;
    let idle_end = now.plus(app.config.session.idle).min(row.expires_at);
    // A refresh or a revocation meanwhile wins.
    let extended = conn
        .extend_session(session, claims.generation, idle_end, now)
        .await?;
    let row = match extended {
        Some(row) => row,
        None => renewable(app, &mut conn, &claims, now)
            .await
            .and(Err(Refusal::SessionExpired.into()))?,
    };
    let user = conn.user_by_id(user).await?.ok_or(Refusal::SessionRevoked)?;
    drop(conn);
    if !user.is_active {
        return Err(Refusal::AccountInactive.into());
    }
    let user = UserCopy::from(&user);
    app.hot.publish(&row, &user).await;
    app.hot.note_use(session, claims.generation, now);
    let until = row
        .created_at
        .plus(app.config.auth.bearer_renewal_max)
        .min(row.ends_at());
    issue_access(app, &row, user, until, now)
}

/// The row of a token that may be renewed by itself; or why not.
async fn renewable(app: &App, conn: &mut Conn, claims: &Claims, now: Timestamp) -> Result<SessionRow> {
    let row = conn.session_by_id(SessionId(claims.sid)).await?;
    let row = row.ok_or(Refusal::SessionRevoked)?;
    app.hot.note_generation(row.id(), row.generation);
    if let Some(why) = row.ended(now) {
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
            let claims = app.keys.read_refresh(token)?;
            (claims.session(), claims.generation)
        }
        LogOut::Access(token) => {
            let claims = app.keys.verify_access_at_any_age(token, app.clock.now())?;
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
