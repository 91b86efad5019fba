//! The user who makes a request, and how a service looks it up.

use std::future::Future;
use std::sync::Arc;

use uuid::Uuid;

use crate::claims::Claims;
use crate::refusal::Refusal;
use crate::role::Role;

/// The user who makes a request, from the live state of the account and of the session; not from the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentUser {
    /// The user's id. Never given to another user.
    pub id: i64,
    /// The user's identifier for other systems. `None` only where a service or a copy of the release before answered.
    pub uid: Option<Uuid>,
    /// The user's address, as the user wrote it. It identifies a person only while it is verified: anybody may register any
    /// address.
    pub email: String,
    /// Whether the address is verified now. False where a service of the release before answered, which does not say.
    pub email_verified: bool,
    /// What the user may do now.
    pub role: Role,
    /// The session, one per sign-in.
    pub session_id: Uuid,
    /// How strongly the user was verified: `2` with two factors that the account still has, else `1`; also where a service of the
    /// release before answered.
    pub acr: u8,
}

impl CurrentUser {
    /// Whether the user's role is `at_least` or higher.
    pub fn allows(&self, at_least: Role) -> bool {
        self.role >= at_least
    }
}

/// How a service learns whether a token's session is live and what its user may do now.
///
/// The crate brings [`ServiceCheck`](crate::ServiceCheck), which asks the service, and
/// [`RedisCheck`](crate::RedisCheck), which reads the service's copies in Redis. A service with other means brings its own.
pub trait SessionCheck: Send + Sync + 'static {
    /// The user behind `token`, whose `claims` are already verified. Refuses when the session has ended, is not the
    /// user's, or the account is not active; with [`Refusal::StoreUnavailable`] when that is not known.
    fn check(
        &self,
        token: &str,
        claims: &Claims,
    ) -> impl Future<Output = Result<CurrentUser, Refusal>> + Send;
}

impl<C: SessionCheck> SessionCheck for Arc<C> {
    fn check(
        &self,
        token: &str,
        claims: &Claims,
    ) -> impl Future<Output = Result<CurrentUser, Refusal>> + Send {
        C::check(self, token, claims)
    }
}

/// Why a check cannot be set up. Says which setting is wrong, never its value: an address may have a password in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The service's address.
    #[error(
        "the address of JOSOOR Auth must be http://host[:port] or https://…, without user, query and fragment"
    )]
    ServiceAddress,
    /// The address of Redis.
    #[cfg(feature = "redis")]
    #[error("the address of Redis cannot be used: {0}")]
    RedisAddress(crate::redis_url::RedisUrlError),
}
