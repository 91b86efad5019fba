//! The tower layer that authenticates requests.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};

use http::{HeaderMap, StatusCode};
use tower::{Layer, Service};

use crate::caller::{CurrentUser, SessionCheck};
use crate::claims::Claims;
use crate::clock;
use crate::extract::{Answers, Authentication, BoxFuture};
use crate::refusal::Refusal;
#[cfg(feature = "check")]
use crate::service::ServiceKeys;
use crate::token::{TokenVerifier, bearer_token};

/// Authenticates every request that passes, and leaves the outcome in its extensions as an [`Authentication`].
///
/// It rejects no request: that is what the extractors ([`CurrentUser`], [`RequireAnalyst`](crate::RequireAnalyst),
/// [`RequireAdmin`](crate::RequireAdmin)) and [`require_role`](crate::require_role) do, so that public routes may lie under the
/// same layer. Cheap to clone.
pub struct AuthLayer<C> {
    /// Shared by the clones in the routers, so that keys can be replaced in all of them.
    verifier: Arc<RwLock<TokenVerifier>>,
    #[cfg(feature = "check")]
    key_source: Option<ServiceKeys>,
    check: Arc<C>,
    clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    answers: Arc<Answers>,
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

    /// Fetches the service's public keys when a token names one that the verifier does not have, and when they are five minutes old.
    /// They take the place of those that it has.
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
            now: (self.clock)(),
        }
    }

    async fn outcome(&self, headers: &HeaderMap) -> Result<(CurrentUser, Arc<Claims>), Refusal> {
        let token = bearer_token(headers)?.ok_or(Refusal::MissingToken)?;
        let (verifier, now) = (self.current_verifier(), (self.clock)());
        #[cfg(feature = "check")]
        let verifier = self.with_kept_keys(verifier).await;
        let claims = match verifier.verify_shared(token, now) {
            #[cfg(feature = "check")]
            Err(Refusal::TokenInvalid) => match self.verifier_with_key_for(token, &verifier).await? {
                Some(fresh) => fresh.verify_shared(token, now)?,
                None => return Err(Refusal::TokenInvalid),
            },
            verified => verified?,
        };
        let user = self.check.check(token, &claims).await?;
        Ok((user, claims))
    }

    /// The verifier, or one with the keys that the service lists now, if they were kept for long enough.
    #[cfg(feature = "check")]
    async fn with_kept_keys(&self, verifier: TokenVerifier) -> TokenVerifier {
        let Some(source) = &self.key_source else {
            return verifier;
        };
        match source.renew(&verifier).await {
            Some(fresh) => {
                self.replace_verifier(fresh.clone());
                fresh
            }
            None => verifier,
        }
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

/// The service that [`AuthLayer`] wraps around another one.
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
