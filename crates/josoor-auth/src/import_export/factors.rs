//! The second factors of a native file: what `user export --with-factors` writes into the field `factors`, and its reader.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::fields::Get;
use super::user::{Incoming, Verified};
use crate::auth::factors::moved::{MovedFactors, MovedPasskey, MovedTotp};
use crate::auth::factors::passkeys;
use crate::auth::factors::recovery_codes::CodeHash;
use crate::auth::factors::totp::TotpSecret;
use crate::domain::PasskeyName;
use crate::error::{FieldError, Invalid};

/// The most recovery codes that a user may bring; a set of this service has ten, one of Keycloak's at most fifteen.
pub(super) const CODES_AT_MOST: usize = 20;

/// How many ways of reaching an authenticator are kept, and how long their names may be.
const TRANSPORTS_AT_MOST: usize = 8;
const TRANSPORT_AT_MOST: usize = 20;

/// A host name's length (RFC 1035, 2.3.4).
const HOST_AT_MOST: usize = 253;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Factors {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    totp: Option<Totp>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    passkeys: Vec<Passkey>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    recovery_codes: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Totp {
    /// In base 32.
    secret: String,
    #[serde(default)]
    last_step: i64,
}

/// Binary values are in base64url without padding.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Passkey {
    credential_id: String,
    public_key: String,
    counter: u32,
    aaguid: Uuid,
    transports: Vec<String>,
    can_be_backed_up: bool,
    is_backed_up: bool,
    rp_id: String,
    name: String,
    created_at: String,
}

/// As a native file has them.
pub(super) fn to_json(factors: &MovedFactors) -> Result<Value, serde_json::Error> {
    let bytes = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let mut recovery_codes: Vec<String> = factors.recovery_codes.iter().map(CodeHash::to_text).collect();
    // They have no order.
    recovery_codes.sort();
    serde_json::to_value(Factors {
        totp: factors.totp.as_ref().map(|totp| Totp {
            secret: totp.secret.to_base32().expose().to_owned(),
            last_step: totp.last_step,
        }),
        passkeys: factors
            .passkeys
            .iter()
            .map(|passkey| Passkey {
                credential_id: bytes(&passkey.external_id),
                public_key: bytes(&passkey.public_key),
                counter: passkey.counter,
                aaguid: passkey.aaguid,
                transports: passkey.transports.clone(),
                can_be_backed_up: passkey.is_backup_eligible,
                is_backed_up: passkey.is_backed_up,
                rp_id: passkey.rp_id.clone(),
                name: passkey.name.as_str().to_owned(),
                created_at: passkey.created_at.to_string(),
            })
            .collect(),
        recovery_codes,
    })
}

/// Of the field `factors`.
pub(super) fn from_field(get: &Get<'_>) -> Result<MovedFactors, FieldError> {
    let Some(object) = get.object("factors")? else {
        return Ok(MovedFactors::default());
    };
    // The parser's own words could repeat a secret.
    let read: Result<Factors, _> = serde_json::from_value(Value::Object(object.into_owned()));
    let Ok(factors) = read else {
        return Err(wrong("factors"));
    };
    let totp = factors.totp.as_ref().map(app).transpose()?;
    let passkeys: Option<Vec<_>> = factors.passkeys.into_iter().map(passkey).collect();
    let passkeys = passkeys
        .filter(|all| all.len() <= passkeys::AT_MOST)
        .ok_or_else(|| wrong("factors.passkeys"))?;
    // Their user handle is the uid.
    if !passkeys.is_empty() && !get.is_there("uid") {
        return Get::wrong(
            "uid",
            "uid_missing",
            "A passkey names its user by the uid; keep the one of the export.",
        );
    }
    let codes = factors.recovery_codes.iter();
    let codes: Option<Vec<_>> = codes.map(|text| CodeHash::from_text(text)).collect();
    let recovery_codes = codes
        .filter(|all| all.len() <= CODES_AT_MOST)
        .ok_or_else(|| wrong("factors.recovery_codes"))?;
    Ok(MovedFactors {
        totp,
        passkeys,
        recovery_codes,
    })
}

