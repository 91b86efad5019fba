//! The keys that tokens are verified with, and their algorithms.

use std::fmt;
use std::str::FromStr;
use std::sync::Once;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::Value;

/// The fewest bytes of a secret for HS256, HS384 and HS512 (RFC 7518, 3.2, for HS256).
pub const MIN_SECRET_BYTES: usize = 32;

/// A `kid` is a label, not a text.
const MAX_KID_BYTES: usize = 128;

/// The signature algorithms that the service can be set to (RFC 7518, 3.1; RFC 8037, 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256. The default: what the platform's other services expect.
    HS256,
    /// HMAC with SHA-384.
    HS384,
    /// HMAC with SHA-512.
    HS512,
    /// Ed25519.
    EdDSA,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, keys of 2048 to 8192 bits.
    RS256,
}

impl Algorithm {
    /// All of them, in the order of the declaration.
    pub const ALL: [Self; 6] = [
        Self::HS256,
        Self::HS384,
        Self::HS512,
        Self::EdDSA,
        Self::ES256,
        Self::RS256,
    ];

    /// The value of `alg` in a header or a JWK.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
            Self::EdDSA => "EdDSA",
            Self::ES256 => "ES256",
            Self::RS256 => "RS256",
        }
    }

    /// Whether signer and verifier share one secret. A program that verifies with such a key can sign with it as well.
    pub const fn is_symmetric(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not the name of an [`Algorithm`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an algorithm is one of HS256, HS384, HS512, EdDSA, ES256, RS256")]
pub struct UnknownAlgorithm;

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    /// The exact name; `hs256` and `none` are unknown.
    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
            .ok_or(UnknownAlgorithm)
    }
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::HS256 => Self::HS256,
            Algorithm::HS384 => Self::HS384,
            Algorithm::HS512 => Self::HS512,
            Algorithm::EdDSA => Self::EdDSA,
            Algorithm::ES256 => Self::ES256,
            Algorithm::RS256 => Self::RS256,
        }
    }
}

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A shared secret of less than [`MIN_SECRET_BYTES`].
    #[error("the secret must have at least 32 bytes")]
    WeakSecret,
    /// A shared secret where a public key belongs, or a public key where a secret belongs.
    #[error("the key does not fit the algorithm")]
    WrongAlgorithm,
    /// A private key where a public one belongs: it must not be here at all.
    #[error("this is a private key; verification wants the public one")]
    PrivateKey,
    /// The bytes or the JWK are no public key of the algorithm.
    #[error("this is not a usable public key")]
    Malformed,
    /// A `kid` must have 1 to 128 visible ASCII characters.
    #[error("a key id has 1 to 128 visible ASCII characters")]
    KeyId,
}

/// One key that tokens may be signed with: its id, its one algorithm, its bytes. `Debug` shows no bytes.
#[derive(Clone)]
pub struct VerificationKey {
    kid: Option<String>,
    algorithm: Algorithm,
    pub(crate) key: DecodingKey,
}

impl VerificationKey {
    /// A shared secret for HS256, HS384 or HS512. Without a `kid` it fits every token, whatever its `kid`, as long
    /// as it is the verifier's only key: for a service that was given `JWT_SECRET` and nothing else.
    pub fn hmac(kid: Option<String>, algorithm: Algorithm, secret: &[u8]) -> Result<Self, KeyError> {
        if !algorithm.is_symmetric() {
            return Err(KeyError::WrongAlgorithm);
        }
        if secret.len() < MIN_SECRET_BYTES {
            return Err(KeyError::WeakSecret);
        }
        Self::new(kid, algorithm, DecodingKey::from_secret(secret))
    }

