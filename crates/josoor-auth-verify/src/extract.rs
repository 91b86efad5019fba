//! The axum extractors and guards, which use the outcome of the layer.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::{FromRequestParts, OptionalFromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderValue, StatusCode};
use serde_json::json;
use tower::{Layer, Service};

use crate::caller::CurrentUser;
use crate::claims::Claims;
use crate::refusal::Refusal;
use crate::role::Role;

/// The longest `X-Request-Id` that is repeated in a problem document.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// How refusals are written.
#[derive(Debug)]
pub(crate) struct Answers {
    /// Without a slash at the end.
    pub(crate) issuer: String,
    pub(crate) missing_token: StatusCode,
}

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The outcome of [`AuthLayer`](crate::AuthLayer) for a request; in the request's extensions.
#[derive(Clone, Debug)]
pub struct Authentication {
    pub(crate) outcome: Result<(CurrentUser, Arc<Claims>), Refusal>,
    pub(crate) answers: Arc<Answers>,
    /// When the request was authenticated, in seconds since 1970.
    pub(crate) now: i64,
}

impl Authentication {
    /// The user, or why there is none.
    pub fn user(&self) -> Result<&CurrentUser, Refusal> {
        match &self.outcome {
            Ok((user, _)) => Ok(user),
            Err(refusal) => Err(*refusal),
        }
    }

    /// The user, if the role is at least `at_least`; otherwise [`Refusal::InsufficientRole`], or why there is no user.
    pub fn user_with(&self, at_least: Role) -> Result<&CurrentUser, Refusal> {
        let user = self.user()?;
        if user.allows(at_least) {
            Ok(user)
        } else {
            Err(Refusal::InsufficientRole)
        }
    }

    /// The user, if the address is verified; otherwise [`Refusal::EmailNotVerified`], or why there is no user.
    pub fn verified_user(&self) -> Result<&CurrentUser, Refusal> {
        let user = self.user()?;
        if user.email_verified {
            Ok(user)
        } else {
            Err(Refusal::EmailNotVerified)
        }
    }

    /// The user, if verified at this level (`1` or `2`) and, if given, at most so many seconds ago; otherwise
    /// [`Refusal::StepUpRequired`], or why there is no user.
    pub fn user_verified_with(&self, acr: u8, max_age: Option<u64>) -> Result<&CurrentUser, Refusal> {
        let (user, claims) = match &self.outcome {
            Ok((user, claims)) => (user, claims),
            Err(refusal) => return Err(*refusal),
        };
        let is_fresh = max_age.is_none_or(|most| {
            let age = claims
                .auth_time
                .map(|at| self.now.saturating_sub(at).max(0).unsigned_abs());
            age.is_some_and(|age| age <= most)
        });
        if user.acr >= acr && is_fresh {
            Ok(user)
        } else {
            Err(Refusal::StepUpRequired)
        }
    }

    /// The claims of the token that was accepted. For what is about the token itself; what the user may do is in
    /// [`user`](Self::user).
    pub fn claims(&self) -> Option<&Claims> {
        self.outcome.as_ref().ok().map(|(_, claims)| &**claims)
    }
}

/// Why an extractor or a guard rejected a request; answers as a problem document (RFC 9457).
///
/// The response's extensions carry the [`Refusal`], for a service that words its answers itself.
#[derive(Debug)]
pub struct Rejection {
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Refused {
        refusal: Refusal,
        answers: Arc<Answers>,
        request_id: Option<String>,
        /// What is asked for, where the refusal alone does not say it.
        challenge: Option<HeaderValue>,
    },
    /// The service's own mistake: there is no `AuthLayer` around the route.
    NoLayer,
}

impl Rejection {
    /// The reason; `None` when the route has no [`AuthLayer`](crate::AuthLayer) around it.
    pub fn refusal(&self) -> Option<Refusal> {
        match &self.cause {
            Cause::Refused { refusal, .. } => Some(*refusal),
            Cause::NoLayer => None,
        }
    }

    /// Applies `decide` to the outcome that the layer left.
    fn unless<T>(
        extensions: &Extensions,
        headers: &HeaderMap,
        decide: impl FnOnce(&Authentication) -> Result<T, Refusal>,
    ) -> Result<T, Self> {
        let authentication = extensions.get::<Authentication>().ok_or_else(|| {
            tracing::error!("this route needs the user, but there is no AuthLayer around it: add `.layer(auth)` to the router, after its routes");
            Self { cause: Cause::NoLayer }
        })?;
        decide(authentication).map_err(|refusal| Self {
            cause: Cause::Refused {
                refusal,
                answers: Arc::clone(&authentication.answers),
                request_id: request_id(headers),
                challenge: None,
            },
        })
    }

