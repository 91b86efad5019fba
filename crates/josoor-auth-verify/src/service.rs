//! Asking the service itself: `/auth/check` for sessions, `/.well-known/jwks.json` for keys.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use percent_encoding::percent_decode_str;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;
use uuid::Uuid;

use crate::caller::{CurrentUser, SessionCheck, SetupError};
use crate::claims::Claims;
use crate::json;
use crate::keys::VerificationKey;
use crate::refusal::Refusal;
use crate::token::TokenVerifier;

/// The longest wait for an answer of the service, its body included.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The longest body that is read of any answer, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// The shortest time between two fetches of the keys, so that made-up key ids do not become requests.
const REFETCH_AFTER: Duration = Duration::from_secs(30);

/// How long fetched keys are kept: what the service's list itself says.
const KEEP: Duration = Duration::from_mins(5);

/// The same while no key is known at all: the service may be just starting.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Checks a session by asking the service's `/auth/check`. Cheap to clone; a clone shares the connections.
#[derive(Clone)]
pub struct ServiceCheck {
    service: Arc<Service>,
}

struct Service {
    /// Without a slash at the end.
    base: String,
    is_https: bool,
    client: OnceLock<reqwest::Client>,
}

impl ServiceCheck {
    /// For the service at `base_url`, such as `https://auth.example.org`. Opens no connection yet. Requests go there
    /// directly: proxies of the environment are not used and redirects not followed, because a token goes along.
    pub fn new(base_url: &str) -> Result<Self, SetupError> {
        let url = Url::parse(base_url).map_err(|_| SetupError::ServiceAddress)?;
        let is_plain = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !is_plain {
            return Err(SetupError::ServiceAddress);
        }
        Ok(Self {
            service: Arc::new(Service {
                base: url.as_str().trim_end_matches('/').to_owned(),
                is_https: url.scheme() == "https",
                client: OnceLock::new(),
            }),
        })
    }
}

impl fmt::Debug for ServiceCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServiceCheck").field(&self.service.base).finish()
    }
}

impl SessionCheck for ServiceCheck {
    /// Every answer that is not plainly 200 with the headers of the contract or 401, and none within two seconds, is
    /// [`Refusal::StoreUnavailable`].
    async fn check(&self, token: &str, claims: &Claims) -> Result<CurrentUser, Refusal> {
        let mut bearer =
            HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| Refusal::TokenInvalid)?;
        bearer.set_sensitive(true);
        let answer = self.service.get("/auth/check", Some(bearer)).await?;
        match answer.status {
            200 => user_of(&answer.headers, claims).ok_or_else(|| {
                tracing::error!(
                    service = self.service.base,
                    "the answer of /auth/check does not fit the token"
                );
                Refusal::StoreUnavailable
            }),
            401 => Err(refusal_of(&answer.body)),
            status => {
                tracing::warn!(
                    service = self.service.base,
                    status,
                    "unexpected answer of /auth/check"
                );
                Err(Refusal::StoreUnavailable)
            }
        }
    }
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Service {
    async fn get(&self, path: &str, bearer: Option<HeaderValue>) -> Result<Answer, Refusal> {
        let mut request = self.client()?.get(format!("{}{path}", self.base));
        if let Some(bearer) = bearer {
            request = request.header(AUTHORIZATION, bearer);
        }
        let exchange = async {
            let mut response = request.send().await?;
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await? {
                body.extend_from_slice(&chunk);
                if body.len() > MAX_BODY_BYTES {
                    break;
                }
            }
            Ok(Answer {
                status: response.status().as_u16(),
                headers: std::mem::take(response.headers_mut()),
                body,
            })
        };
        exchange.await.map_err(|error: reqwest::Error| {
            let cause = innermost(&error);
            tracing::warn!(service = self.base, path, %cause, "the service did not answer");
            Refusal::StoreUnavailable
        })
    }

    /// Built at the first use, so that a host without trusted certificates is reported in the log and not by a panic
    /// at the start.
    fn client(&self) -> Result<&reqwest::Client, Refusal> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        install_provider();
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .timeout(TIMEOUT);
        if !self.is_https {
            // Otherwise a host without a certificate store could not even speak plain HTTP.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(|error| {
            tracing::error!(%error, "cannot make an HTTP client; are CA certificates installed?");
            Refusal::StoreUnavailable
        })?;
        Ok(self.client.get_or_init(|| client))
    }
}

