//! Opening a session.

use super::issue::{Issued, issue, refresh_expires_at};
use super::limit::revoke_beyond_limit;
use crate::act::{Act, Entry};
use crate::auth::devices::{self, Familiarity, SignInDevice};
use crate::auth::flow::Authenticated;
use crate::domain::{Audit, KnownDevice, RevokeReason, SessionId};
use crate::error::Result;
use crate::keys::DeviceMark;
use crate::store::{NewSession, SessionRow, Transport, User};

/// What a sign-in comes with besides its proofs.
#[derive(Clone, Copy, Debug, Default)]
pub struct SignInWith {
    /// The mark of a device. Its code is right, and it was issued for the address that is signed in to.
    pub mark: Option<DeviceMark>,
    /// Where the client stores its refresh token.
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

/// A session that was opened in a unit of work.
#[derive(Debug)]
pub struct Opened {
    /// Its row.
    pub session: SessionRow,
    device: SignInDevice,
}

/// Opens a session, the only way to do so: in the unit of work in which `user`, the account of `who`, is locked or new. Revokes
/// the session whose cookie is overwritten, and sessions beyond `session.max_per_user`; failed sign-ins in a row are over, however
/// the user signed in.
///
/// # Errors
/// `SessionLimit` when the account has as many sessions as it may have and none may be revoked. The unit of work must be
/// dropped then.
pub async fn open(act: &mut Act, who: &Authenticated, user: &User, with: SignInWith) -> Result<Opened> {
    // The user who signs in revokes the sessions that make way.
    let actor = act.client.actor.replace(who.user());
    if let Some(Held { session, generation }) = with.replaces {
        let reason = RevokeReason::Replaced;
        let replaced = act
            .tx
            .revoke_session_by_token(session, generation, reason, act.now)
            .await?;
        act.record_revoked(replaced.as_slice(), reason).await?;
    }
    revoke_beyond_limit(act, user).await?;
    act.client.actor = actor;
    act.tx.clear_failed_sign_ins(&user.email_key).await?;
    let device = devices::record_sign_in(act, user, with.mark.as_ref()).await?;
    let expires_at = act.now.plus(act.app.config.session.absolute);
    let new = NewSession {
        // Always a new one; nothing that the client sent becomes an identifier.
        id: SessionId::random(),
        user_id: who.user(),
        created_at: act.now,
        expires_at,
        idle_expires_at: act.now.plus(act.app.config.session.idle).min(expires_at),
        refresh_expires_at: refresh_expires_at(&act.app, act.now).min(expires_at),
        ip: &act.client.ip,
        user_agent: &act.client.user_agent,
        transport: with.transport,
        device: Some(device.device.id),
        on_known_device: device.familiarity == Familiarity::Device,
        auth_time: who.verification().auth_time(),
        amr: who.verification().amr(),
        acr: who.verification().acr().as_str(),
    };
    let session = act.tx.insert_session(&new).await?;
    Ok(Opened { session, device })
}

impl Opened {
    /// Notifies the owner, if the account did not know the device.
    pub(crate) async fn notify_of_new_device(&self, act: &mut Act, user: &User) -> Result<()> {
        if self.device.familiarity == Familiarity::New {
            devices::notify_of_new_device(act, user).await?;
        }
        Ok(())
    }

    /// Lets the device spare the second factor for a while.
    pub(super) async fn trust_device(&self, act: &mut Act) -> Result<()> {
        let KnownDevice { user, id } = self.device.device;
        let until = act.now.plus(devices::TRUST);
        if act.tx.trust_device(user, id, until).await? {
            act.audit(Entry::success(Audit::DeviceTrust).subject(user));
        }
        Ok(())
    }

    /// Commits the unit of work and issues both tokens.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn commit(self, act: Act, user: &User) -> Result<Issued> {
        let (app, now) = (act.app.clone(), act.now);
        act.commit().await?;
        let mut issued = issue(&app, &self.session, user, now).await?;
        issued.device = Some(self.device.device);
        Ok(issued)
    }
}
