//! Codes that are sent by mail, in place of a password: a row of `flows`, which any node takes up.
//!
//! A request begins a flow for an address of which it is not known whether it has an account: only resolving the request looks
//! that up. The client holds the flow's **token**, and a browser also a **binding**, a cookie, as between two factors
//! (`pending`). The mail has a one-time token with the id of the flow: as a code of eight digits, to be typed where it was asked
//! for, and as a link. The link signs in only the browser that holds the binding; any other shows the code, so that who opens it,
//! such as a scanner of mails, gains nothing, and approves no other browser.
//!
//! Both are derived from the id under the server-only key and stored nowhere. They work once, for ten minutes from when the mail was
//! sent; a newer mail replaces them, and so does any change of the account. A flow takes five codes.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::pending::{mac_of, read_token};
use super::proof::{Method, Proof};
use crate::act::{Act, Client, parse_address};
use crate::app::App;
use crate::crypto;
use crate::domain::{Email, MailCode, Purpose, Secret, UserId};
use crate::error::{Error, Result};
use crate::store::{FlowKind, FlowRow, OneTimeToken, Transport, User};

/// How long a flow waits for its code; the mail may be late.
pub const LIFE: Duration = Duration::from_mins(30);

/// The code that is the last one of a flow.
pub const ATTEMPTS: i64 = 5;

/// What the client gets that asks for a code.
#[derive(Debug)]
pub struct Begun {
    /// The flow, which is also the id of the mail's one-time token.
    pub id: Uuid,
    /// Names the flow in the next step.
    pub flow: Secret,
    /// What the browser is given besides, in cookie transport.
    pub binding: Option<Secret>,
    /// For how long a code is taken.
    pub expires_in: Duration,
}

/// A flow that waits for its code, taken up by the client that began it.
#[derive(Debug)]
pub struct Waiting {
    /// Where the client that began it wants its refresh token.
    pub transport: Transport,
    /// The address that was typed.
    pub email: Email,
    /// Where the page that began it goes after the sign-in.
    pub return_to: Option<String>,
    id: Uuid,
}

/// What is shown to finish a sign-in.
#[derive(Clone, Copy, Debug)]
pub enum Shown<'a> {
    /// The code.
    Code(&'a MailCode),
    /// The link's token, whose own code was verified when the flow was taken up with it.
    Link,
}

/// What became of an attempt.
#[derive(Debug)]
pub enum Attempt {
    /// The account, locked, with the proof.
    Right(Box<User>, Proof),
    /// Nothing that signs in. The account that the mail was for, if one was sent.
    Wrong(Option<UserId>),
}

/// What is sealed of a flow.
#[derive(Serialize, Deserialize)]
struct Contents {
    transport: String,
    email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    return_to: Option<String>,
    /// A code over the browser's binding, by which its own link is recognised.
    #[serde(skip_serializing_if = "Option::is_none")]
    binding: Option<Vec<u8>>,
}

/// The name that the contents of a flow are sealed under.
fn name(id: &Uuid) -> [&[u8]; 2] {
    [b"mail-code", id.as_bytes()]
}

fn binding_mac(app: &App, id: &Uuid, binding: &str) -> [u8; 32] {
    app.keys
        .tag("mail-code-binding", &[id.as_bytes(), binding.as_bytes()])
}

/// Begins a flow. Nothing is looked up.
///
/// # Errors
/// `StoreUnavailable`.
pub async fn begin(
    act: &mut Act,
    email: &Email,
    transport: Transport,
    return_to: Option<String>,
) -> Result<Begun> {
    let id = uuid::Builder::from_random_bytes(crypto::random_bytes()).into_uuid();
    let secret = Zeroizing::new(crypto::random_bytes::<16>());
    let binding = (transport == Transport::Cookie)
        .then(|| Secret::new(URL_SAFE_NO_PAD.encode(*Zeroizing::new(crypto::random_bytes::<32>()))));
    let bound = binding.as_ref().map_or("", Secret::expose);
    let contents = Contents {
        transport: transport.as_str().to_owned(),
        email: email.address().to_owned(),
        return_to,
        binding: binding
            .as_ref()
            .map(|binding| binding_mac(&act.app, &id, binding.expose()).to_vec()),
    };
    let contents = serde_json::to_vec(&contents).map_err(Error::internal)?;
    let sealed = act.app.keys.flow_contents.seal(&name(&id), &contents)?;
    let client_mac = mac_of(&act.app, &id, &*secret, bound);
    let (now, until) = (act.now, act.now.plus(LIFE));
    act.tx
        .insert_mail_flow(id, &client_mac, email.key(), &sealed, now, until)
        .await?;
    let token = Zeroizing::new([id.as_bytes().as_slice(), &*secret].concat());
    Ok(Begun {
        id,
        flow: Secret::new(URL_SAFE_NO_PAD.encode(&*token)),
        binding,
        expires_in: LIFE,
    })
}

