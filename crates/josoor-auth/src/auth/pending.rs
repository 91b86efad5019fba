//! A sign-in between two factors: a row of `flows`, which any node takes up.
//!
//! The client that began it holds its **token**: the row's id and 128 random bits. A browser also holds a **binding**, a cookie
//! with 256 random bits, so that a token that leaks out of a page finishes nothing elsewhere. Of both only a code under the
//! server-only key is stored. The flow ends after ten minutes, with the fifth wrong code, and with any change of the account.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::confirm_code;
use super::devices;
use super::factors::passkeys::challenge::Purpose;
use super::factors::passkeys::{self, RequestOptions};
use super::factors::{self, Factors, Shown, Wrong};
use super::flow::Flow;
use super::proof::{Method, Proof};
use crate::act::{Act, Client, Entry};
use crate::app::App;
use crate::crypto;
use crate::domain::{Audit, FactorCode, FactorMethod, MailKind, Secret, Timestamp, UserId};
use crate::error::{Error, Result};
use crate::store::{FlowKind, FlowRow, NewFlow, Transport, User};

/// How long a sign-in waits for its second factor.
pub const LIFE: Duration = Duration::from_mins(10);

/// The wrong code that ends it.
pub const ATTEMPTS: i64 = 5;

/// What the client gets that is asked for a second factor.
#[derive(Debug)]
pub struct FactorNeeded {
    /// Names the sign-in in the next step.
    pub flow: Secret,
    /// What the browser is given besides, in cookie transport.
    pub binding: Option<Secret>,
    /// How the sign-in can be finished.
    pub methods: Vec<FactorMethod>,
    /// What the browser is asked for where a passkey is among them.
    pub passkey: Option<RequestOptions>,
    /// For how long.
    pub expires_in: Duration,
    /// Whether the user may have a device trusted.
    pub may_trust: bool,
}

/// A sign-in that waits for its second factor, with the account as it was read.
#[derive(Debug)]
pub struct Pending {
    /// The account.
    pub user: User,
    /// Where the client that began it wants its refresh token.
    pub transport: Transport,
    id: Uuid,
    user_version: i64,
    proofs: Vec<Proof>,
}

/// What was verified, as it is sealed.
#[derive(Serialize, Deserialize)]
struct Contents {
    transport: String,
    /// Values of `amr`, each with its time in microseconds since 1970.
    proofs: Vec<(String, i64)>,
}

/// The name that the contents of a flow are sealed under.
fn name(id: &Uuid) -> [&[u8]; 2] {
    [b"sign-in", id.as_bytes()]
}

pub(super) fn mac_of(app: &App, id: &Uuid, secret: &[u8], binding: &str) -> [u8; 32] {
    app.keys
        .tag("sign-in-flow", &[id.as_bytes(), secret, binding.as_bytes()])
}

/// Begins to wait, in the unit of work in which `user` is locked: its first factor was verified by `proof`.
///
/// # Errors
/// `StoreUnavailable`.
pub async fn begin(act: &mut Act, user: &User, proof: Proof, transport: Transport) -> Result<FactorNeeded> {
    let (id, needed) = insert(act, user, proof, transport).await?;
    let factors = Factors::of(&mut act.tx, user.id).await?;
    let methods = factors.methods(&act.app.config.passkeys.rp_id);
    let passkey = if methods.contains(&FactorMethod::Passkey) {
        passkeys::options_for(&act.app, &mut act.tx, user.id, Purpose::Flow(id)).await?
    } else {
        None
    };
    Ok(FactorNeeded {
        methods,
        passkey,
        may_trust: devices::may_trust(&act.app, user),
        ..needed
    })
}

/// As [`begin`], for a user who is sent the code by mail.
///
/// # Errors
/// `StoreUnavailable`.
pub async fn begin_with_mail_code(
    act: &mut Act,
    user: &User,
    proof: Proof,
    transport: Transport,
) -> Result<FactorNeeded> {
    let (id, needed) = insert(act, user, proof, transport).await?;
    confirm_code::send(act, user, id, MailKind::ConfirmSignIn).await?;
    Ok(FactorNeeded {
        methods: vec![FactorMethod::MailCode],
        ..needed
    })
}

/// Adds the row, and records it. The methods are still missing.
async fn insert(
    act: &mut Act,
    user: &User,
    proof: Proof,
    transport: Transport,
) -> Result<(Uuid, FactorNeeded)> {
    let id = uuid::Builder::from_random_bytes(crypto::random_bytes()).into_uuid();
    let secret = Zeroizing::new(crypto::random_bytes::<16>());
    let binding = (transport == Transport::Cookie)
        .then(|| Secret::new(URL_SAFE_NO_PAD.encode(*Zeroizing::new(crypto::random_bytes::<32>()))));
    let bound = binding.as_ref().map_or("", Secret::expose);
    let contents = Contents {
        transport: transport.as_str().to_owned(),
        proofs: vec![(proof.method().amr().to_owned(), proof.at().as_micros())],
    };
    let contents = serde_json::to_vec(&contents).map_err(Error::internal)?;
    let flow = NewFlow {
        id,
        kind: FlowKind::SignIn,
        client_mac: Some(&mac_of(&act.app, &id, &*secret, bound)),
        user: user.id,
        user_version: user.version,
        session: None,
        sealed: &act.app.keys.flow_contents.seal(&name(&id), &contents)?,
        created_at: act.now,
        expires_at: act.now.plus(LIFE),
    };
    act.tx.insert_flow(&flow).await?;
    act.audit(Entry::success(Audit::MfaRequest).subject(user.id));
    let token = Zeroizing::new([id.as_bytes().as_slice(), &*secret].concat());
    let needed = FactorNeeded {
        flow: Secret::new(URL_SAFE_NO_PAD.encode(&*token)),
        binding,
        methods: Vec::new(),
        passkey: None,
        expires_in: LIFE,
        may_trust: false,
    };
    Ok((id, needed))
}

