//! Who is calling.

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;
use josoor_auth_verify::bearer_token;

use super::extract::{ClientAddress, UserAgent};
use super::passage::Passage;
use crate::app::App;
use crate::error::{Error, Refusal};
use crate::sessions::{self, Caller, Client};
use crate::types::Role;

/// Where a request comes from, for the records.
#[derive(Clone, Debug)]
pub struct From(pub Client);

impl<S: Send + Sync> FromRequestParts<S> for From {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let ClientAddress(ip) = ClientAddress::from_request_parts(parts, state).await?;
        let UserAgent(user_agent) = UserAgent::from_request_parts(parts, state).await?;
        Ok(Self(Client {
            ip: ip.to_string(),
            user_agent: user_agent.unwrap_or_default(),
            request_id: Passage::of(&parts.extensions).id.as_str().to_owned(),
            actor: None,
        }))
    }
}

/// Who makes the request with these headers.
pub(super) async fn authenticate(app: &App, headers: &HeaderMap, passage: &Passage) -> Result<Caller, Error> {
    let token = bearer_token(headers)?.ok_or(Refusal::MissingToken)?;
    let caller = sessions::authenticate(app, token).await?;
    passage.note_user(caller.id());
    Ok(caller)
}

impl FromRequestParts<App> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        authenticate(app, &parts.headers, &Passage::of(&parts.extensions)).await
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
        let Ok(From(client)) = From::from_request_parts(parts, app).await;
        let client = Client {
            actor: Some(caller.id()),
            ..client
        };
        Ok(Self { caller, client })
    }
}

/// A [`SignedIn`] caller who is an administrator now, whatever the token says.
#[derive(Clone, Debug)]
pub struct Administrator(pub SignedIn);

impl FromRequestParts<App> for Administrator {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let signed_in = SignedIn::from_request_parts(parts, app).await?;
        if signed_in.caller.user.role < Role::Admin {
            return Err(Refusal::InsufficientRole.into());
        }
        Ok(Self(signed_in))
    }
}
