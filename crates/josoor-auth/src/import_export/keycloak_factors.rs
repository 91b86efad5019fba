//! The second factors of a realm export of Keycloak: authenticator apps and recovery codes.

use serde_json::Value;
use zeroize::Zeroizing;

use super::factors::{CODES_AT_MOST, given_to, not_taken};
use super::fields::{Fields, number};
use super::user::Incoming;
use crate::auth::factors::moved::MovedFactors;
use crate::auth::factors::recovery_codes::CodeHash;
use crate::auth::factors::totp::TotpSecret;

/// Where the factors are.
const FIELD: &str = "credentials";

/// Adds the app that a Keycloak user has among the credentials, and the recovery codes. Where the app cannot be taken the user is, with
/// a warning: each sign-in would otherwise ask for codes that nothing shows.
pub(super) fn with_factors(user: Incoming, credentials: &[Value]) -> Incoming {
    let of_kinds = |kinds: &'static [&str]| {
        credentials
            .iter()
            .filter_map(Value::as_object)
            .filter(move |credential| {
                let kind = credential.get("type").and_then(Value::as_str);
                kind.is_some_and(|kind| kinds.contains(&kind))
            })
    };
    let apps: Vec<_> = of_kinds(&["otp", "totp"]).map(secret_of).collect();
    let mut why_not = match apps.as_slice() {
        [] | [Ok(_)] => None,
        [Err(why)] => Some(*why),
        _ => Some("There are several authenticator apps, and an account has one"),
    };
    let app = apps.into_iter().next().and_then(Result::ok);
    let mut factors = match app {
        Some(secret) if why_not.is_none() => MovedFactors::app(secret),
        _ => MovedFactors::default(),
    };
    // Its user handle is Keycloak's own.
    if !factors.has_factor() && of_kinds(&["webauthn", "webauthn-passwordless"]).next().is_some() {
        why_not = why_not.or(Some("A passkey of Keycloak's names its user in a way of its own"));
    }
    let sets: Option<Vec<_>> = of_kinds(&["recovery-authn-codes"]).map(codes_of).collect();
    let are_read = sets.is_some();
    factors.recovery_codes = sets.unwrap_or_default().into_iter().flatten().collect();
    let has_app = factors.has_factor();
    let mut user = given_to(user, factors, why_not, FIELD);
    if !are_read && has_app {
        user.warnings.push(not_taken(
            "The recovery codes are not in a form that Keycloak writes",
            "the user was taken without them",
            FIELD,
        ));
    }
    user
}

/// One of the two texts in which a credential has its JSON.
fn part(credential: &Fields, name: &str) -> Option<Fields> {
    let text = credential.get(name).and_then(Value::as_str)?;
    serde_json::from_str(text).ok()
}

/// The hashes of a set of recovery codes, which Keycloak computes by SHA-512 alone.
fn codes_of(credential: &Fields) -> Option<Vec<CodeHash>> {
    let (data, secret) = (
        part(credential, "credentialData")?,
        part(credential, "secretData")?,
    );
    // Keycloak names the digest by a signature algorithm that has it.
    let is_usual = data.get("algorithm").and_then(Value::as_str) == Some("RS512")
        && number(data.get("hashIterations")) == Some(1);
    let codes = secret.get("codes")?.as_array()?;
    if !is_usual || codes.len() > CODES_AT_MOST {
        return None;
    }
    let hash = |code: &Value| CodeHash::from_keycloak(code.get("encodedHashedValue")?.as_str()?);
    codes.iter().map(hash).collect()
}

