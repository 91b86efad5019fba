//! Passkeys (WebAuthn level 3): registered and used.
//!
//! The checks of the standard are in `ceremony`, those that take the database here. A passkey shows that its user possesses it; where
//! the authenticator verified the user besides, that is a second factor of the same moment.

mod authenticator_data;
mod cbor;
mod ceremony;
pub mod challenge;
mod client_data;
mod fault;
mod public_key;

#[cfg(test)]
mod tests;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub use self::authenticator_data::ID_LENGTHS;
pub use self::ceremony::{Registered, register};
use self::ceremony::{Used, verify as verify_use};
use self::challenge::{Answered, Purpose};
use self::client_data::ClientData;
pub use self::fault::Fault;
pub use self::public_key::{ALGORITHMS, is_public_key};
use crate::act::{Act, Client};
use crate::app::App;
use crate::auth::proof::{Method, Proof};
use crate::domain::{PasskeyAssertion, Timestamp, UserId};
use crate::error::Result;
use crate::store::{Conn, Passkey, User};

/// How many passkeys an account has at most.
pub const AT_MOST: usize = 20;

/// What a passkey without a name is called.
pub const UNNAMED: &str = "Passkey";

/// What a browser is asked for that is to use a passkey (`PublicKeyCredentialRequestOptions`; WebAuthn level 3, 5.5).
#[derive(Clone, Debug)]
pub struct RequestOptions {
    /// The challenge.
    pub challenge: Vec<u8>,
    /// The host or domain.
    pub rp_id: String,
    /// For how long the challenge is answered.
    pub timeout: Duration,
    /// Which passkeys may answer; none: any that the browser has for the domain.
    pub allowed: Vec<Descriptor>,
    /// Whether the authenticator has to verify its user.
    pub must_verify_user: bool,
}

/// A passkey as browsers are given it (WebAuthn level 3, 5.8.3).
#[derive(Clone, Debug)]
pub struct Descriptor {
    /// The credential's id.
    pub id: Vec<u8>,
    /// How the authenticator is reached.
    pub transports: Vec<String>,
}

impl From<&Passkey> for Descriptor {
    fn from(passkey: &Passkey) -> Self {
        let transports = passkey.transports.as_deref().unwrap_or_default();
        Self {
            id: passkey.external_id.clone(),
            transports: transports.split_ascii_whitespace().map(str::to_owned).collect(),
        }
    }
}

/// Bytes as JSON has them (WebAuthn level 3, 5.1: base64url without padding).
pub fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What a browser is asked for to sign in: of anybody the same.
pub fn sign_in_options(app: &App) -> RequestOptions {
    RequestOptions {
        challenge: challenge::issue(app, Purpose::SignIn),
        rp_id: app.config.passkeys.rp_id.clone(),
        timeout: challenge::LIFE,
        allowed: Vec::new(),
        must_verify_user: true,
    }
}

/// What a browser is asked for to show a passkey of this user; `None` when there is none for this host or domain.
///
/// # Errors
/// `StoreUnavailable`.
pub async fn options_for(
    app: &App,
    conn: &mut Conn,
    user: UserId,
    purpose: Purpose,
) -> Result<Option<RequestOptions>> {
    let allowed = own(app, conn, user).await?;
    if allowed.is_empty() {
        return Ok(None);
    }
    Ok(Some(RequestOptions {
        challenge: challenge::issue(app, purpose),
        rp_id: app.config.passkeys.rp_id.clone(),
        timeout: challenge::LIFE,
        allowed,
        must_verify_user: false,
    }))
}

/// The passkeys of a user that are for this host or domain.
///
/// # Errors
/// `StoreUnavailable`.
pub async fn own(app: &App, conn: &mut Conn, user: UserId) -> Result<Vec<Descriptor>> {
    let passkeys = conn.passkeys_of(user).await?;
    let here = passkeys
        .iter()
        .filter(|passkey| passkey.rp_id.as_deref() == Some(&app.config.passkeys.rp_id));
    Ok(here.map(Descriptor::from).collect())
}

/// The proofs of a passkey that was registered: its authenticator made the key a moment ago.
pub fn registration_proofs(user: UserId, registered: &Registered, at: Timestamp) -> Vec<Proof> {
    proofs_of(
        user,
        registered.is_backup_eligible,
        registered.is_user_verified,
        at,
    )
}

fn proofs_of(user: UserId, is_backup_eligible: bool, is_user_verified: bool, at: Timestamp) -> Vec<Proof> {
    // What can be copied to other devices is no hardware's.
    let possession = if is_backup_eligible {
        Method::SoftwareKey
    } else {
        Method::HardwareKey
    };
    let verification = is_user_verified.then_some(Method::UserVerification);
    let methods = std::iter::once(possession).chain(verification);
    methods.map(|method| Proof::new(user, method, at)).collect()
}

