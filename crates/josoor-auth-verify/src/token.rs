//! Verification of access tokens (RFC 7519, RFC 9068), after the advice of RFC 8725: the algorithm and the key come
//! from our own records, every claim that we rely on is required and typed, and nothing in a token makes us fetch
//! anything.
//!
//! What is read, in this order: the length; the header; the signature; the claims; last of all the expiry, so that
//! [`Refusal::TokenExpired`] is said of genuine tokens only.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Once};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::claims::{ACCESS_TOKEN_TYP, AccessType, Claims};
use crate::memory::{DEFAULT_MEMORY_BYTES, Memory};
use crate::{Refusal, json};

/// Longer tokens are refused unread, in bytes. Ours have about 600.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The fewest bytes of a secret for HS256, HS384 and HS512 (RFC 7518, 3.2, for HS256).
pub const MIN_SECRET_BYTES: usize = 32;

/// How far in the future `iat` and `nbf` may lie, in seconds: clocks differ. There is no leeway for `exp`.
const CLOCK_SKEW_SECONDS: i64 = 60;

/// The last second of the year 9999. A later time is no time that we wrote.
const LATEST_TIME: i64 = 253_402_300_799;

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

    /// Whether signer and verifier share one secret. Whoever verifies with such a key can sign with it as well.
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
    key: DecodingKey,
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

/// Tells whether a token is one of the service's access tokens. Cheap to clone; a clone shares the keys.
///
/// A good token says who signed in and in which session, not that the session is still alive or what the user may
/// do now: for that see [`SessionCheck`](crate::SessionCheck).
#[derive(Clone, Debug)]
pub struct TokenVerifier {
    inner: Arc<Inner>,
}

#[derive(Clone, Debug)]
struct Inner {
    issuer: String,
    audience: Option<String>,
    keys: Vec<VerificationKey>,
    memory: Memory,
}

impl TokenVerifier {
    /// For tokens whose `iss` is exactly `issuer`, and whose `aud` is exactly `audience`. With no audience a token
    /// that has one is refused, as RFC 7519 (4.1.3) asks. Has no key yet, so it refuses every token.
    pub fn new(issuer: impl Into<String>, audience: Option<String>) -> Self {
        install_provider();
        Self {
            inner: Arc::new(Inner {
                issuer: issuer.into(),
                audience,
                keys: Vec::new(),
                memory: Memory::new(DEFAULT_MEMORY_BYTES),
            }),
        }
    }

    /// Also accepts tokens signed with `key`. It takes the place of a key with the same id.
    #[must_use]
    pub fn with_key(mut self, key: VerificationKey) -> Self {
        let inner = Arc::make_mut(&mut self.inner);
        inner.keys.retain(|other| other.kid != key.kid);
        inner.keys.push(key);
        inner.memory = inner.memory.emptied();
        self
    }

    /// Remembers up to about so many bytes of tokens that were found good, so that the next request with one of them costs
    /// a comparison of the whole token instead of signature and claims. 8 MiB without this call, and nothing with 0.
    /// A token is forgotten when it expires, and all are with any change of the keys.
    #[must_use]
    pub fn with_memory(mut self, bytes: u64) -> Self {
        Arc::make_mut(&mut self.inner).memory = Memory::new(bytes);
        self
    }

    /// Accepts tokens signed with one of `keys`, and no longer with those that it had.
    #[must_use]
    pub fn with_only_keys(mut self, keys: impl IntoIterator<Item = VerificationKey>) -> Self {
        let inner = Arc::make_mut(&mut self.inner);
        inner.keys.clear();
        inner.memory = inner.memory.emptied();
        keys.into_iter().fold(self, Self::with_key)
    }

    /// The keys, in the order in which they were given.
    pub fn keys(&self) -> &[VerificationKey] {
        &self.inner.keys
    }

    /// The `iss` that tokens must have.
    pub fn issuer(&self) -> &str {
        &self.inner.issuer
    }

    /// Whether `token` has a well-formed header that names a key which we do not have: the service may have a new
    /// one, or somebody made the name up. Says nothing about the signature.
    pub fn lacks_key_for(&self, token: &str) -> bool {
        split(token)
            .and_then(|parts| Header::parse(parts.header))
            .is_ok_and(|header| header.kid.is_some() && self.key_for(&header).is_none())
    }

