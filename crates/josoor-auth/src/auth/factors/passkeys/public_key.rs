//! Public keys of passkeys (COSE, RFC 9052, 7; RFC 8152, 13; RFC 8230, 4), and their signatures.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use ciborium::Value;

use super::cbor;
use super::fault::Fault;

/// The algorithms that are asked for, the preferred one first (IANA's COSE registry): EdDSA, ES256, RS256.
pub const ALGORITHMS: [i64; 3] = [EDDSA, ES256, RS256];

const EDDSA: i64 = -8;
const ES256: i64 = -7;
const RS256: i64 = -257;

/// The sizes of an RSA modulus, in bytes: 2048 to 4096 bits.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=512;

/// A public key of one of these algorithms.
#[derive(Debug)]
pub(super) enum PublicKey {
    /// Ed25519 or P-256.
    Parsed(i64, ParsedPublicKey),
    /// The modulus and the exponent.
    Rsa(Vec<u8>, Vec<u8>),
}

/// Whether these bytes are a public key, as COSE, of one of the algorithms.
pub fn is_public_key(cose: &[u8]) -> bool {
    PublicKey::read(cose).is_ok()
}

impl PublicKey {
    /// Reads it from COSE. A point that is on no curve is rejected here.
    pub(super) fn read(cose: &[u8]) -> Result<Self, Fault> {
        let entries = cbor::map(cbor::read(cose)?)?;
        let integer = |label: i64| {
            let value = cbor::get(&entries, &Value::from(label))?.as_integer()?;
            i64::try_from(value).ok()
        };
        let bytes = |label: i64| {
            let value = cbor::get(&entries, &Value::from(label));
            value.and_then(Value::as_bytes).ok_or(Fault::Malformed)
        };
        let (key_type, algorithm, curve) = (integer(1), integer(3), integer(-1));
        let algorithm = algorithm.ok_or(Fault::Malformed)?;
        match (algorithm, key_type, curve) {
            (EDDSA, Some(1), Some(6)) => {
                let key = ParsedPublicKey::new(&ED25519, bytes(-2)?);
                key.map(|key| Self::Parsed(EDDSA, key))
                    .map_err(|_| Fault::Malformed)
            }
            (ES256, Some(2), Some(1)) => {
                let (x, y) = (bytes(-2)?, bytes(-3)?);
                if x.len() != 32 || y.len() != 32 {
                    return Err(Fault::Malformed);
                }
                // SEC 1, 2.3.3: uncompressed.
                let point = [[4].as_slice(), x, y].concat();
                let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point);
                key.map(|key| Self::Parsed(ES256, key))
                    .map_err(|_| Fault::Malformed)
            }
            (RS256, Some(3), _) => {
                let (modulus, exponent) = (bytes(-1)?, bytes(-2)?);
                let is_number = |bytes: &[u8]| bytes.first().is_some_and(|first| *first != 0);
                if !MODULUS.contains(&modulus.len()) || !is_number(modulus) {
                    return Err(Fault::Malformed);
                }
                if !(1..=8).contains(&exponent.len()) || !is_number(exponent) {
                    return Err(Fault::Malformed);
                }
                Ok(Self::Rsa(modulus.clone(), exponent.clone()))
            }
            (EDDSA | ES256 | RS256, ..) => Err(Fault::Malformed),
            _ => Err(Fault::WrongAlgorithm),
        }
    }

    /// Its algorithm.
    pub(super) const fn algorithm(&self) -> i64 {
        match self {
            Self::Parsed(algorithm, _) => *algorithm,
            Self::Rsa(..) => RS256,
        }
    }

    /// Verifies a signature (WebAuthn level 3, 6.5.6).
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Fault> {
        let done = match self {
            Self::Parsed(_, key) => key.verify_sig(message, signature),
            Self::Rsa(n, e) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
        };
        done.map_err(|_| Fault::WrongSignature)
    }
}
