//! The authenticator apps of a realm export of Keycloak.

use serde_json::Value;
use zeroize::Zeroizing;

use super::fields::{Fields, number};
use super::user::{Incoming, Verified};
use crate::auth::factors::totp::TotpSecret;
use crate::error::Invalid;

/// Adds the app that a Keycloak user has among the credentials. Where it cannot be taken the user is, with a warning: each sign-in
/// would otherwise ask for codes that nothing shows.
pub(super) fn with_app(user: Incoming, credentials: &[Value]) -> Incoming {
    let apps = credentials
        .iter()
        .filter_map(Value::as_object)
        .filter(|credential| {
            let kind = credential.get("type").and_then(Value::as_str);
            kind.is_some_and(|kind| kind == "otp" || kind == "totp")
        });
    let read: Vec<_> = apps.map(secret_of).collect();
    let is_verified = matches!(user.verified, Verified::Yes | Verified::At(_));
    let why = match read.as_slice() {
        [] => return user,
        _ if !is_verified => "Second factors exist only on verified addresses",
        [Ok(_)] => {
            let totp = read.into_iter().next().and_then(Result::ok);
            return Incoming { totp, ..user };
        }
        [Err(why)] => why,
        _ => "There are several authenticator apps, and an account has one",
    };
    let message = format!("{why}; the user was taken without a second factor.");
    let warning = Invalid::new("factor_not_taken", message).in_field("credentials");
    let mut warnings = user.warnings;
    warnings.push(warning);
    Incoming { warnings, ..user }
}

/// The secret of an app, if it makes the codes that all apps make: SHA-1, six digits, 30 seconds.
fn secret_of(credential: &Fields) -> Result<TotpSecret, &'static str> {
    const UNREADABLE: &str = "The authenticator app is not in a form that Keycloak writes";
    let parts = |name| -> Option<Fields> {
        let text = credential.get(name).and_then(Value::as_str)?;
        serde_json::from_str(text).ok()
    };
    let (Some(data), Some(secret)) = (parts("credentialData"), parts("secretData")) else {
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

    fn app(data: &str, value: &str) -> Value {
        serde_json::json!({
            "type": "otp",
            "credentialData": data,
            "secretData": serde_json::json!({ "value": value }).to_string(),
        })
    }

    fn read(credentials: &[Value], verified: Verified) -> Incoming {
        let user = Incoming::new(Email::parse("sara@example.com").expect("an address"));
        with_app(Incoming { verified, ..user }, credentials)
    }

    #[test]
    fn the_usual_app_is_taken_and_what_is_not_is_said() {
        let usual = r#"{"subType":"totp","digits":6,"counter":0,"period":30,"algorithm":"HmacSHA1"}"#;
        let plain = app(usual, "12345678901234567890");
        let user = read(std::slice::from_ref(&plain), Verified::Yes);
        assert_eq!(user.totp.expect("an app").as_bytes(), b"12345678901234567890");
        assert!(user.warnings.is_empty());
        let coded = usual.replace("\"digits\"", "\"secretEncoding\":\"BASE32\",\"digits\"");
        let user = read(&[app(&coded, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")], Verified::Yes);
        assert_eq!(user.totp.expect("an app").as_bytes(), b"12345678901234567890");
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
            vec![plain.clone(), plain.clone()],
        ] {
            let user = read(&credentials, Verified::Yes);
            assert!(user.totp.is_none(), "{credentials:?}");
            assert_eq!(user.warnings[0].code, "factor_not_taken");
            assert!(!user.warnings[0].message.contains("1234"), "{:?}", user.warnings);
        }
        let user = read(&[plain], Verified::No);
        assert!(user.totp.is_none() && user.warnings.len() == 1);
    }
}