    /// The claims of `token`, at the time `now` in seconds since 1970. Refuses with
    /// [`Refusal::TokenExpired`] a token that is right in every other respect, and with [`Refusal::TokenInvalid`]
    /// everything else.
    pub fn verify(&self, token: &str, now: i64) -> Result<Claims, Refusal> {
        self.verify_shared(token, now).map(Arc::unwrap_or_clone)
    }

    /// Like [`verify`](Self::verify), without a copy of the claims for each caller.
    pub fn verify_shared(&self, token: &str, now: i64) -> Result<Arc<Claims>, Refusal> {
        if let Some(claims) = self.inner.memory.recall(token, now) {
            return Ok(claims);
        }
        let claims = self.verify_at_any_age(token, now)?;
        // RFC 7519, 4.1.4: not accepted on or after the expiry.
        if now >= claims.exp {
            return Err(Refusal::TokenExpired);
        }
        let claims = Arc::new(claims);
        self.inner.memory.remember(token, now, &claims);
        Ok(claims)
    }

    /// Like [`verify`](Self::verify), but an expired token is as good as any other. For signing out, which nobody
    /// should be kept from; never for letting anybody in.
    pub fn verify_at_any_age(&self, token: &str, now: i64) -> Result<Claims, Refusal> {
        let parts = split(token)?;
        let header = Header::parse(parts.header)?;
        let record = self.key_for(&header).ok_or(Refusal::TokenInvalid)?;
        if header.algorithm != record.algorithm {
            return Err(Refusal::TokenInvalid);
        }
        let genuine = jsonwebtoken::crypto::verify(
            parts.signature,
            parts.signed.as_bytes(),
            &record.key,
            record.algorithm.into(),
        );
        if !matches!(genuine, Ok(true)) {
            return Err(Refusal::TokenInvalid);
        }
        self.read_claims(parts.claims, now).ok_or(Refusal::TokenInvalid)
    }

    fn key_for(&self, header: &Header) -> Option<&VerificationKey> {
        match self.keys() {
            [only] if only.kid.is_none() => Some(only),
            keys => {
                let kid = header.kid.as_deref()?;
                keys.iter().find(|key| key.kid() == Some(kid))
            }
        }
    }

    /// Everything but the expiry.
    fn read_claims(&self, encoded: &str, now: i64) -> Option<Claims> {
        let mut members = object_part(encoded)?;
        let iss = take_text(&mut members, "iss")?;
        let aud = match members.remove("aud") {
            None => None,
            Some(Value::String(audience)) => Some(audience),
            Some(_) => return None,
        };
        if iss != self.inner.issuer || aud != self.inner.audience {
            return None;
        }
        if take_text(&mut members, "type")? != "access" {
            return None;
        }
        let sub = take_text(&mut members, "sub")?;
        let user_id: i64 = sub.parse().ok()?;
        // Exactly the form that we write: no sign, no leading zero, no blank.
        if user_id < 1 || user_id.to_string() != sub {
            return None;
        }
        let sid = take_text(&mut members, "sid")?;
        // `try_parse` also reads forms with braces or without hyphens, which are not ours.
        let session_id = Uuid::try_parse(&sid).ok().filter(|id| id.to_string() == sid)?;
        let claims = Claims {
            iss,
            sub: user_id,
            email: take_text(&mut members, "email")?,
            email_verified: match members.remove("email_verified") {
                None => false,
                Some(value) => value.as_bool()?,
            },
            role: take_text(&mut members, "role")?.parse().ok()?,
            token_type: AccessType::Access,
            sid: session_id,
            generation: members.remove("gen")?.as_i64().filter(|number| *number >= 0)?,
            jti: take_text(&mut members, "jti")?,
            iat: time(&members.remove("iat")?)?,
            exp: time(&members.remove("exp")?)?,
            aud,
        };
        let not_before = match members.get("nbf") {
            None => claims.iat,
            Some(value) => time(value)?,
        };
        let soon = now.saturating_add(CLOCK_SKEW_SECONDS);
        (!claims.jti.is_empty() && claims.iat <= soon && not_before <= soon).then_some(claims)
    }
}

/// Makes AWS-LC the cryptography of `jsonwebtoken`. Without it a build in which another crate turns on a second
/// backend panics at the first token.
fn install_provider() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // An error means that the program has chosen one before us; that choice stands.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    });
}

