//! Tokens of every kind, right and wrong, and an issuer's keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josoor_auth_verify::{Algorithm, TokenVerifier, VerificationKey};
use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};

pub(crate) const ISSUER: &str = "https://auth.example.org";
pub(crate) const SECRET: &[u8] = b"nyfIT-6q2bSPR+W9Xv0mZ1c8uLkA7dJ3";
pub(crate) const SESSION: &str = "7f8a4a36-0c0b-4f6c-9f0c-3a1f6e2b9d51";
/// The moment at which the tests' tokens are verified, unless they say another.
pub(crate) const NOW: i64 = 1_790_000_000;

pub(crate) fn header() -> Value {
    json!({"alg": "HS256", "typ": "at+jwt", "kid": "k1"})
}

pub(crate) fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "42", "email": "layla@example.org", "role": "analyst", "type": "access",
        "sid": SESSION, "gen": 3, "jti": "b1c7d0", "iat": NOW - 10, "exp": NOW + 300,
    })
}

/// `base` with the members of `changes`; null removes one.
pub(crate) fn with(mut base: Value, changes: Value) -> Value {
    let Value::Object(changes) = changes else {
        panic!("changes are an object")
    };
    for (name, value) in changes {
        if value.is_null() {
            base.as_object_mut().unwrap().remove(&name);
        } else {
            base[name] = value;
        }
    }
    base
}

/// A JWS over exactly these texts, which need not be JSON.
pub(crate) fn sign_texts(header: &str, claims: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    VerificationKey::hmac(None, Algorithm::HS256, SECRET).unwrap();
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), key, algorithm.into()).unwrap();
    format!("{signed}.{signature}")
}

pub(crate) fn sign(header: &Value, claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET);
    sign_texts(&header.to_string(), &claims.to_string(), &key, Algorithm::HS256)
}

pub(crate) fn token() -> String {
    sign(&header(), &claims())
}

pub(crate) fn verifier() -> TokenVerifier {
    let key = VerificationKey::hmac(Some("k1".to_owned()), Algorithm::HS256, SECRET).unwrap();
    TokenVerifier::new(ISSUER, None).with_key(key)
}
