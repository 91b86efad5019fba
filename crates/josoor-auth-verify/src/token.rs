//! Verification of access tokens (RFC 7519, RFC 9068), after the advice of RFC 8725: the algorithm and the key come
//! from our own records, every claim that we rely on is required and typed, and nothing in a token makes us fetch
//! anything.
//!
//! The order of the checks: the length; the header; the signature; the claims; last of all the expiry, so that
//! [`Refusal::TokenExpired`] is reported for genuine tokens only.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::claims::{ACCESS_TOKEN_TYP, AccessType, Claims};
use crate::json;
use crate::keys::{Algorithm, VerificationKey, install_provider, is_key_id};
use crate::refusal::Refusal;
use crate::verified_tokens::{DEFAULT_BYTES, VerifiedTokenCache};

/// Longer tokens are refused unread, in bytes. Ours have about 600.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// How far in the future `iat` and `nbf` may lie, in seconds: clocks differ. There is no leeway for `exp`.
const CLOCK_SKEW_SECONDS: i64 = 60;

/// The last second of the year 9999. A later time is no time that we wrote.
const LATEST_TIME: i64 = 253_402_300_799;

/// Verifies that a token is one of the service's access tokens. Cheap to clone; a clone shares the keys.
///
/// A valid token says which user signed in and in which session, not that the session is still live or what the user may
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
    verified: VerifiedTokenCache,
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
                verified: VerifiedTokenCache::new(DEFAULT_BYTES),
            }),
        }
    }

    /// Also accepts tokens signed with `key`. It takes the place of a key with the same id.
    #[must_use]
    pub fn with_key(mut self, key: VerificationKey) -> Self {
        let inner = Arc::make_mut(&mut self.inner);
        inner.keys.retain(|other| other.kid() != key.kid());
        inner.keys.push(key);
        inner.verified.clear();
        self
    }

    /// Caches up to about `bytes` of verified tokens, so that the next request with one of them costs a comparison of the whole
    /// token instead of signature and claims. 8 MiB without this call; 0 switches the cache off. A token leaves the cache when
    /// it expires, and all do when the keys change.
    #[must_use]
    pub fn with_memory(mut self, bytes: u64) -> Self {
        Arc::make_mut(&mut self.inner).verified = VerifiedTokenCache::new(bytes);
        self
    }

    /// Accepts tokens signed with one of `keys`, and no longer with those that it had.
    #[must_use]
    pub fn with_only_keys(mut self, keys: impl IntoIterator<Item = VerificationKey>) -> Self {
        let inner = Arc::make_mut(&mut self.inner);
        inner.keys.clear();
        inner.verified.clear();
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
    /// one, or the name is invented. Says nothing about the signature.
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
        if let Some(claims) = self.inner.verified.get(token, now) {
            return Ok(claims);
        }
        let claims = self.verify_at_any_age(token, now)?;
        // RFC 7519, 4.1.4: not accepted on or after the expiry.
        if now >= claims.exp {
            return Err(Refusal::TokenExpired);
        }
        let claims = Arc::new(claims);
        self.inner.verified.insert(token, now, &claims);
        Ok(claims)
    }

    /// Like [`verify`](Self::verify), but accepts an expired token. For signing out, which must work at any time; never to
    /// authenticate a request.
    pub fn verify_at_any_age(&self, token: &str, now: i64) -> Result<Claims, Refusal> {
        let parts = split(token)?;
        let header = Header::parse(parts.header)?;
        let record = self.key_for(&header).ok_or(Refusal::TokenInvalid)?;
        if header.algorithm != record.algorithm() {
            return Err(Refusal::TokenInvalid);
        }
        let genuine = jsonwebtoken::crypto::verify(
            parts.signature,
            parts.signed.as_bytes(),
            &record.key,
            record.algorithm().into(),
        );
        if !matches!(genuine, Ok(true)) {
            return Err(Refusal::TokenInvalid);
        }
        self.read_claims(parts.claims, now).ok_or(Refusal::TokenInvalid)
    }

    fn key_for(&self, header: &Header) -> Option<&VerificationKey> {
        match self.keys() {
            [only] if only.kid().is_none() => Some(only),
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
            auth_time: match members.remove("auth_time") {
                None => None,
                Some(value) => Some(time(&value)?),
            },
            amr: match members.remove("amr") {
                None => Vec::new(),
                Some(value) => serde_json::from_value(value).ok()?,
            },
            acr: match members.remove("acr") {
                None => None,
                Some(Value::String(level)) => Some(level),
                Some(_) => return None,
            },
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
    /// write, or that bring a key along (RFC 7515, 4.1.2 to 4.1.6): only our own records choose keys.
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
    // Checked as a whole rather than up to the first fault, which takes a fraction of the time.
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
