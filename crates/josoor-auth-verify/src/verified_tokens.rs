//! The tokens that were verified lately.
//!
//! The cache says whether this very token was found genuine and well-formed, which cannot change while the keys stay the same
//! and the token has not expired. Whether its session is live is checked elsewhere, for every request.

use std::fmt;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::claims::Claims;

/// Bytes of the cache unless configured otherwise.
pub(crate) const DEFAULT_BYTES: u64 = 8 * 1024 * 1024;

/// Claims by token. The key is the whole token, so that no other token is taken for it, and the cache's hash has a random seed
/// in each process, so that no client can choose tokens that collide.
pub(crate) struct VerifiedTokenCache {
    bytes: u64,
    tokens: Cache<Box<str>, Verified, Weight>,
}

#[derive(Clone)]
struct Verified {
    claims: Arc<Claims>,
    /// Verified at, in seconds since 1970.
    at: i64,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Box<str>, Verified> for Weight {
    fn weight(&self, token: &Box<str>, verified: &Verified) -> u64 {
        let claims = &verified.claims;
        let texts = claims.iss.len() + claims.email.len() + claims.jti.len();
        // The claims, their three or four texts and the cache's own entry.
        (token.len() + texts + 400) as u64
    }
}

impl VerifiedTokenCache {
    pub(crate) fn new(bytes: u64) -> Self {
        Self {
            bytes,
            tokens: Cache::with_weighter(usize::try_from(bytes / 1024).unwrap_or(0), bytes, Weight),
        }
    }

    pub(crate) fn clear(&self) {
        self.tokens.clear();
    }

    pub(crate) fn get(&self, token: &str, now: i64) -> Option<Arc<Claims>> {
        let verified = self.tokens.get(token)?;
        // Before the moment of verification `iat` and `nbf` would have to be checked again.
        if (verified.at..verified.claims.exp).contains(&now) {
            return Some(verified.claims);
        }
        self.tokens.remove(token);
        None
    }

    pub(crate) fn insert(&self, token: &str, now: i64, claims: &Arc<Claims>) {
        if self.bytes > 0 {
            let verified = Verified {
                claims: Arc::clone(claims),
                at: now,
            };
            self.tokens.insert(token.into(), verified);
        }
    }
}

impl Clone for VerifiedTokenCache {
    /// Empty: the clone's keys are about to be changed.
    fn clone(&self) -> Self {
        Self::new(self.bytes)
    }
}

impl fmt::Debug for VerifiedTokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedTokenCache")
            .field("tokens", &self.tokens.len())
            .finish_non_exhaustive()
    }
}
