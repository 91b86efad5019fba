//! Encrypting values that stand in the database (AES-256-GCM).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::crypto;
use crate::error::{Error, Result};

/// The byte in front of a sealed value, which names its format.
const VERSION: u8 = 1;

const NONCE: usize = 12;

/// Seals values of one kind.
pub struct SealingKey(LessSafeKey);

impl SealingKey {
    /// # Errors
    /// `Internal`, never for 32 bytes.
    pub(super) fn new(bytes: &[u8; 32]) -> Result<Self> {
        let key = UnboundKey::new(&AES_256_GCM, bytes)
            .map_err(|_| Error::Internal(anyhow::anyhow!("a sealing key has a wrong length")))?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Encrypts a value. `name` is authenticated with it, so that values cannot be swapped.
    ///
    /// # Errors
    /// `Internal`.
    pub fn seal(&self, name: &[&[u8]], plain: &[u8]) -> Result<Vec<u8>> {
        let nonce: [u8; NONCE] = crypto::random_bytes();
        let mut text = plain.to_vec();
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), associated(name), &mut text)
            .map_err(|_| Error::Internal(anyhow::anyhow!("a value could not be encrypted")))?;
        Ok([&[VERSION], nonce.as_slice(), &text].concat())
    }

    /// Decrypts a value that was sealed under this name.
    ///
    /// # Errors
    /// `Internal` for anything else.
    pub fn open(&self, name: &[&[u8]], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        self.decrypt(name, sealed).ok_or_else(|| {
            Error::Internal(anyhow::anyhow!(
                "a stored value cannot be decrypted: it was changed, or sealed with another MASTER_KEY"
            ))
        })
    }

    fn decrypt(&self, name: &[&[u8]], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (&VERSION, rest) = sealed.split_first()? else {
            return None;
        };
        let (nonce, text) = rest.split_at_checked(NONCE)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = Zeroizing::new(text.to_vec());
        let length = self
            .0
            .open_in_place(nonce, associated(name), &mut text)
            .ok()?
            .len();
        text.truncate(length);
        Some(text)
    }
}

/// The parts of a name, each after its length.
fn associated(name: &[&[u8]]) -> Aad<Vec<u8>> {
    let mut all = vec![VERSION];
    for part in name {
        all.extend_from_slice(&(part.len() as u64).to_be_bytes());
        all.extend_from_slice(part);
    }
    Aad::from(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_is_bound_to_its_name_and_its_key() {
        let key = SealingKey::new(&[7; 32]).expect("a key");
        let other = SealingKey::new(&[8; 32]).expect("a key");
        let sealed = key.seal(&[b"totp", b"1"], b"secret").expect("sealed");
        assert_ne!(sealed, key.seal(&[b"totp", b"1"], b"secret").expect("sealed"));
        assert_eq!(
            key.open(&[b"totp", b"1"], &sealed).expect("opened").as_slice(),
            b"secret"
        );
        assert!(key.open(&[b"totp", b"2"], &sealed).is_err());
        assert!(key.open(&[b"totp1"], &sealed).is_err());
        assert!(other.open(&[b"totp", b"1"], &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open(&[b"totp", b"1"], &changed).is_err(), "byte {at}");
            assert!(key.open(&[b"totp", b"1"], &sealed[..at]).is_err(), "{at} bytes");
        }
    }
}