/// The sign-in of a token, for the client that began it.
///
/// # Errors
/// `RateLimited`, before anything is read; `FlowExpired` for everything that cannot be finished, whatever the reason.
pub async fn resume(app: &App, token: &str, binding: Option<&str>, client: &Client) -> Result<Pending> {
    app.limits.code_from(&client.ip).await?;
    let (id, secret) = read_token(token).ok_or(Error::FlowExpired)?;
    // From the writer, which sees every commit.
    let mut conn = app.db.write().await?;
    let row = conn.flow(id).await?.ok_or(Error::FlowExpired)?;
    if !row.is_open(FlowKind::SignIn, ATTEMPTS, app.clock.now()) {
        return Err(Error::FlowExpired);
    }
    let contents = open(app, &row)?;
    let transport: Transport = contents.transport.parse().map_err(|()| Error::FlowExpired)?;
    let bound = match transport {
        Transport::Cookie => binding.unwrap_or_default(),
        Transport::Body => "",
    };
    let expected = mac_of(app, &id, &secret, bound);
    let is_same = row
        .client_mac
        .as_ref()
        .is_some_and(|stored| crypto::equal(stored, &expected));
    let (Some(user), Some(user_version), true) = (row.user_id(), row.user_version, is_same) else {
        return Err(Error::FlowExpired);
    };
    let user = conn.user_by_id(user).await?.ok_or(Error::FlowExpired)?;
    let proofs = contents.proofs_of(user.id).ok_or(Error::FlowExpired)?;
    Ok(Pending {
        user,
        transport,
        id,
        user_version,
        proofs,
    })
}

pub(super) fn read_token(token: &str) -> Option<(Uuid, Zeroizing<Vec<u8>>)> {
    // 32 bytes.
    if token.len() != 43 {
        return None;
    }
    let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(token).ok()?);
    let (id, secret) = bytes.split_at_checked(16)?;
    Some((Uuid::from_slice(id).ok()?, Zeroizing::new(secret.to_vec())))
}

fn open(app: &App, row: &FlowRow) -> Result<Contents> {
    let contents = app.keys.flow_contents.open(&name(&row.id), &row.sealed)?;
    serde_json::from_slice(&contents).map_err(Error::internal)
}

impl Contents {
    fn proofs_of(&self, user: UserId) -> Option<Vec<Proof>> {
        let proof = |(amr, at): &(String, i64)| {
            let method = Method::of_amr(amr)?;
            Some(Proof::new(user, method, Timestamp::from_micros(*at)))
        };
        self.proofs.iter().map(proof).collect()
    }
}

impl Pending {
    /// Locks the account and counts an attempt. Gives the account as of now, and whether this is the last attempt.
    ///
    /// # Errors
    /// `FlowExpired` when the account was changed, or the flow is over.
    pub async fn attempt(&self, act: &mut Act) -> Result<(User, bool)> {
        let user = act.tx.lock_user(self.user.id).await?;
        let user = user
            .filter(|user| user.version == self.user_version)
            .ok_or(Error::FlowExpired)?;
        let now = act.now;
        let attempt = act.tx.count_flow_attempt(self.id, ATTEMPTS, now).await?;
        let attempt = attempt.ok_or(Error::FlowExpired)?;
        Ok((user, attempt >= ATTEMPTS))
    }

    /// What a passkey that finishes it answers.
    pub const fn challenge(&self) -> Purpose {
        Purpose::Flow(self.id)
    }

    /// Verifies what a user, who is locked, answers, and uses it up.
    ///
    /// # Errors
    /// As [`factors::verify`].
    pub async fn verify(
        &self,
        act: &mut Act,
        user: &User,
        shown: Shown<'_>,
    ) -> Result<Result<Vec<Proof>, Wrong>> {
        let Shown::Code(FactorCode::Mail(code), counted) = shown else {
            return factors::verify(act, user, shown).await;
        };
        let proof = confirm_code::verify(act, user, self.id, code, counted).await?;
        Ok(proof.map(|proof| vec![proof]).ok_or(Wrong::MailCode))
    }

    /// Ends it without a session: the account's owner is notified, because somebody knows the password and not the code.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn fail(&self, act: &mut Act) -> Result<()> {
        let now = act.now;
        if act.tx.consume_flow(self.id, now).await? {
            act.notify(&self.user, MailKind::MfaFailed).await?;
        }
        Ok(())
    }

    /// Ends it with the second factor. Gives the sign-in with all of its proofs; exactly one of several at once does.
    ///
    /// # Errors
    /// `FlowExpired`.
    pub async fn finish(&self, act: &mut Act, second: Vec<Proof>) -> Result<Flow> {
        let now = act.now;
        if !act.tx.consume_flow(self.id, now).await? {
            return Err(Error::FlowExpired);
        }
        let first = self.proofs.iter().copied();
        Ok(first.chain(second).fold(Flow::sign_in(), Flow::with))
    }
}
