//! The first administrator.

use crate::account::register::{self, Registration};
use crate::act::Client;
use crate::app::App;
use crate::domain::{Purpose, Role, Secret, Timestamp};
use crate::error::{Error, Result};
use crate::sessions::{Issued, SignInWith};
use crate::store::NewOneTimeToken;

/// A one-time token for the first administrator.
#[derive(Debug)]
pub struct Offer {
    /// The token.
    pub token: Secret,
    /// Its end.
    pub expires_at: Timestamp,
}

/// Issues a one-time token for the first administrator, if there is no administrator yet; earlier ones expire. One that was issued
/// lately is given again, so that nodes which start together, and a second start, give one link that works.
pub async fn offer_setup(app: &App) -> Result<Option<Offer>> {
    let mut act = app.act(&Client::default()).await?;
    act.tx.pass_guard("admins").await?;
    if act.tx.count_active_admins().await? > 0 {
        return Ok(None);
    }
    let fresh_until = act.now.plus(Purpose::Setup.lifetime() / 2);
    if let Some((id, expires_at)) = act.tx.fresh_setup_token(fresh_until).await? {
        let token = app.keys.one_time.issue(Purpose::Setup, id);
        return Ok(Some(Offer { token, expires_at }));
    }
    act.tx
        .expire_one_time_tokens(Purpose::Setup, None, act.now)
        .await?;
    let token = NewOneTimeToken {
        is_pending: false,
        ..act.new_token(Purpose::Setup, None)
    };
    act.tx.insert_one_time_token(&token).await?;
    let (id, expires_at) = (token.id, token.expires_at);
    act.commit().await?;
    let token = app.keys.one_time.issue(Purpose::Setup, id);
    Ok(Some(Offer { token, expires_at }))
}

/// Creates the first administrator with the token that the first start printed, and signs it in.
///
/// # Errors
/// `LinkInvalid`, `LinkExpired`, `LinkUsed`; `LinkUsed` also once there is an administrator.
pub async fn set_up(
    app: &App,
    token: &str,
    new: Registration,
    with: SignInWith,
    client: &Client,
) -> Result<Issued> {
    let id = app
        .keys
        .one_time
        .read(Purpose::Setup, token)
        .ok_or(Error::LinkInvalid)?;
    let row = app.db.read().await?.one_time_token(id).await?;
    let row = row.ok_or(Error::LinkInvalid)?;
    if row.used_at.is_some() {
        return Err(Error::LinkUsed);
    }
    if app.clock.now() >= row.expires_at {
        return Err(Error::LinkExpired);
    }
    let issued = register::create(app, new, Role::Admin, with, client, Some(id)).await?;
    issued.ok_or_else(|| Error::internal(anyhow::anyhow!("the first administrator was not signed in")))
}
