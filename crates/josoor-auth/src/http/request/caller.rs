//! The caller of a request: the user of its access token.

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, Method};
use josoor_auth_verify::bearer_token;

use crate::act::Client;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::step_up::{self, Policy};
use crate::domain::Role;
use crate::error::{Error, Refusal};
use crate::http::request::client_info::{ClientInfo, client_ip};
use crate::http::request::context::RequestContext;
use crate::limits::Writer;
use crate::sessions;

/// The user and the session of the access token in these headers. A user who must have a second factor has one.
pub(crate) async fn authenticate(
    app: &App,
    headers: &HeaderMap,
    context: &RequestContext,
) -> Result<Caller, Error> {
    let caller = authenticate_to_enrol(app, headers, context).await?;
    step_up::require_enrolled(app, &caller.user)?;
    Ok(caller)
}

/// The same, also without the second factor that the user must have: for requests that lead to one.
async fn authenticate_to_enrol(
    app: &App,
    headers: &HeaderMap,
    context: &RequestContext,
) -> Result<Caller, Error> {
    let token = bearer_token(headers)?.ok_or(Refusal::MissingToken)?;
    let caller = sessions::authenticate(app, token).await?;
    context.note_user(caller.id());
    Ok(caller)
}

async fn caller_of(parts: &Parts, app: &App) -> Result<Caller, Error> {
    authenticate(app, &parts.headers, &RequestContext::of(&parts.extensions)).await
}

/// Counts a write of a signed-in user before the body is read, whatever the outcome.
async fn count_write(parts: &mut Parts, app: &App, caller: &Caller, writer: Writer) -> Result<(), Error> {
    app.limits
        .write(&client_ip(parts).to_string(), caller.id(), writer)
        .await
}

/// GET and HEAD change nothing (RFC 9110, 9.2.1), but for exports: see [`Exporter`] and [`OwnExporter`].
fn is_write(parts: &Parts) -> bool {
    !matches!(parts.method, Method::GET | Method::HEAD)
}

/// All extractors of the caller but [`Administrator`], [`Enrolling`] and the exporters use this one, so that no handler can forget to count a
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
    /// The user and the session.
    pub caller: Caller,
    /// The client, with the user as the actor.
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
        let Ok(ClientInfo(client)) = ClientInfo::from_request_parts(parts, app).await;
        let client = Client {
            actor: Some(caller.id()),
            ..client
        };
        Self { caller, client }
    }
}

/// A [`SignedIn`] caller who need not have the second factor that the user must have: for requests that lead to one.
#[derive(Clone, Debug)]
pub struct Enrolling(pub SignedIn);

impl FromRequestParts<App> for Enrolling {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let context = RequestContext::of(&parts.extensions);
        let caller = authenticate_to_enrol(app, &parts.headers, &context).await?;
        if is_write(parts) {
            count_write(parts, app, &caller, Writer::Own).await?;
        }
        Ok(Self(SignedIn::new(caller, parts, app).await))
    }
}

/// The caller, if there is a valid access token; otherwise why the token is rejected, if there is one.
pub struct MaybeSignedIn(pub Result<SignedIn, Option<Error>>);

impl FromRequestParts<App> for MaybeSignedIn {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        if !matches!(bearer_token(&parts.headers), Ok(Some(_))) {
            return Ok(Self(Err(None)));
        }
        // An address is verified before a factor can be enrolled.
        match Enrolling::from_request_parts(parts, app).await {
            Ok(Enrolling(signed_in)) => Ok(Self(Ok(signed_in))),
            Err(error @ Error::Refused(_)) => Ok(Self(Err(Some(error)))),
            Err(error) => Err(error),
        }
    }
}

/// A [`SignedIn`] caller who is an administrator now, whatever the token says. For a write it was verified a moment ago.
#[derive(Clone, Debug)]
pub struct Administrator(pub SignedIn);

impl FromRequestParts<App> for Administrator {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let caller = administrator_of(parts, app).await?;
        if is_write(parts) {
            count_write(parts, app, &caller, Writer::Administrator).await?;
            step_up::require(app, &caller, Policy::Administration)?;
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
        step_up::require(app, &caller, Policy::Administration)?;
        Ok(Self(SignedIn::new(caller, parts, app).await))
    }
}

/// A [`SignedIn`] caller who downloads what is kept about them: a GET, which is recorded and so is a write. With a second factor it was
/// verified a moment ago.
#[derive(Clone, Debug)]
pub struct OwnExporter(pub SignedIn);

impl FromRequestParts<App> for OwnExporter {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let caller = caller_of(parts, app).await?;
        count_write(parts, app, &caller, Writer::Own).await?;
        step_up::require(app, &caller, Policy::OwnAccount)?;
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
