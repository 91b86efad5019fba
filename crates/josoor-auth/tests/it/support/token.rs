//! Tokens that the service did not make.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// Text or bytes as they stand in a token.
pub(crate) fn encode(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

/// Header and claims of a token, read without any check.
pub(crate) fn read(token: &str) -> (Value, Value) {
    let part = |number: usize| {
        let part = token.split('.').nth(number).expect("three parts");
        let bytes = URL_SAFE_NO_PAD.decode(part).expect("base64url");
        serde_json::from_slice(&bytes).expect("JSON")
    };
    (part(0), part(1))
}

/// A token signed with HMAC, whatever its header says.
pub(crate) fn sign_with(algorithm: hmac::Algorithm, key: &[u8], header: &Value, claims: &Value) -> String {
    sign_text(algorithm, key, &header.to_string(), &claims.to_string())
}

/// A token signed with HMAC, whose parts need not be JSON.
pub(crate) fn sign_text(algorithm: hmac::Algorithm, key: &[u8], header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = hmac::sign(&hmac::Key::new(algorithm, key), signed.as_bytes());
    format!("{signed}.{}", encode(signature))
}

/// A token signed with HMAC-SHA-256.
pub(crate) fn sign(key: &str, header: &Value, claims: &Value) -> String {
    sign_with(hmac::HMAC_SHA256, key.as_bytes(), header, claims)
}