/// The secret of an app, if it makes the codes that all apps make: SHA-1, six digits, 30 seconds.
fn secret_of(credential: &Fields) -> Result<TotpSecret, &'static str> {
    const UNREADABLE: &str = "The authenticator app is not in a form that Keycloak writes";
    let (Some(data), Some(secret)) = (part(credential, "credentialData"), part(credential, "secretData"))
    else {
        return Err(UNREADABLE);
    };
    let text = |name: &str, default| data.get(name).and_then(Value::as_str).unwrap_or(default);
    let is_usual = text("subType", "totp") == "totp"
        && text("algorithm", "HmacSHA1") == "HmacSHA1"
        && number(data.get("digits")).unwrap_or(6) == 6
        && number(data.get("period")).unwrap_or(30) == 30;
    if !is_usual {
        return Err("The authenticator app's codes are not those of SHA-1, six digits and 30 seconds");
    }
    let value = secret.get("value").and_then(Value::as_str).ok_or(UNREADABLE)?;
    // Without an encoding the text's own bytes are the secret.
    let secret = match data.get("secretEncoding").and_then(Value::as_str) {
        Some("BASE32") => TotpSecret::from_base32(value),
        Some(_) => None,
        None => TotpSecret::accept(Zeroizing::new(value.as_bytes().to_vec())),
    };
    secret.ok_or(
        "The authenticator app's secret has fewer than 128 bits, or is not in a form that Keycloak writes",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Email;
    use crate::import_export::user::Verified;

    fn app(data: &str, value: &str) -> Value {
        serde_json::json!({
            "type": "otp",
            "credentialData": data,
            "secretData": serde_json::json!({ "value": value }).to_string(),
        })
    }

    fn read(credentials: &[Value], verified: Verified) -> Incoming {
        let user = Incoming::new(Email::parse("sara@example.com").expect("an address"));
        with_factors(Incoming { verified, ..user }, credentials)
    }

    #[test]
    fn the_usual_app_is_taken_and_what_is_not_is_said() {
        let usual = r#"{"subType":"totp","digits":6,"counter":0,"period":30,"algorithm":"HmacSHA1"}"#;
        let plain = app(usual, "12345678901234567890");
        let user = read(std::slice::from_ref(&plain), Verified::Yes);
        let secret = user.factors.totp.expect("an app").secret;
        assert_eq!(secret.as_bytes(), b"12345678901234567890");
        assert!(user.warnings.is_empty());
        let coded = usual.replace("\"digits\"", "\"secretEncoding\":\"BASE32\",\"digits\"");
        let user = read(&[app(&coded, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")], Verified::Yes);
        let secret = user.factors.totp.expect("an app").secret;
        assert_eq!(secret.as_bytes(), b"12345678901234567890");
        for credentials in [
            vec![app(
                &usual.replace("HmacSHA1", "HmacSHA256"),
                "12345678901234567890",
            )],
            vec![app(
                &usual.replace("\"digits\":6", "\"digits\":8"),
                "12345678901234567890",
            )],
            vec![app(
                &usual.replace("\"totp\"", "\"hotp\""),
                "12345678901234567890",
            )],
            vec![app(usual, "short")],
            vec![app(&coded, "not base 32!")],
            vec![serde_json::json!({ "type": "otp" })],
            vec![serde_json::json!({ "type": "webauthn" })],
            vec![codes("RS512", HASH)],
            vec![plain.clone(), plain.clone()],
        ] {
            let user = read(&credentials, Verified::Yes);
            assert!(user.factors.is_empty(), "{credentials:?}");
            assert_eq!(user.warnings[0].code, "factor_not_taken");
            assert!(!user.warnings[0].message.contains("1234"), "{:?}", user.warnings);
        }
        let user = read(&[plain], Verified::No);
        assert!(user.factors.is_empty() && user.warnings.len() == 1);
    }

    /// Of `L9RRAUWYKARB`.
    const HASH: &str =
        "OnOEi8vsNqnI2s6t2IxU2+A+KrzWAVpR9AHExeQgDzTuoiU1qPzFsOpFIy8wb6EtPEGHKj0ehgHyTbuBTyChhg==";

    fn codes(algorithm: &str, hash: &str) -> Value {
        serde_json::json!({
            "type": "recovery-authn-codes",
            "credentialData": serde_json::json!({ "hashIterations": 1, "algorithm": algorithm, "remaining": 1, "total": 12 }).to_string(),
            "secretData": serde_json::json!({ "codes": [{ "number": 12, "encodedHashedValue": hash }] }).to_string(),
        })
    }

    #[test]
    fn recovery_codes_come_with_the_app() {
        let app = app(r#"{"subType":"totp"}"#, "12345678901234567890");
        let user = read(&[app.clone(), codes("RS512", HASH)], Verified::Yes);
        assert_eq!(
            user.factors.recovery_codes,
            [CodeHash::from_keycloak(HASH).expect("a hash")]
        );
        assert!(user.warnings.is_empty(), "{:?}", user.warnings);
        // A key beside the app is one way less, not none.
        let key = serde_json::json!({ "type": "webauthn" });
        let user = read(&[key, app.clone()], Verified::Yes);
        assert!(user.factors.totp.is_some() && user.warnings.is_empty());
        for unreadable in [codes("HS256", HASH), codes("RS512", "?"), codes("RS512", "AAAA")] {
            let user = read(&[app.clone(), unreadable], Verified::Yes);
            assert!(user.factors.totp.is_some() && user.factors.recovery_codes.is_empty());
            assert_eq!(user.warnings[0].code, "factor_not_taken");
        }
    }
}
