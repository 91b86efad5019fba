//! Who is calling.

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, Method};
use josoor_auth_verify::bearer_token;

use crate::act::Client;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::domain::Role;
use crate::error::{Error, Refusal};
use crate::http::request::extract::{ClientAddress, UserAgent};
use crate::http::request::passage::Passage;
use crate::limits::Writer;
use crate::sessions;

/// Where a request comes from, for the records.
#[derive(Clone, Debug)]
pub struct From(pub Client);

impl<S: Send + Sync> FromRequestParts<S> for From {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let ClientAddress(ip) = ClientAddress::from_request_parts(parts, state).await?;
        let UserAgent(user_agent) = UserAgent::from_request_parts(parts, state).await?;
        let passage = Passage::of(&parts.extensions);
        Ok(Self(Client {
            ip: ip.to_string(),
            user_agent: user_agent.unwrap_or_default(),
            request_id: passage.id.as_str().to_owned(),
            client_request_id: passage
                .client_id
                .as_ref()
                .map_or_else(String::new, |id| id.as_str().to_owned()),
            actor: None,
        }))
    }
}

/// Who makes the request with these headers.
pub(in crate::http) async fn authenticate(
    app: &App,
    headers: &HeaderMap,
    passage: &Passage,
) -> Result<Caller, Error> {
    let token = bearer_token(headers)?.ok_or(Refusal::MissingToken)?;
    let caller = sessions::authenticate(app, token).await?;
    passage.note_user(caller.id());
    Ok(caller)
}

async fn caller_of(parts: &Parts, app: &App) -> Result<Caller, Error> {
    authenticate(app, &parts.headers, &Passage::of(&parts.extensions)).await
}

/// Counts a write of somebody who is signed in, before the body is read and whatever becomes of the request.
async fn count_write(parts: &mut Parts, app: &App, caller: &Caller, writer: Writer) -> Result<(), Error> {
    let Ok(ClientAddress(ip)) = ClientAddress::from_request_parts(parts, app).await;
    app.limits.write(&ip.to_string(), caller.id(), writer).await
}

/// GET and HEAD change nothing (RFC 9110, 9.2.1), but for exports: see [`Exporter`].
fn is_write(parts: &Parts) -> bool {
    !matches!(parts.method, Method::GET | Method::HEAD)
}

/// Every way for a handler to learn who calls leads through here, [`Administrator`] aside, so that none can forget to count a
/// write.
impl FromRequestParts<App> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let caller = caller_of(parts, app).await?;
        if is_write(parts) {
            count_write(parts, app, &caller, Writer::Own).await?;
        }
        Ok(caller)
    }
}

/// A caller with a valid access token, a live session and an active account. Where nothing is recorded, [`Caller`] is
/// enough.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// Who.
    pub caller: Caller,
    /// From where; the actor is set.
    pub client: Client,
}

impl FromRequestParts<App> for SignedIn {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let caller = Caller::from_request_parts(parts, app).await?;
        Ok(Self::new(caller, parts, app).await)
    }
}

impl SignedIn {
    async fn new(caller: Caller, parts: &mut Parts, app: &App) -> Self {
        let Ok(From(client)) = From::from_request_parts(parts, app).await;
        let client = Client {
            actor: Some(caller.id()),
            ..client
        };
        Self { caller, client }
    }
}

/// A [`SignedIn`] caller who is an administrator now, whatever the token says.
#[derive(Clone, Debug)]
pub struct Administrator(pub SignedIn);

impl FromRequestParts<App> for Administrator {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let caller = administrator_of(parts, app).await?;
        if is_write(parts) {
            count_write(parts, app, &caller, Writer::Administrator).await?;
        }
        Ok(Self(SignedIn::new(caller, parts, app).await))
    }
}

/// An [`Administrator`] who writes users or audit rows to a file: a GET, which is recorded and so is a write.
#[derive(Clone, Debug)]
pub struct Exporter(pub SignedIn);

impl FromRequestParts<App> for Exporter {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let caller = administrator_of(parts, app).await?;
        count_write(parts, app, &caller, Writer::Administrator).await?;
        Ok(Self(SignedIn::new(caller, parts, app).await))
    }
}

async fn administrator_of(parts: &Parts, app: &App) -> Result<Caller, Error> {
    let caller = caller_of(parts, app).await?;
    if caller.user.role < Role::Admin {
        return Err(Refusal::InsufficientRole.into());
    }
    Ok(caller)
}