fn wrong(field: &str) -> FieldError {
    Invalid::new(
        "invalid_factors",
        "These second factors are not as user export --with-factors writes them. Take them from its file as they are, or leave the \
         field out.",
    )
    .in_field(field)
}

fn app(totp: &Totp) -> Result<MovedTotp, FieldError> {
    let secret = TotpSecret::from_base32(&totp.secret).filter(|_| totp.last_step >= 0);
    let secret = secret.ok_or_else(|| wrong("factors.totp"))?;
    Ok(MovedTotp {
        secret,
        last_step: totp.last_step,
    })
}

fn passkey(passkey: Passkey) -> Option<MovedPasskey> {
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    let external_id = bytes(&passkey.credential_id).filter(|id| passkeys::ID_LENGTHS.contains(&id.len()))?;
    let public_key = bytes(&passkey.public_key).filter(|key| passkeys::is_public_key(key))?;
    let is_transport = |name: &String| {
        name.len() <= TRANSPORT_AT_MOST && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    };
    let is_acceptable = passkey.transports.len() <= TRANSPORTS_AT_MOST
        && passkey.transports.iter().all(is_transport)
        && (1..=HOST_AT_MOST).contains(&passkey.rp_id.len())
        && passkey.rp_id.bytes().all(|byte| byte.is_ascii_graphic())
        && (passkey.can_be_backed_up || !passkey.is_backed_up);
    is_acceptable.then_some(MovedPasskey {
        external_id,
        public_key,
        counter: passkey.counter,
        aaguid: passkey.aaguid,
        transports: passkey.transports,
        is_backup_eligible: passkey.can_be_backed_up,
        is_backed_up: passkey.is_backed_up,
        rp_id: passkey.rp_id,
        name: PasskeyName::parse(&passkey.name).ok()??,
        created_at: passkey.created_at.parse().ok()?,
    })
}

/// Gives a user the factors that its source has, or says why not: without the warning its owner would expect to be asked for them.
pub(super) fn given_to(
    user: Incoming,
    factors: MovedFactors,
    why_not: Option<&str>,
    field: &str,
) -> Incoming {
    let is_verified = matches!(user.verified, Verified::Yes | Verified::At(_));
    let why_not = match why_not {
        None if factors.is_empty() => return user,
        _ if !is_verified => "Second factors exist only on verified addresses",
        Some(why_not) => why_not,
        None if !factors.has_factor() => "Recovery codes are for an account with an app or a passkey",
        None => return Incoming { factors, ..user },
    };
    let mut warnings = user.warnings;
    warnings.push(not_taken(
        why_not,
        "the user was taken without a second factor",
        field,
    ));
    Incoming { warnings, ..user }
}

/// The warning about factors that were not taken.
pub(super) fn not_taken(why: &str, taken: &str, field: &str) -> FieldError {
    let message = format!("{why}; {taken}.");
    Invalid::new("factor_not_taken", message).in_field(field)
}

