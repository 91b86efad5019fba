//! A memory of tokens that were verified a moment ago.
//!
//! It answers whether this very token was found genuine and well-formed, which cannot change while the keys stay the same and
//! it has not expired. Whether its session lives is asked anew for every request, elsewhere.

use std::fmt;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::claims::Claims;

/// Bytes of the memory unless told otherwise.
pub(crate) const DEFAULT_MEMORY_BYTES: u64 = 8 * 1024 * 1024;

/// Tokens that were found good a moment ago. The key is the whole token, so nothing but that very token is recognised, and
/// the cache's hash is seeded anew in each process, so nobody can aim at another's place in it.
pub(crate) struct Memory {
    bytes: u64,
    good: Cache<Box<str>, Good, Weight>,
}

#[derive(Clone)]
struct Good {
    claims: Arc<Claims>,
    /// When it was verified, in seconds since 1970.
    since: i64,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Box<str>, Good> for Weight {
    fn weight(&self, token: &Box<str>, good: &Good) -> u64 {
        let claims = &good.claims;
        let texts = claims.iss.len() + claims.email.len() + claims.jti.len();
        // The claims, their three or four texts and the cache's own entry.
        (token.len() + texts + 320) as u64
    }
}

impl Memory {
    pub(crate) fn new(bytes: u64) -> Self {
        Self {
            bytes,
            good: Cache::with_weighter(usize::try_from(bytes / 1024).unwrap_or(0), bytes, Weight),
        }
    }

    pub(crate) fn emptied(&self) -> Self {
        Self::new(self.bytes)
    }

    pub(crate) fn recall(&self, token: &str, now: i64) -> Option<Arc<Claims>> {
        let good = self.good.get(token)?;
        // Before the moment at which it was verified, `iat` and `nbf` would have to be judged anew.
        if (good.since..good.claims.exp).contains(&now) {
            return Some(good.claims);
        }
        self.good.remove(token);
        None
    }

    pub(crate) fn remember(&self, token: &str, now: i64, claims: &Arc<Claims>) {
        if self.bytes > 0 {
            let good = Good {
                claims: Arc::clone(claims),
                since: now,
            };
            self.good.insert(token.into(), good);
        }
    }
}

impl Clone for Memory {
    /// Empty: what is cloned is about to be changed.
    fn clone(&self) -> Self {
        self.emptied()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("tokens", &self.good.len())
            .finish_non_exhaustive()
    }
}
