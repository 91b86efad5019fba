//! The tower layer that authenticates, and the axum extractors and guards that use what it found out.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};

use axum::extract::{FromRequestParts, OptionalFromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderValue, StatusCode};
use serde_json::json;
use tower::{Layer, Service};

#[cfg(feature = "check")]
use crate::ServiceKeys;
use crate::{Claims, CurrentUser, Refusal, Role, SessionCheck, TokenVerifier, bearer_token, clock};

/// The longest `X-Request-Id` that is repeated in a problem document.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// Authenticates every request that passes, and leaves the outcome in its extensions as an [`Authentication`].
///
/// It turns nobody away: that is what the extractors ([`CurrentUser`], [`RequireAnalyst`], [`RequireAdmin`]) and
/// [`require_role`] do, so that public routes may lie under the same layer. Cheap to clone.
pub struct AuthLayer<C> {
    /// Shared by the clones, which lie in the routers, so that keys can be replaced in all of them.
    verifier: Arc<RwLock<TokenVerifier>>,
    #[cfg(feature = "check")]
    key_source: Option<ServiceKeys>,
    check: Arc<C>,
    clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    answers: Arc<Answers>,
}

/// How refusals are written.
#[derive(Debug)]
struct Answers {
    /// Without a slash at the end.
    issuer: String,
    missing_token: StatusCode,
}

impl<C: SessionCheck> AuthLayer<C> {
    /// Verifies tokens with `verifier` and checks their sessions with `check`.
    pub fn new(verifier: TokenVerifier, check: C) -> Self {
        let answers = Answers {
            issuer: verifier.issuer().trim_end_matches('/').to_owned(),
            missing_token: Refusal::MissingToken.status(),
        };
        Self {
            verifier: Arc::new(RwLock::new(verifier)),
            #[cfg(feature = "check")]
            key_source: None,
            check: Arc::new(check),
            clock: Arc::new(clock::now),
            answers: Arc::new(answers),
        }
    }

    /// Answers a request without a token with `status` in place of 401. The platform's own API says 403 there.
    #[must_use]
    pub fn missing_token_status(mut self, status: StatusCode) -> Self {
        self.answers = Arc::new(Answers {
            issuer: self.answers.issuer.clone(),
            missing_token: status,
        });
        self
    }

    /// Takes the time, in seconds since 1970, from `clock` in place of the system's.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Fetches the service's public keys when a token names one that the verifier does not have. They take the place
    /// of those that it has.
    #[cfg(feature = "check")]
    #[must_use]
    pub fn keys_from(mut self, keys: ServiceKeys) -> Self {
        self.key_source = Some(keys);
        self
    }

    /// Verifies with `verifier` from now on, here and in every clone, such as after a key was rotated. Its issuer
    /// must be the same: the problem documents go on naming the first one.
    pub fn replace_verifier(&self, verifier: TokenVerifier) {
        // Nothing can panic while the lock is held, so a poisoned one is as good.
        *self.verifier.write().unwrap_or_else(PoisonError::into_inner) = verifier;
    }

    /// Authenticates the request with these headers: its bearer token, then the token's session.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Authentication {
        Authentication {
            outcome: self.outcome(headers).await,
            answers: Arc::clone(&self.answers),
        }
    }

    async fn outcome(&self, headers: &HeaderMap) -> Result<(CurrentUser, Arc<Claims>), Refusal> {
        let token = bearer_token(headers)?.ok_or(Refusal::MissingToken)?;
        let (verifier, now) = (self.current_verifier(), (self.clock)());
        let claims = match verifier.verify_shared(token, now) {
            #[cfg(feature = "check")]
            Err(Refusal::TokenInvalid) => match self.verifier_with_key_for(token, &verifier).await? {
                Some(fresh) => fresh.verify_shared(token, now)?,
                None => return Err(Refusal::TokenInvalid),
            },
            judged => judged?,
        };
        let user = self.check.check(token, &claims).await?;
        Ok((user, claims))
    }

    /// Another verifier, if this one lacks the key that the token names and the service has it.
    #[cfg(feature = "check")]
    async fn verifier_with_key_for(
        &self,
        token: &str,
        verifier: &TokenVerifier,
    ) -> Result<Option<TokenVerifier>, Refusal> {
        let Some(source) = self.key_source.as_ref().filter(|_| verifier.lacks_key_for(token)) else {
            return Ok(None);
        };
        let fresh = source.refetch(|| self.current_verifier(), token).await?;
        if let Some(fresh) = &fresh {
            self.replace_verifier(fresh.clone());
        }
        Ok(fresh)
    }

    fn current_verifier(&self) -> TokenVerifier {
        self.verifier
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl<C> Clone for AuthLayer<C> {
    fn clone(&self) -> Self {
        Self {
            verifier: Arc::clone(&self.verifier),
            #[cfg(feature = "check")]
            key_source: self.key_source.clone(),
            check: Arc::clone(&self.check),
            clock: Arc::clone(&self.clock),
            answers: Arc::clone(&self.answers),
        }
    }
}

impl<C> fmt::Debug for AuthLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthLayer")
            .field("answers", &self.answers)
            .finish_non_exhaustive()
    }
}

