//! Access-token and live-session checks for services behind JOSOOR Auth.
//!
//! A request is let in when its bearer token is genuine ([`TokenVerifier`]) and the token's session is alive
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
//! * `redis`: [`RedisCheck`] reads the service's hot copies, keeps what it read for a few seconds while it hears the service's
//!   invalidations, and asks the service where the copies do not say enough.
//! * `near`: [`Near`], the cache that `redis` and the service itself use.
//! * `redis-url`: [`RedisUrl`], the URL that both read.
//!
//! All are on by default; without any of them there is still [`TokenVerifier`].

mod caller;
mod claims;
#[cfg(any(feature = "axum", feature = "redis"))]
mod clock;
#[cfg(feature = "near")]
mod flights;
#[cfg(feature = "redis")]
mod hot;
mod json;
#[cfg(feature = "axum")]
mod layer;
mod memory;
#[cfg(feature = "near")]
mod near;
#[cfg(feature = "redis-url")]
mod redis_url;
mod refusal;
mod role;
#[cfg(feature = "redis-url")]
mod sentinels;
#[cfg(feature = "check")]
mod service;
mod token;

/// What `near` is made of. The proof of its races puts others in their place.
#[cfg(feature = "near")]
mod sync {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError};
}

pub use caller::{CurrentUser, SessionCheck, SetupError};
pub use claims::{ACCESS_TOKEN_TYP, AccessType, Claims};
#[cfg(feature = "near")]
pub use flights::{Flight, Flights};
#[cfg(feature = "redis")]
pub use hot::RedisCheck;
#[cfg(feature = "axum")]
pub use layer::{
    AuthLayer, AuthService, Authentication, Rejection, RequireAdmin, RequireAnalyst, RequireRoleLayer,
    RequireRoleService, RequireVerified, require_role,
};
#[cfg(feature = "near")]
pub use near::{Heard, Near, ReadSession, Session, Versioned, is_retired};
#[cfg(feature = "redis-url")]
pub use redis_url::{RedisKind, RedisNode, RedisUrl, RedisUrlError};
pub use refusal::Refusal;
pub use role::{Role, UnknownRole};
#[cfg(feature = "redis-url")]
pub use sentinels::{is_master, master_by_sentinels};
#[cfg(feature = "check")]
pub use service::{ServiceCheck, ServiceKeys};
pub use token::{
    Algorithm, KeyError, MAX_TOKEN_BYTES, MIN_SECRET_BYTES, TokenVerifier, UnknownAlgorithm, VerificationKey,
    bearer_token,
};