/// The three parts of a compact JWS (RFC 7515, 7.1), still encoded.
struct Parts<'a> {
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
    /// `header.claims`, which is what was signed.
    signed: &'a str,
}

fn split(token: &str) -> Result<Parts<'_>, Refusal> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Refusal::TokenInvalid);
    }
    let parts = || {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        // A JWE has five parts; the middle one would be read as claims with dots in them.
        (!claims.contains('.') && !signature.is_empty()).then_some(Parts {
            header,
            claims,
            signature,
            signed,
        })
    };
    parts().ok_or(Refusal::TokenInvalid)
}

struct Header {
    algorithm: Algorithm,
    kid: Option<String>,
}

impl Header {
    /// Members that change how a token is to be read (RFC 7515, 4.1.11; RFC 7797, 3; RFC 7516, 4.1.3), which we never
    /// write, or that bring a key along (RFC 7515, 4.1.2 to 4.1.6), which nobody but ourselves chooses.
    const REFUSED: [&'static str; 7] = ["crit", "b64", "zip", "jwk", "jku", "x5u", "x5c"];

    fn parse(encoded: &str) -> Result<Self, Refusal> {
        let parse = || {
            let mut members = object_part(encoded)?;
            if Self::REFUSED.iter().any(|name| members.contains_key(*name)) {
                return None;
            }
            let typ = take_text(&mut members, "typ")?;
            // RFC 7515, 4.1.9: media types are compared without case, and `application/` may be left out.
            let typ = typ.to_ascii_lowercase();
            if typ.strip_prefix("application/").unwrap_or(&typ) != ACCESS_TOKEN_TYP {
                return None;
            }
            let kid = match members.remove("kid") {
                None => None,
                Some(Value::String(kid)) if is_key_id(&kid) => Some(kid),
                Some(_) => return None,
            };
            Some(Self {
                algorithm: take_text(&mut members, "alg")?.parse().ok()?,
                kid,
            })
        };
        parse().ok_or(Refusal::TokenInvalid)
    }
}

fn is_key_id(kid: &str) -> bool {
    (1..=MAX_KID_BYTES).contains(&kid.len()) && kid.bytes().all(|byte| byte.is_ascii_graphic())
}

/// base64url without padding and without stray bits at the end (RFC 7515, 2; RFC 4648, 3.5): one token, one spelling.
fn object_part(encoded: &str) -> Option<Map<String, Value>> {
    json::object(&URL_SAFE_NO_PAD.decode(encoded).ok()?)
}

fn take_text(members: &mut Map<String, Value>, name: &str) -> Option<String> {
    match members.remove(name)? {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// A time in whole seconds since 1970. RFC 7519 would allow fractions; we write none, so we read none.
fn time(value: &Value) -> Option<i64> {
    value
        .as_i64()
        .filter(|seconds| (0..=LATEST_TIME).contains(seconds))
}

/// The bearer token of a request (RFC 6750, 2.1; the scheme's case does not matter, RFC 9110, 11.1). Nothing when
/// there is no `Authorization`, or one of another scheme. [`Refusal::TokenInvalid`] when there are two, when the
/// token is blank, or when the value has anything but visible ASCII and blanks in it. The token itself is not read.
pub fn bearer_token(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Refusal::TokenInvalid);
    }
    // Looked at as a whole rather than up to the first fault, which takes a fraction of the time.
    let is_ascii = value
        .as_bytes()
        .iter()
        .fold(true, |good, byte| good & matches!(*byte, 0x20..0x7f | b'\t'));
    let value = std::str::from_utf8(value.as_bytes())
        .ok()
        .filter(|_| is_ascii)
        .ok_or(Refusal::TokenInvalid)?
        .trim_matches([' ', '\t']);
    let (scheme, token) = value.split_once([' ', '\t']).unwrap_or((value, ""));
    if scheme.is_empty() {
        return Err(Refusal::TokenInvalid);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Ok(None);
    }
    let token = token.trim_matches([' ', '\t']);
    let is_one_word = token
        .bytes()
        .fold(true, |good, byte| good & byte.is_ascii_graphic());
    if token.is_empty() || !is_one_word {
        return Err(Refusal::TokenInvalid);
    }
    Ok(Some(token))
}
