//! Opening a session.

use super::issue::{Issued, issue};
use super::limit::end_sessions_beyond_the_limit;
use super::revoke::record_revocations;
use crate::act::Client;
use crate::app::App;
use crate::auth::devices::{self, Familiarity, SignInDevice};
use crate::cache::Effects;
use crate::domain::{SessionId, Timestamp};
use crate::error::Result;
use crate::keys::DeviceMark;
use crate::store::{Conn, NewSession, RevokeReason, SessionRow, Transport, User};

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
