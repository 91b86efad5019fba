//! Issuing the tokens of a session.

use josoor_auth_verify::{AccessType, Claims};

use crate::app::App;
use crate::cache::UserCopy;
use crate::crypto;
use crate::domain::{KnownDevice, Secret, Timestamp};
use crate::error::Result;
use crate::keys::Generation;
use crate::store::{SessionRow, User};

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

/// Makes both tokens of the session's current generation, after the commit.
pub(crate) async fn issue(app: &App, session: &SessionRow, user: &User, now: Timestamp) -> Result<Issued> {
    let user = UserCopy::from(user);
    app.cache.publish(session, &user).await;
    issue_both(app, session, user, now)
}

pub(super) fn issue_both(app: &App, session: &SessionRow, user: UserCopy, now: Timestamp) -> Result<Issued> {
    let mut issued = issue_access(app, session, user, session.ends_at(), now)?;
    issued.refresh_token = Some(app.keys.refresh.issue(&generation_of(session)));
    Ok(issued)
}

pub(super) fn issue_access(
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
        auth_time: None,
        amr: Vec::new(),
        acr: None,
        jti: uuid::Builder::from_random_bytes(crypto::random_bytes())
            .into_uuid()
            .to_string(),
        iat,
        exp,
        aud: app.config.auth.audience.clone(),
    };
    Ok(Issued {
        user,
        access_token: app.keys.access.issue(&claims)?,
        refresh_token: None,
        device: None,
        expires_in: exp - iat,
        session_ends_at: session.ends_at(),
        issued_at: now,
    })
}

/// The current generation, for its refresh token.
fn generation_of(session: &SessionRow) -> Generation {
    Generation {
        user: session.user_id(),
        session: session.id(),
        number: session.generation,
        issued_at: session.generation_issued_at,
        expires_at: session.generation_expires_at,
    }
}
