//! Sealing what the service keeps for itself: it is encrypted and authenticated under a key that is derived from the server-only key.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::Keys;
use crate::crypto;
use crate::error::{Error, Result};

/// The byte in front of a sealed value: AES-256-GCM, a random nonce of 12 bytes, ciphertext, tag of 16 bytes.
const VERSION: u8 = 1;

impl Keys {
    /// Encrypts a value. It is opened under the same `name` alone, which also derives the key, and with the same `context`.
    ///
    /// # Errors
    /// `Internal`; never for any input of less than 64 GiB.
    pub fn seal(&self, name: &str, context: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
        let nonce: [u8; 12] = crypto::random_bytes();
        let mut text = Zeroizing::new(Vec::with_capacity(plain.len() + 16));
        text.extend_from_slice(plain);
        self.sealing_key(name)?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context),
                &mut *text,
            )
            .map_err(|_| Error::Internal(anyhow::anyhow!("a value could not be sealed")))?;
        Ok([&[VERSION], nonce.as_slice(), &text].concat())
    }

    /// Decrypts a value; `None` for one that was not sealed under this name with this context.
    pub fn unseal(&self, name: &str, context: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (&VERSION, rest) = sealed.split_first()? else {
            return None;
        };
        let (nonce, text) = rest.split_at_checked(12)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = Zeroizing::new(text.to_vec());
        let key = self.sealing_key(name).ok()?;
        let length = key
            .open_in_place(nonce, Aad::from(context), &mut text)
            .ok()?
            .len();
        text.truncate(length);
        Some(text)
    }

    fn sealing_key(&self, name: &str) -> Result<LessSafeKey> {
        let bytes = Zeroizing::new(self.server.mac(&[b"seal", name.as_bytes()]));
        UnboundKey::new(&AES_256_GCM, &*bytes)
            .map(LessSafeKey::new)
            .map_err(|_| Error::Internal(anyhow::anyhow!("a sealing key has a wrong length")))
    }
}