impl<C, S> Layer<S> for AuthLayer<C> {
    type Service = AuthService<C, S>;

    fn layer(&self, inner: S) -> Self::Service {
        AuthService {
            layer: self.clone(),
            inner,
        }
    }
}

/// What [`AuthLayer`] makes of a service.
pub struct AuthService<C, S> {
    layer: AuthLayer<C>,
    inner: S,
}

impl<C, S: Clone> Clone for AuthService<C, S> {
    fn clone(&self) -> Self {
        Self {
            layer: self.layer.clone(),
            inner: self.inner.clone(),
        }
    }
}

impl<C, S> fmt::Debug for AuthService<C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthService")
            .field("layer", &self.layer)
            .finish_non_exhaustive()
    }
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<C, S, B> Service<http::Request<B>> for AuthService<C, S>
where
    C: SessionCheck,
    S: Service<http::Request<B>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let layer = self.layer.clone();
        // The clone is not ready, the one that was polled is; so that one answers this request.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            // The headers are borrowed apart from the body, which need not be `Sync`.
            let headers = std::mem::take(request.headers_mut());
            let authentication = layer.authenticate(&headers).await;
            *request.headers_mut() = headers;
            request.extensions_mut().insert(authentication);
            inner.call(request).await
        })
    }
}

/// What [`AuthLayer`] found out about a request; in the request's extensions.
#[derive(Clone, Debug)]
pub struct Authentication {
    outcome: Result<(CurrentUser, Arc<Claims>), Refusal>,
    answers: Arc<Answers>,
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

    /// The claims of the token that let the user in. For what is about the token itself; what the user may do is in
    /// [`user`](Self::user).
    pub fn claims(&self) -> Option<&Claims> {
        self.outcome.as_ref().ok().map(|(_, claims)| &**claims)
    }
}

/// Why an extractor or a guard turned a request away; answers as a problem document (RFC 9457).
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
    },
    /// The service's own mistake: there is no [`AuthLayer`] around the route.
    NoLayer,
}

impl Rejection {
    /// Why; nothing when the route has no [`AuthLayer`] around it.
    pub fn refusal(&self) -> Option<Refusal> {
        match &self.cause {
            Cause::Refused { refusal, .. } => Some(*refusal),
            Cause::NoLayer => None,
        }
    }

    /// Lets `decide` judge the outcome that the layer left.
    fn unless<T>(
        extensions: &Extensions,
        headers: &HeaderMap,
        decide: impl FnOnce(&Authentication) -> Result<T, Refusal>,
    ) -> Result<T, Self> {
        let authentication = extensions.get::<Authentication>().ok_or_else(|| {
            tracing::error!("this route wants to know the user, but there is no AuthLayer around it: add `.layer(auth)` to the router, after its routes");
            Self { cause: Cause::NoLayer }
        })?;
        decide(authentication).map_err(|refusal| Self {
            cause: Cause::Refused {
                refusal,
                answers: Arc::clone(&authentication.answers),
                request_id: request_id(headers),
            },
        })
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let (status, mut document) = match &self.cause {
            Cause::Refused {
                refusal,
                answers,
                request_id,
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
            if let Some(challenge) = refusal.www_authenticate() {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
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

    /// `None` only for a request without a token. A bad token is refused: its sender believes to be signed in.
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

/// A guard for `Router::route_layer`: turns away everybody whose role is not at least `at_least`. The [`AuthLayer`]
/// must be added after it, so that it lies around it.
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

/// What [`RequireRoleLayer`] makes of a service.
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