/// The warning about passkeys that other users have.
pub(super) fn registered_already(left_out: usize) -> FieldError {
    let message = format!("{left_out} of the passkeys are registered already, and were not taken.");
    Invalid::new("factor_not_taken", message).in_field("factors")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fields::Fields;
    use super::*;

    fn fields(factors: &Value) -> Fields {
        let fields = json!({ "uid": Uuid::from_u128(7), "factors": factors });
        fields.as_object().expect("an object").clone()
    }

    fn read(factors: &Value) -> Result<MovedFactors, FieldError> {
        from_field(&Get(&fields(factors)))
    }

    fn written() -> Value {
        // The key of RFC 8152, appendix C.7.1, without its id.
        let key = "pQECAyYgASFYIGXtpaEld8K66ClDf-M4cBoQqqN14btbXeEI3kOcCFUdIlggHlLtdXARY_f55A3fnzQbPcm6hgr34Mp8p-nuzQCE0Zw";
        json!({
            "totp": { "secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "last_step": 59_000_000 },
            "passkeys": [{
                "credential_id": "AAAAAAAAAAAAAAAAAAAAAA",
                "public_key": key,
                "counter": 7,
                "aaguid": "ea9b8d66-4d01-1d21-3ce4-b6b48cb575d4",
                "transports": ["internal", "hybrid"],
                "can_be_backed_up": true,
                "is_backed_up": false,
                "rp_id": "auth.example.com",
                "name": "هاتفي",
                "created_at": "2026-01-31T12:00:00.000000Z",
            }],
            "recovery_codes": [format!("$hmac-sha256${0}${0}", "A".repeat(43)), format!("$sha512${}", "A".repeat(86))],
        })
    }

    #[test]
    fn what_was_written_is_read() {
        let factors = read(&written()).expect("factors");
        assert_eq!(to_json(&factors).expect("JSON"), written());
        // In a cell of a table it is a text.
        let text = Value::String(written().to_string());
        assert_eq!(to_json(&read(&text).expect("factors")).expect("JSON"), written());
        assert!(read(&Value::Null).expect("none").is_empty());
        assert!(read(&json!({})).expect("none").is_empty());
    }

    #[test]
    fn what_is_not_as_it_is_written_is_rejected_without_its_secrets() {
        let changes = [
            ("/totp/secret", json!("GEZDGNBV"), "factors.totp"),
            ("/totp/secret", json!("not base 32"), "factors.totp"),
            ("/totp/last_step", json!(-1), "factors.totp"),
            ("/totp", json!({ "GEZDGNBV": 1 }), "factors"),
            ("/passkeys/0/credential_id", json!("AAAA"), "factors.passkeys"),
            ("/passkeys/0/public_key", json!("AAAA"), "factors.passkeys"),
            ("/passkeys/0/counter", json!(-1), "factors"),
            ("/passkeys/0/counter", json!(4_294_967_296_u64), "factors"),
            ("/passkeys/0/transports", json!(["UPPER"]), "factors.passkeys"),
            ("/passkeys/0/can_be_backed_up", json!("yes"), "factors"),
            ("/passkeys/0/rp_id", json!(""), "factors.passkeys"),
            ("/passkeys/0/rp_id", json!("a b"), "factors.passkeys"),
            ("/passkeys/0/name", json!("\u{200b}"), "factors.passkeys"),
            ("/passkeys/0/created_at", json!("yesterday"), "factors.passkeys"),
            ("/recovery_codes/0", json!("GEZDGNBV"), "factors.recovery_codes"),
            ("/recovery_codes", json!(vec!["x"; 21]), "factors.recovery_codes"),
        ];
        for (pointer, value, field) in changes {
            let mut factors = written();
            *factors.pointer_mut(pointer).expect("a member") = value.clone();
            let reason = read(&factors).expect_err(pointer);
            assert_eq!(
                (reason.code, &*reason.field),
                ("invalid_factors", field),
                "{value}"
            );
            assert!(!reason.message.contains("GEZDGNBV"), "{reason:?}");
        }
        let mut backed_up = written();
        backed_up["passkeys"][0]["can_be_backed_up"] = json!(false);
        backed_up["passkeys"][0]["is_backed_up"] = json!(true);
        assert!(read(&backed_up).is_err());
        let mut many = written();
        many["passkeys"] = json!(vec![written()["passkeys"][0].clone(); 21]);
        assert!(read(&many).is_err());
        let mut without = fields(&written());
        without.remove("uid");
        assert_eq!(
            from_field(&Get(&without)).expect_err("no uid").code,
            "uid_missing"
        );
    }
}
