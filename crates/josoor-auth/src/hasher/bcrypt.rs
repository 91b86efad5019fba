//! bcrypt, and passlib's `bcrypt_sha256` over it: keys, salts, digests and their texts.

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use zeroize::Zeroizing;

use super::bounds::Cost;

/// The longest password that is given to bcrypt as it is. Longer ones are written in the other format, so that each of
/// their bytes counts. One byte short of the 72 that bcrypt reads: a hash of exactly 72 bytes cannot be distinguished from
/// one that an importing program truncated there, and the password with anything appended would match.
pub(super) const PLAIN_BYTES: usize = 71;
/// The lowest cost that bcrypt is defined for.
pub(super) const BCRYPT_MIN_COST: u32 = bcrypt_interleaved::MIN_COST;
/// About four seconds: the most that can be configured. What is stored by others has the bounds of `bounds`.
pub(super) const BCRYPT_MAX_COST: u32 = 16;
/// Characters of a salt in bcrypt's base64.
pub(super) const BCRYPT_SALT: usize = 22;
/// Characters of a digest in bcrypt's base64.
const BCRYPT_DIGEST: usize = 31;

/// bcrypt's own alphabet. Salts made by older programs may have bits set that do not count.
pub(super) const BCRYPT_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::BCRYPT,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// One computation of bcrypt.
#[derive(PartialEq, Eq)]
pub(super) struct Bcrypt {
    pub(super) cost: u32,
    salt: [u8; 16],
    key: Zeroizing<Vec<u8>>,
}

impl Bcrypt {
    /// bcrypt reads the first 72 bytes of the key.
    pub(super) fn new(cost: u32, salt: [u8; 16], key: &[u8]) -> Self {
        let key = Zeroizing::new(key[..key.len().min(bcrypt_interleaved::MAX_KEY)].to_vec());
        Self { cost, salt, key }
    }

    pub(super) fn compute(&self) -> Option<bcrypt_interleaved::Digest> {
        Self::compute_all(&[self]).pop()
    }

    /// Computes several of one cost at once.
    pub(super) fn compute_all(all: &[&Self]) -> Vec<bcrypt_interleaved::Digest> {
        let inputs: Vec<_> = all.iter().map(|one| (one.key.as_slice(), one.salt)).collect();
        all.first()
            .map_or_else(Vec::new, |first| bcrypt_interleaved::all(first.cost, &inputs))
    }
}

/// The digest that a job needs first, computed together with those of other jobs.
#[derive(Default)]
pub(super) struct Ready(pub(super) Option<(Bcrypt, bcrypt_interleaved::Digest)>);

impl Ready {
    /// The digest in bcrypt's base64: the one that is ready, or computed now.
    pub(super) fn digest(&mut self, bcrypt: &Bcrypt) -> String {
        let digest = match self.0.take() {
            Some((ready, digest)) if ready == *bcrypt => Some(digest),
            _ => bcrypt.compute(),
        };
        // One in, one out: there is always a digest, and an empty text would match nothing.
        digest.map_or_else(String::new, |digest| BCRYPT_BASE64.encode(digest))
    }
}

/// What passlib's `bcrypt_sha256` gives to bcrypt instead of the password: 44 characters that depend on all of it. The key of
/// version 2 is the salt as it is written, so that a plain SHA-256 of the password, leaked elsewhere, is of no use.
pub(super) fn bcrypt_sha256_key(version: u8, salt_text: &str, password: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(if version == 1 {
        STANDARD.encode(digest::digest(&digest::SHA256, password))
    } else {
        let key = hmac::Key::new(hmac::HMAC_SHA256, salt_text.as_bytes());
        STANDARD.encode(hmac::sign(&key, password))
    })
}

pub(super) fn bcrypt_cost(text: &str) -> Result<u32, &'static str> {
    if !(1..=2).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("its cost is not a number of two digits");
    }
    match text.parse() {
        Ok(cost) if cost > BCRYPT_MAX_COST => Err(Cost::Bcrypt.reason()),
        Ok(cost) if cost >= BCRYPT_MIN_COST => Ok(cost),
        _ => Err("its cost is below bcrypt's lowest"),
    }
}

pub(super) fn bcrypt_salt(text: &str) -> Result<[u8; 16], &'static str> {
    if text.len() != BCRYPT_SALT {
        return Err("its salt does not have 22 characters");
    }
    let salt = BCRYPT_BASE64
        .decode(text)
        .map_err(|_| "its salt is not in bcrypt's base64")?;
    salt.try_into().map_err(|_| "its salt does not have 16 bytes")
}

pub(super) fn check_digest(text: &str) -> Result<(), &'static str> {
    if text.len() == BCRYPT_DIGEST {
        Ok(())
    } else {
        Err("its digest does not have 31 characters")
    }
}
