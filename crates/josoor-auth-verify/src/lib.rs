//! Access-token and live-session checks for services behind JOSOOR Auth.
//!
//! A request is accepted when its bearer token is genuine ([`TokenVerifier`]) and the token's session is live
//! ([`SessionCheck`]); what its user may do comes from the account's live state, never from the token. With axum that
//! is one layer and an extractor:
//!
//! ```no_run
//! # #[cfg(all(feature = "axum", feature = "check"))]
//! # fn router() -> Result<axum::Router, Box<dyn std::error::Error>> {
//! use axum::{Router, routing::get};
//! use josoor_auth_verify::{
//!     Algorithm, AuthLayer, CurrentUser, RequireAdmin, ServiceCheck, TokenVerifier, VerificationKey,
//! };
//!
//! let service = "https://auth.example.org";
//! let key = VerificationKey::hmac(None, Algorithm::HS256, std::env::var("JWT_SECRET")?.as_bytes())?;
//! let auth = AuthLayer::new(TokenVerifier::new(service, None).with_key(key), ServiceCheck::new(service)?);
//! let router = Router::new()
//!     .route("/hello", get(|user: CurrentUser| async move { format!("Hello, {}", user.email) }))
//!     .route("/secrets", get(|RequireAdmin(user): RequireAdmin| async move { format!("Admin {}", user.id) }))
//!     .layer(auth);
//! # Ok(router)
//! # }
//! ```
//!
//! # Features
//!
//! * `axum`: [`AuthLayer`], the extractors, [`require_role`].
//! * `check`: [`ServiceCheck`] asks the service for each request; [`ServiceKeys`] fetches its public keys.
//! * `redis`: [`RedisCheck`] reads the service's copies in Redis, caches them for a few seconds while it is subscribed to the
//!   service's invalidations, and asks the service where the copies do not decide.
//! * `local-cache`: [`LocalCache`], the cache that `redis` and the service itself use. Its earlier name is `near`.
//! * `redis-url`: [`RedisUrl`], the URL that both read.
//!
//! All are on by default; without any of them there is still [`TokenVerifier`].

mod caller;
mod claims;
#[cfg(any(feature = "axum", feature = "redis"))]
mod clock;
#[cfg(feature = "axum")]
mod extract;
mod json;
mod keys;
#[cfg(feature = "axum")]
mod layer;
#[cfg(feature = "local-cache")]
mod local_cache;
#[cfg(feature = "redis")]
mod redis_check;
#[cfg(feature = "redis-url")]
mod redis_url;
mod refusal;
mod role;
#[cfg(feature = "redis-url")]
mod sentinels;
#[cfg(feature = "check")]
mod service;
#[cfg(feature = "local-cache")]
mod single_flight;
mod token;
mod verified_tokens;

#[cfg(feature = "local-cache")]
mod sync;

pub use caller::{CurrentUser, SessionCheck, SetupError};
pub use claims::{ACCESS_TOKEN_TYP, AccessType, Claims};
#[cfg(feature = "axum")]
pub use extract::{
    Authentication, Rejection, RequireAcr, RequireAdmin, RequireAnalyst, RequireRoleLayer,
    RequireRoleService, RequireVerified, require_role,
};
pub use keys::{Algorithm, KeyError, MIN_SECRET_BYTES, UnknownAlgorithm, VerificationKey};
#[cfg(feature = "axum")]
pub use layer::{AuthLayer, AuthService};
#[cfg(feature = "local-cache")]
pub use local_cache::{CachedSession, LocalCache, ReadSession, Snapshot, Versioned, is_retired};
#[cfg(feature = "redis")]
pub use redis_check::RedisCheck;
#[cfg(feature = "redis-url")]
pub use redis_url::{RedisKind, RedisNode, RedisUrl, RedisUrlError};
pub use refusal::Refusal;
pub use role::{Role, UnknownRole};
#[cfg(feature = "redis-url")]
pub use sentinels::{is_master, master_by_sentinels};
#[cfg(feature = "check")]
pub use service::{ServiceCheck, ServiceKeys};
#[cfg(feature = "local-cache")]
pub use single_flight::{ReadGuard, SingleFlight};
pub use token::{MAX_TOKEN_BYTES, TokenVerifier, bearer_token};
