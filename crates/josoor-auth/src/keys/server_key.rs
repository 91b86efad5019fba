//! The server-only key, which makes everything that only this service may make or read. No other program holds it.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::crypto;
use crate::error::{Error, Result};

/// 32 random bytes. Clones share them.
#[derive(Clone)]
pub(super) struct ServerKey(Arc<Zeroizing<[u8; 32]>>);

impl ServerKey {
    /// # Errors
    /// `Internal` for another length.
    pub(super) fn new(bytes: &[u8]) -> Result<Self> {
        <[u8; 32]>::try_from(bytes)
            .map(|bytes| Self(Arc::new(Zeroizing::new(bytes))))
            .map_err(|_| Error::Internal(anyhow::anyhow!("the stored server-only key has a wrong length")))
    }

    /// HMAC-SHA-256 of the parts. The first part names the purpose, so that no code of one purpose serves another.
    pub(super) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        crypto::mac(&**self.0, parts)
    }
}