/// The flow of a token, for the client that began it.
///
/// # Errors
/// `RateLimited`, before anything is read; `FlowExpired` for everything that cannot be finished, whatever the reason.
pub async fn resume(app: &App, token: &str, binding: Option<&str>, client: &Client) -> Result<Waiting> {
    app.limits.code_from(&client.ip).await?;
    let (id, secret) = read_token(token).ok_or(Error::FlowExpired)?;
    let (row, contents) = load(app, id).await?;
    let waiting = contents.waiting(id)?;
    let bound = match waiting.transport {
        Transport::Cookie => binding.unwrap_or_default(),
        Transport::Body => "",
    };
    let expected = mac_of(app, &id, &secret, bound);
    let is_same = row
        .client_mac
        .as_ref()
        .is_some_and(|stored| crypto::equal(stored, &expected));
    if is_same {
        Ok(waiting)
    } else {
        Err(Error::FlowExpired)
    }
}

/// The flow whose mail has this link, for the browser that began it; `None` for any other, and for programs.
///
/// # Errors
/// `RateLimited`, before anything is read; `LinkInvalid`; `FlowExpired`.
pub async fn resume_by_link(
    app: &App,
    link: &str,
    binding: Option<&str>,
    client: &Client,
) -> Result<Option<Waiting>> {
    app.limits.code_from(&client.ip).await?;
    let id = app.keys.one_time.read(Purpose::SignIn, link);
    let id = id.ok_or(Error::LinkInvalid)?;
    let (_, contents) = load(app, id).await?;
    let (Some(binding), Some(stored)) = (binding, &contents.binding) else {
        return Ok(None);
    };
    if !crypto::equal(stored, &binding_mac(app, &id, binding)) {
        return Ok(None);
    }
    contents.waiting(id).map(Some)
}

/// The code that belongs to a link, to be typed in the browser that asked for it.
///
/// # Errors
/// `LinkInvalid`.
pub fn code_of_link(app: &App, link: &str) -> Result<Secret> {
    let id = app.keys.one_time.read(Purpose::SignIn, link);
    let id = id.ok_or(Error::LinkInvalid)?;
    Ok(app.keys.one_time.code(Purpose::SignIn, id))
}

async fn load(app: &App, id: Uuid) -> Result<(FlowRow, Contents)> {
    // From the writer, which sees every commit.
    let row = app.db.write().await?.flow(id).await?;
    let row = row
        .filter(|row| row.is_open(FlowKind::MailCode, ATTEMPTS, app.clock.now()))
        .ok_or(Error::FlowExpired)?;
    let contents = app.keys.flow_contents.open(&name(&id), &row.sealed)?;
    let contents = serde_json::from_slice(&contents).map_err(Error::internal)?;
    Ok((row, contents))
}

impl Contents {
    fn waiting(&self, id: Uuid) -> Result<Waiting> {
        Ok(Waiting {
            transport: self.transport.parse().map_err(|()| Error::FlowExpired)?,
            email: parse_address(&self.email)?,
            return_to: self.return_to.clone(),
            id,
        })
    }
}

/// Whether a user may sign in with a code by mail: active, and of no role that must have a second factor, whose users are asked
/// for both of theirs.
pub fn may_sign_in(app: &App, user: &User) -> bool {
    let must_have_factor = app.config.mfa.required.contains(&user.role);
    user.is_active && user.deleted_at.is_none() && user.frozen_at.is_none() && !must_have_factor
}

/// What the token of a mail is bound to: any change of the account ends it.
pub fn bound_to(user: &User) -> String {
    user.version.to_string()
}

/// Locks the account, counts the attempt, and verifies what is shown; it is used up where it is right. The work is the same where
/// no mail was sent.
///
/// # Errors
/// `FlowExpired` after the fifth attempt, and when another one finished the flow.
pub async fn verify(act: &mut Act, waiting: &Waiting, shown: Shown<'_>) -> Result<Attempt> {
    let (id, now) = (waiting.id, act.now);
    let token = act.tx.one_time_token(id).await?;
    let owner = token.as_ref().and_then(OneTimeToken::user_id);
    // There is no user 0.
    let user = act.tx.lock_user(owner.unwrap_or(UserId(0))).await?;
    let attempt = act.tx.count_flow_attempt(id, ATTEMPTS, now).await?;
    attempt.ok_or(Error::FlowExpired)?;
    let is_right = match shown {
        Shown::Code(code) => {
            let expected = act.app.keys.one_time.code(Purpose::SignIn, id);
            crypto::equal(expected.expose().as_bytes(), code.as_bytes())
        }
        Shown::Link => true,
    };
    let (Some(token), Some(user)) = (token, user) else {
        return Ok(Attempt::Wrong(owner));
    };
    let is_bound = token.purpose == Purpose::SignIn.as_str()
        && token.bound_to.as_deref() == Some(bound_to(&user).as_str())
        && may_sign_in(&act.app, &user);
    if !is_right || !is_bound || !act.tx.claim_one_time_token(id, now).await? {
        return Ok(Attempt::Wrong(owner));
    }
    if !act.tx.consume_flow(id, now).await? {
        return Err(Error::FlowExpired);
    }
    let proof = Proof::new(user.id, Method::MailCode, now);
    Ok(Attempt::Right(Box::new(user), proof))
}