    /// With what a stronger or newer verification has to be (RFC 9470, 3).
    fn asking_for(mut self, acr: u8, max_age: Option<u64>) -> Self {
        if let Cause::Refused {
            refusal: refusal @ Refusal::StepUpRequired,
            challenge,
            ..
        } = &mut self.cause
        {
            let plain = refusal.www_authenticate().unwrap_or_default();
            let age = max_age.map_or_else(String::new, |age| format!(", max_age=\"{age}\""));
            *challenge = HeaderValue::try_from(format!("{plain}, acr_values=\"{acr}\"{age}")).ok();
        }
        self
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let (status, mut document) = match &self.cause {
            Cause::Refused {
                refusal,
                answers,
                request_id,
                ..
            } => {
                let status = if *refusal == Refusal::MissingToken {
                    answers.missing_token
                } else {
                    refusal.status()
                };
                let mut document = json!({
                    "type": format!("{}/errors/{}", answers.issuer, refusal.code()),
                    "title": refusal.title(),
                    "detail": refusal.to_string(),
                    "code": refusal.code(),
                });
                if let Some(id) = request_id {
                    document["request_id"] = json!(id);
                }
                (status, document)
            }
            Cause::NoLayer => (
                StatusCode::INTERNAL_SERVER_ERROR,
                json!({
                    "type": "about:blank",
                    "title": "Internal error",
                    "detail": "The service made a mistake.",
                    "code": "internal",
                }),
            ),
        };
        document["status"] = json!(status.as_u16());
        let mut response = (status, document.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(refusal) = self.refusal() {
            let plain = refusal.www_authenticate().map(HeaderValue::from_static);
            let asked = match &self.cause {
                Cause::Refused { challenge, .. } => challenge.clone(),
                Cause::NoLayer => None,
            };
            if let Some(challenge) = asked.or(plain) {
                headers.insert(WWW_AUTHENTICATE, challenge);
            }
            if refusal == Refusal::StoreUnavailable {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            response.extensions_mut().insert(refusal);
        }
        response
    }
}

/// The request's id, when there is one and it is harmless wherever it may be printed.
fn request_id(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all("x-request-id").iter();
    let (Some(only), None) = (values.next(), values.next()) else {
        return None;
    };
    let id = only.to_str().ok()?;
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:=/+".contains(&byte);
    ((1..=MAX_REQUEST_ID_BYTES).contains(&id.len()) && id.bytes().all(harmless)).then(|| id.to_owned())
}

impl<S: Send + Sync> FromRequestParts<S> for CurrentUser {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Rejection> {
        Rejection::unless(&parts.extensions, &parts.headers, |found| found.user().cloned())
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for CurrentUser {
    type Rejection = Rejection;

    /// `None` only for a request without a token. A bad token is rejected: its sender expects to be signed in.
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Rejection> {
        Rejection::unless(&parts.extensions, &parts.headers, |found| match found.user() {
            Ok(user) => Ok(Some(user.clone())),
            Err(Refusal::MissingToken) => Ok(None),
            Err(refusal) => Err(refusal),
        })
    }
}

/// The user, who is at least an analyst.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequireAnalyst(pub CurrentUser);

impl<S: Send + Sync> FromRequestParts<S> for RequireAnalyst {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Rejection> {
        let decide = |found: &Authentication| found.user_with(Role::Analyst).cloned().map(Self);
        Rejection::unless(&parts.extensions, &parts.headers, decide)
    }
}

/// The user, who is an administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequireAdmin(pub CurrentUser);

impl<S: Send + Sync> FromRequestParts<S> for RequireAdmin {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Rejection> {
        let decide = |found: &Authentication| found.user_with(Role::Admin).cloned().map(Self);
        Rejection::unless(&parts.extensions, &parts.headers, decide)
    }
}

/// The user, whose address is verified: what a service asks for that takes the address for an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequireVerified(pub CurrentUser);

impl<S: Send + Sync> FromRequestParts<S> for RequireVerified {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Rejection> {
        let decide = |found: &Authentication| found.verified_user().cloned().map(Self);
        Rejection::unless(&parts.extensions, &parts.headers, decide)
    }
}

/// The user, verified at the level `ACR` (`1`, or `2` for two factors) at most `MAX_AGE` seconds ago; `0` stands for any time ago.
/// Otherwise 401 `step_up_required`, with what is asked for in `WWW-Authenticate` (RFC 9470): the client has its user verify
/// again and repeats the request with the new token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequireAcr<const ACR: u8, const MAX_AGE: u64 = 0>(pub CurrentUser);

impl<S: Send + Sync, const ACR: u8, const MAX_AGE: u64> FromRequestParts<S> for RequireAcr<ACR, MAX_AGE> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Rejection> {
        let max_age = (MAX_AGE > 0).then_some(MAX_AGE);
        let decide = |found: &Authentication| found.user_verified_with(ACR, max_age).cloned().map(Self);
        Rejection::unless(&parts.extensions, &parts.headers, decide)
            .map_err(|rejection| rejection.asking_for(ACR, max_age))
    }
}

/// A guard for `Router::route_layer`: rejects users whose role is not at least `at_least`. Add the
/// [`AuthLayer`](crate::AuthLayer) after it, so that it lies around it.
pub fn require_role(at_least: Role) -> RequireRoleLayer {
    RequireRoleLayer { at_least }
}

/// See [`require_role`].
#[derive(Clone, Copy, Debug)]
pub struct RequireRoleLayer {
    at_least: Role,
}

impl<S> Layer<S> for RequireRoleLayer {
    type Service = RequireRoleService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireRoleService {
            at_least: self.at_least,
            inner,
        }
    }
}

/// The service that [`RequireRoleLayer`] wraps around another one.
#[derive(Clone, Debug)]
pub struct RequireRoleService<S> {
    at_least: Role,
    inner: S,
}

impl<S> Service<Request> for RequireRoleService<S>
where
    S: Service<Request, Error = Infallible>,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let decide = |found: &Authentication| found.user_with(self.at_least).map(|_| ());
        match Rejection::unless(request.extensions(), request.headers(), decide) {
            Ok(()) => {
                let answer = self.inner.call(request);
                Box::pin(async move { Ok(answer.await?.into_response()) })
            }
            Err(rejection) => Box::pin(std::future::ready(Ok(rejection.into_response()))),
        }
    }
}