    /// A public key for EdDSA, ES256 or RS256, as a DER `SubjectPublicKeyInfo` (RFC 5280, 4.1), or in its bare form:
    /// 32 bytes for Ed25519, the uncompressed point for P-256, a PKCS #1 `RSAPublicKey`.
    pub fn from_public(
        kid: Option<String>,
        algorithm: Algorithm,
        public_key: &[u8],
    ) -> Result<Self, KeyError> {
        let key = match algorithm {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => return Err(KeyError::WrongAlgorithm),
            Algorithm::EdDSA => {
                ParsedPublicKey::new(&ED25519, public_key).map_err(|_| KeyError::Malformed)?;
                DecodingKey::from_ed_der(public_key)
            }
            Algorithm::ES256 => {
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public_key)
                    .map_err(|_| KeyError::Malformed)?;
                DecodingKey::from_ec_der(public_key)
            }
            Algorithm::RS256 => {
                ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public_key)
                    .map_err(|_| KeyError::Malformed)?;
                DecodingKey::from_rsa_der(public_key)
            }
        };
        Self::new(kid, algorithm, key)
    }

    /// A public key as a JWK (RFC 7517; RFC 8037 for Ed25519), such as the service lists at
    /// `/.well-known/jwks.json`. Shared secrets (`kty` `oct`) and private keys are refused: a published list is no
    /// place for them. `alg` and `use`, where given, must fit.
    pub fn from_jwk(jwk: &Value) -> Result<Self, KeyError> {
        let text = |name: &str| match jwk.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(KeyError::Malformed),
        };
        let bytes = |name: &str| {
            URL_SAFE_NO_PAD
                .decode(text(name)?.ok_or(KeyError::Malformed)?)
                .map_err(|_| KeyError::Malformed)
        };
        if jwk.get("d").is_some() {
            return Err(KeyError::PrivateKey);
        }
        let kid = text("kid")?.map(str::to_owned);
        let (algorithm, key) = match (text("kty")?, text("crv")?) {
            (Some("OKP"), Some("Ed25519")) => {
                let x = bytes("x")?;
                (Algorithm::EdDSA, Self::from_public(kid, Algorithm::EdDSA, &x)?)
            }
            (Some("EC"), Some("P-256")) => {
                let (x, y) = (bytes("x")?, bytes("y")?);
                // RFC 7518, 6.2.1.2: each coordinate has the full size of the field.
                if x.len() != 32 || y.len() != 32 {
                    return Err(KeyError::Malformed);
                }
                let point = [&[4], x.as_slice(), y.as_slice()].concat();
                (
                    Algorithm::ES256,
                    Self::from_public(kid, Algorithm::ES256, &point)?,
                )
            }
            (Some("RSA"), _) => {
                let (modulus, exponent) = (bytes("n")?, bytes("e")?);
                let usable_exponent = exponent.len() <= 4
                    && exponent.first().is_some_and(|first| *first != 0)
                    && exponent.last().is_some_and(|last| last % 2 == 1)
                    && exponent != [1];
                if !(256..=1024).contains(&modulus.len()) || modulus[0] == 0 || !usable_exponent {
                    return Err(KeyError::Malformed);
                }
                let key = DecodingKey::from_rsa_raw_components(&modulus, &exponent);
                (Algorithm::RS256, Self::new(kid, Algorithm::RS256, key)?)
            }
            (Some("oct"), _) => return Err(KeyError::WrongAlgorithm),
            _ => return Err(KeyError::Malformed),
        };
        if text("alg")?.is_some_and(|named| named != algorithm.as_str())
            || text("use")?.is_some_and(|named| named != "sig")
        {
            return Err(KeyError::WrongAlgorithm);
        }
        Ok(key)
    }

    fn new(kid: Option<String>, algorithm: Algorithm, key: DecodingKey) -> Result<Self, KeyError> {
        install_provider();
        if kid.as_deref().is_some_and(|kid| !is_key_id(kid)) {
            return Err(KeyError::KeyId);
        }
        Ok(Self { kid, algorithm, key })
    }

    /// The key's id, as in the `kid` of a header.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The one algorithm that this key is used with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerificationKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// Makes AWS-LC the cryptography of `jsonwebtoken`. Without it a build in which another crate turns on a second
/// backend panics at the first token.
pub(crate) fn install_provider() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // An error means that the program has chosen one before us; that choice stands.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    });
}

pub(crate) fn is_key_id(kid: &str) -> bool {
    (1..=MAX_KID_BYTES).contains(&kid.len()) && kid.bytes().all(|byte| byte.is_ascii_graphic())
}