/// The cause that helps an operator: "connection refused", not "error sending request".
fn innermost<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    std::iter::successors(Some(error), |error| error.source())
        .last()
        .unwrap_or(error)
}

/// Gives rustls its cryptography, unless the program has chosen one: without it, building a client panics.
pub(crate) fn install_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error means that another thread was faster, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
}

/// The user in the headers of a 200, who must be the one of the token: an answer to another request, or a page that says
/// 200 to everything, is not accepted.
fn user_of(headers: &HeaderMap, claims: &Claims) -> Option<CurrentUser> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let id: i64 = text("x-auth-user-id")?.parse().ok()?;
    let session_id = Uuid::try_parse(text("x-auth-session-id")?).ok()?;
    if id != claims.sub || session_id != claims.sid {
        return None;
    }
    let email_verified = match text("x-auth-email-verified") {
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => return None,
        None => None,
    };
    Some(CurrentUser {
        id,
        uid: match text("x-auth-user-uid") {
            Some(uid) => Some(Uuid::try_parse(uid).ok()?),
            None => None,
        },
        email: address_of(text("x-auth-email")?, email_verified.is_some())?,
        email_verified: email_verified.unwrap_or(false),
        role: text("x-auth-role")?.parse().ok()?,
        session_id,
        acr: match text("x-auth-acr") {
            Some("2") => 2,
            _ => 1,
        },
    })
}

