//! Access tokens: as they come in, and rightly signed ones with any header and claims, since a mutated token does not get
//! past its signature.
#![no_main]

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josoor_auth_verify::{Algorithm, TokenVerifier, VerificationKey};
use libfuzzer_sys::fuzz_target;

const ISSUER: &str = "https://auth.example";
const NOW: i64 = 1_800_000_000;
const SECRET: &[u8; 32] = b"a secret that signs nothing else";

fuzz_target!(|data: &[u8]| {
    let key = VerificationKey::hmac(None, Algorithm::HS256, SECRET).expect("32 bytes are enough");
    let verifier = TokenVerifier::new(ISSUER, None).with_key(key);

    let as_it_came = String::from_utf8_lossy(data);
    let _ = verifier.lacks_key_for(&as_it_came);
    assert!(verifier.verify(&as_it_came, NOW).is_err(), "a token was forged");

    // The header ends at the first line break.
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (header, claims) = data.split_at(end);
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes());
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    if let Ok(claims) = verifier.verify(&token, NOW) {
        assert_eq!(claims.iss, ISSUER);
        assert_eq!(claims.aud, None);
        assert!(claims.exp > NOW);
    }
});
