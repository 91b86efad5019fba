//! Issuing the tokens of a session.

use std::sync::Arc;

use josoor_auth_verify::{AccessType, Claims};

use crate::app::App;
use crate::cache::{UserCopy, ends_at};
use crate::crypto;
use crate::domain::{KnownDevice, Secret, Timestamp};
use crate::error::Result;
use crate::keys::Generation;
use crate::store::{SessionRow, User};

/// The tokens of a session, and its user.
#[derive(Debug)]
pub struct Issued {
    /// The user, as of now.
    pub user: Arc<UserCopy>,
    /// For requests.
    pub access_token: Secret,
    /// For the next refresh. `None` where only the access token was renewed.
    pub refresh_token: Option<Secret>,
    /// The device of a sign-in, whose mark the client gets.
    pub device: Option<KnownDevice>,
    /// The life of the access token, in seconds.
    pub expires_in: i64,
    /// The end of the refresh token; the session itself may end before.
    pub refresh_expires_at: Timestamp,
    /// Now.
    pub issued_at: Timestamp,
}

/// Publishes a session that is new or continues under new tokens, and its user, and issues both tokens. After the commit.
///
/// # Errors
/// `Internal`.
pub(crate) async fn issue(app: &App, session: &SessionRow, user: &User, now: Timestamp) -> Result<Issued> {
    let user = UserCopy::from(user);
    app.cache.publish(session, &user).await;
    issue_tokens(app, session, user.into(), now)
}

/// When a refresh token that is issued now expires, unless its session ends before. An access token of its generation may be
/// issued until the grace is over, used to the end of its life, and be followed by a pause as long as a session may be idle:
/// what ends a session that is idle is its row, not this token.
pub(crate) fn refresh_expires_at(app: &App, now: Timestamp) -> Timestamp {
    let session = &app.config.session;
    now.plus(session.refresh_grace)
        .plus(app.config.auth.access_lifetime)
        .plus(session.idle)
}

/// Issues both tokens of the session's current generation.
pub(super) fn issue_tokens(
    app: &App,
    session: &SessionRow,
    user: Arc<UserCopy>,
    now: Timestamp,
) -> Result<Issued> {
    let until = ends_at(&app.config.session, session, user.role);
    let mut issued = issue_access(app, session, user, until, now)?;
    issued.refresh_token = Some(app.keys.refresh.issue(&Generation {
        user: session.user_id(),
        session: session.id(),
        number: session.generation,
        issued_at: session.generation_issued_at,
        expires_at: session.generation_expires_at,
    }));
    Ok(issued)
}

/// Issues both tokens of a generation that was just stored, and publishes the session in the background.
pub(super) fn issue_next(
    app: &App,
    session: SessionRow,
    user: Arc<UserCopy>,
    now: Timestamp,
) -> Result<Issued> {
    let issued = issue_tokens(app, &session, Arc::clone(&user), now)?;
    app.cache.note_generation(session.id(), session.generation);
    app.cache.publish_later(session, user);
    Ok(issued)
}

/// Issues an access token that expires at `until` at the latest.
pub(super) fn issue_access(
    app: &App,
    session: &SessionRow,
    user: Arc<UserCopy>,
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
        auth_time: Some(session.authenticated_at().as_secs()),
        amr: session.amr.split_ascii_whitespace().map(str::to_owned).collect(),
        acr: Some(session.acr.clone()),
        jti: uuid::Builder::from_random_bytes(crypto::random_bytes())
            .into_uuid()
            .to_string(),
        iat,
        exp,
        aud: app.config.auth.audience.clone(),
    };
    Ok(Issued {
        access_token: app.keys.access.issue(&claims)?,
        user,
        refresh_token: None,
        device: None,
        expires_in: exp - iat,
        refresh_expires_at: session.generation_expires_at,
        issued_at: now,
    })
}