/// A passkey that was presented at the beginning of a sign-in, with a right signature. It is not used yet.
#[derive(Debug)]
pub struct Presented {
    /// The account, as it was read.
    pub user: User,
    passkey: Passkey,
    used: Used,
    answered: Answered,
}

/// Whose passkey begins a sign-in, and why it was rejected.
pub type Rejected = (Option<UserId>, Fault);

/// Finds the passkey of a sign-in and verifies everything that takes no lock. The passkey names the account.
///
/// # Errors
/// `RateLimited`, before anything is read; `StoreUnavailable`.
pub async fn present(
    app: &App,
    assertion: &PasskeyAssertion,
    client: &Client,
) -> Result<Result<Presented, Rejected>> {
    app.limits.code_from(&client.ip).await?;
    let checked = ClientData::read(&assertion.client_data).and_then(|client_data| {
        let answered = challenge::check(app, Purpose::SignIn, &client_data.challenge()?)?;
        Ok((client_data, answered))
    });
    let (client_data, answered) = match checked {
        Ok(checked) => checked,
        Err(fault) => return Ok(Err((None, fault))),
    };
    // From the writer, which sees every commit.
    let mut conn = app.db.write().await?;
    let Some(passkey) = conn.passkey_by_external_id(&assertion.id).await? else {
        return Ok(Err((None, Fault::Unknown)));
    };
    let user = conn.user_by_id(passkey.user_id()).await?;
    drop(conn);
    let Some(user) = user.filter(|user| user.deleted_at.is_none() && user.frozen_at.is_none()) else {
        return Ok(Err((Some(passkey.user_id()), Fault::Unknown)));
    };
    // WebAuthn level 3, 7.2, step 6: the authenticator names the user, because nothing else does.
    if assertion.user_handle.as_deref() != Some(user.uid.as_bytes()) {
        return Ok(Err((Some(user.id), Fault::WrongUser)));
    }
    let verified = verify_use(
        assertion,
        &client_data,
        &passkey.public_key,
        passkey.is_backup_eligible,
        &app.config.passkeys,
    );
    match verified {
        Ok(used) => Ok(Ok(Presented {
            user,
            passkey,
            used,
            answered,
        })),
        Err(fault) => Ok(Err((Some(user.id), fault))),
    }
}

impl Presented {
    /// Uses the passkey, in the unit of work in which its user is locked. Of several uses of one challenge, or one counter, exactly one
    /// succeeds.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn redeem(&self, act: &mut Act) -> Result<Result<Vec<Proof>, Fault>> {
        redeem(act, &self.passkey, self.used, self.answered).await
    }
}

async fn redeem(
    act: &mut Act,
    passkey: &Passkey,
    used: Used,
    answered: Answered,
) -> Result<Result<Vec<Proof>, Fault>> {
    if let Err(fault) = challenge::consume(act, answered).await? {
        return Ok(Err(fault));
    }
    let (counter, now) = (i64::from(used.counter), act.now);
    if !act
        .tx
        .use_passkey(passkey.id, counter, used.is_backed_up, now)
        .await?
    {
        let left = act.tx.passkey_by_external_id(&passkey.external_id).await?;
        let fault = if left.is_some() {
            Fault::CounterBack
        } else {
            Fault::Unknown
        };
        return Ok(Err(fault));
    }
    Ok(Ok(proofs_of(
        passkey.user_id(),
        passkey.is_backup_eligible,
        used.is_user_verified,
        now,
    )))
}

/// Verifies a passkey of a user, who is locked, as the answer to a challenge, and uses both.
///
/// # Errors
/// `StoreUnavailable`.
pub(super) async fn verify(
    act: &mut Act,
    user: &User,
    assertion: &PasskeyAssertion,
    purpose: Purpose,
) -> Result<Result<Vec<Proof>, Fault>> {
    let client_data = match ClientData::read(&assertion.client_data) {
        Ok(client_data) => client_data,
        Err(fault) => return Ok(Err(fault)),
    };
    let answered = client_data
        .challenge()
        .and_then(|challenge| challenge::check(&act.app, purpose, &challenge));
    let answered = match answered {
        Ok(answered) => answered,
        Err(fault) => return Ok(Err(fault)),
    };
    let passkey = act.tx.passkey_by_external_id(&assertion.id).await?;
    let Some(passkey) = passkey.filter(|passkey| passkey.user_id() == user.id) else {
        return Ok(Err(Fault::Unknown));
    };
    let handle = assertion.user_handle.as_deref();
    if handle.is_some_and(|handle| handle != user.uid.as_bytes()) {
        return Ok(Err(Fault::WrongUser));
    }
    let verified = verify_use(
        assertion,
        &client_data,
        &passkey.public_key,
        passkey.is_backup_eligible,
        &act.app.config.passkeys,
    );
    match verified {
        Ok(used) => redeem(act, &passkey, used, answered).await,
        Err(fault) => Ok(Err(fault)),
    }
}