/// The address in `X-Auth-Email`, which is always percent-encoded. A service of the release before, which does not say
/// whether an address is verified, encoded only some: what it says with a `%` can be read in two ways, and is refused.
fn address_of(value: &str, is_encoded: bool) -> Option<String> {
    if value.is_empty() || !is_encoded && value.contains('%') {
        return None;
    }
    let is_escape = |(at, _): (usize, &str)| {
        let digits = value.as_bytes().get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !value.match_indices('%').all(is_escape) {
        return None;
    }
    Some(percent_decode_str(value).decode_utf8().ok()?.into_owned())
}

fn refusal_of(body: &[u8]) -> Refusal {
    let problem = json::object(body);
    let code = problem.as_ref().and_then(|problem| problem.get("code")?.as_str());
    match code.and_then(Refusal::from_code) {
        Some(Refusal::MissingToken) => {
            tracing::error!(
                "the token does not reach /auth/check: something on the way removes `Authorization`"
            );
            Refusal::StoreUnavailable
        }
        Some(refusal) if refusal.status() == http::StatusCode::UNAUTHORIZED => refusal,
        _ => Refusal::TokenInvalid,
    }
}

/// The service's public keys (RFC 7517), fetched when a token names a key that is not known yet, at most every 30
/// seconds, and again when they are five minutes old, so that a key which the service has withdrawn is not used for longer. For EdDSA, ES256 and RS256; under a shared secret the service's list is empty.
#[derive(Clone)]
pub struct ServiceKeys {
    service: ServiceCheck,
    last_fetch: Arc<Mutex<Option<LastFetch>>>,
    keep: Duration,
}

struct LastFetch {
    at: Instant,
    succeeded: bool,
}

impl ServiceKeys {
    /// For the service at `base_url`; see [`ServiceCheck::new`]. Fetches nothing yet.
    pub fn new(base_url: &str) -> Result<Self, SetupError> {
        Ok(Self {
            service: ServiceCheck::new(base_url)?,
            last_fetch: Arc::default(),
            keep: KEEP,
        })
    }

    /// Keeps fetched keys for this long in place of five minutes. Longer than `keys.publish_for` of the service, tokens of a new key
    /// would only be accepted after a fetch.
    #[must_use]
    pub fn keep_for(mut self, keep: Duration) -> Self {
        self.keep = keep;
        self
    }

    /// `current` with the keys that the service lists now, when the present ones were fetched too long ago and the list is
    /// another one. The keys stay as they are when the list cannot be had; it is asked for again after 30 seconds. One caller at a
    /// time fetches; others go on meanwhile.
    pub async fn renew(&self, current: &TokenVerifier) -> Option<TokenVerifier> {
        let mut last_fetch = self.last_fetch.try_lock().ok()?;
        let last = last_fetch.as_ref()?;
        let pause = if last.succeeded {
            self.keep
        } else {
            REFETCH_AFTER.min(self.keep)
        };
        if current.keys().is_empty() || last.at.elapsed() < pause {
            return None;
        }
        *last_fetch = Some(LastFetch {
            at: Instant::now(),
            succeeded: false,
        });
        let keys = self.fetch().await.ok()?;
        *last_fetch = Some(LastFetch {
            at: Instant::now(),
            succeeded: true,
        });
        let is_same = keys.len() == current.keys().len()
            && keys
                .iter()
                .all(|key| current.keys().iter().any(|other| other.kid() == key.kid()));
        (!is_same).then(|| current.clone().with_only_keys(keys))
    }

    /// The keys that the service lists now. Keys of a kind that is not known here are left out.
    /// [`Refusal::StoreUnavailable`] when the list cannot be had.
    pub async fn fetch(&self) -> Result<Vec<VerificationKey>, Refusal> {
        let answer = self.service.service.get("/.well-known/jwks.json", None).await?;
        let list = json::object(&answer.body).filter(|_| answer.status == 200);
        let keys = list.as_ref().and_then(|list| list.get("keys")?.as_array());
        let Some(keys) = keys else {
            tracing::warn!(
                status = answer.status,
                "the service's answer is not a list of keys"
            );
            return Err(Refusal::StoreUnavailable);
        };
        Ok(keys
            .iter()
            .filter_map(|jwk| match VerificationKey::from_jwk(jwk) {
                // Two keys without an id could not be distinguished.
                Ok(key) => key.kid().is_some().then_some(key),
                Err(error) => {
                    tracing::warn!(%error, "a key in the service's list is not usable");
                    None
                }
            })
            .collect())
    }

    /// The verifier to use for `token`, after [`TokenVerifier::lacks_key_for`] said that the present one will not do:
    /// `current()` with fresh keys in place of its own, which is then to be used for other tokens too. Nothing when
    /// the keys were fetched less than 30 seconds ago, so that `token` names a key that does not exist.
    /// [`Refusal::StoreUnavailable`] when they cannot be had.
    ///
    /// One fetch at a time: a caller that comes meanwhile waits for it and shares its outcome, by way of `current`.
    /// [`AuthLayer::keys_from`](crate::AuthLayer::keys_from) does all this by itself.
    pub async fn refetch(
        &self,
        current: impl Fn() -> TokenVerifier,
        token: &str,
    ) -> Result<Option<TokenVerifier>, Refusal> {
        let mut last_fetch = self.last_fetch.lock().await;
        let verifier = current();
        if !verifier.lacks_key_for(token) {
            return Ok(Some(verifier));
        }
        if let Some(last) = &*last_fetch {
            let pause = if verifier.keys().is_empty() {
                RETRY_AFTER
            } else {
                REFETCH_AFTER
            };
            if last.at.elapsed() < pause {
                return if last.succeeded {
                    Ok(None)
                } else {
                    Err(Refusal::StoreUnavailable)
                };
            }
        }
        // Noted before the wait, so that a caller who gives up in the middle does not start a storm.
        *last_fetch = Some(LastFetch {
            at: Instant::now(),
            succeeded: false,
        });
        let keys = self.fetch().await?;
        *last_fetch = Some(LastFetch {
            at: Instant::now(),
            succeeded: true,
        });
        Ok(Some(verifier.with_only_keys(keys)))
    }
}

impl fmt::Debug for ServiceKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServiceKeys")
            .field(&self.service.service.base)
            .finish()
    }
}
