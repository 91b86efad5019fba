//! Supabase's `auth.users`.

use serde_json::Value;

use super::factors::given_to;
use super::fields::{Get, Parsed};
use super::options::Reading;
use super::user::{Incoming, Verified};
use crate::auth::factors::moved::MovedFactors;
use crate::auth::factors::totp::TotpSecret;
use crate::error::{FieldError, Invalid};

/// The columns of Supabase's `auth.users` that are understood, and one of a table beside it: the user's rows of `auth.mfa_factors`, as
/// a list in JSON.
pub const SUPABASE_COLUMNS: [&str; 13] = [
    "id",
    "email",
    "encrypted_password",
    "email_confirmed_at",
    "banned_until",
    "raw_user_meta_data",
    "raw_app_meta_data",
    "deleted_at",
    "is_sso_user",
    "created_at",
    "updated_at",
    "last_sign_in_at",
    FACTORS,
];

const FACTORS: &str = "mfa_factors";

impl Reading {
    pub(super) fn supabase(&self, get: &Get<'_>) -> Parsed<Incoming> {
        if get.time("deleted_at")?.is_some() {
            return Err(Invalid::new("deleted", "The user is deleted at the source.").in_field("deleted_at"));
        }
        if get.flag("is_sso_user")? == Some(true) && !self.without_password {
            return Err(Invalid::new(
                "sso_user",
                "The user signs in through another service and has no password; --without-password takes such users.",
            )
            .in_field("is_sso_user"));
        }
        let metadata = get.object("raw_user_meta_data")?.unwrap_or_default();
        let metadata = Get(&metadata);
        let name = metadata.name("full_name").map_err(in_metadata)?;
        let name = name.or(metadata.name("name").map_err(in_metadata)?);
        let claims = get.object("raw_app_meta_data")?.unwrap_or_default();
        let role = self.role(&Get(&claims), "role").map_err(|mut reason| {
            reason.field.insert_str(0, "raw_app_meta_data.");
            reason
        })?;
        let banned = get
            .time_or_infinity("banned_until")?
            .is_some_and(|until| until > self.now);
        let (factors, why_not) = factors_of(&get.list(FACTORS)?);
        let email = get.email("email")?;
        let user = Incoming {
            role,
            is_active: Some(!banned),
            verified: get.time("email_confirmed_at")?.map_or(Verified::No, Verified::At),
            password_hash: self.password("encrypted_password", get.hash("encrypted_password")?)?,
            created_at: get.time("created_at")?,
            updated_at: get.time("updated_at")?,
            last_login_at: get.time("last_sign_in_at")?,
            ..Incoming::new(email)
        };
        let user = name.inside("raw_user_meta_data.").given_to(user);
        Ok(given_to(user, factors, why_not, FACTORS))
    }
}

fn in_metadata(mut reason: FieldError) -> FieldError {
    reason.field.insert_str(0, "raw_user_meta_data.");
    reason
}

/// The authenticator app among the factors that the user has verified, or why none is taken. Supabase's apps have SHA-1, six digits and
/// 30 seconds, and there are no recovery codes.
fn factors_of(rows: &[Value]) -> (MovedFactors, Option<&'static str>) {
    let text = |row: &Value, name: &str| row.get(name).and_then(Value::as_str).map(str::to_owned);
    let verified: Vec<&Value> = rows
        .iter()
        .filter(|row| text(row, "status").as_deref() == Some("verified"))
        .collect();
    let is_app = |row: &&&Value| text(row, "factor_type").as_deref() == Some("totp");
    let apps: Vec<&&Value> = verified.iter().filter(is_app).collect();
    let why_not = match *apps {
        [] if verified.is_empty() => None,
        [] => Some("Of Supabase's factors only authenticator apps can be taken over"),
        [app] => match text(app, "secret").and_then(|secret| TotpSecret::from_base32(&secret)) {
            Some(secret) => return (MovedFactors::app(secret), None),
            None => Some("The authenticator app's secret is encrypted, or has fewer than 128 bits"),
        },
        _ => Some("There are several authenticator apps, and an account has one"),
    };
    (MovedFactors::default(), why_not)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_one_verified_app_is_taken() {
        let app = json!({ "factor_type": "totp", "status": "verified", "secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" });
        let begun = json!({ "factor_type": "totp", "status": "unverified", "secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" });
        let phone = json!({ "factor_type": "phone", "status": "verified", "secret": null });
        for rows in [vec![app.clone()], vec![begun.clone(), app.clone(), phone.clone()]] {
            let (factors, why_not) = factors_of(&rows);
            let secret = factors.totp.expect("an app").secret;
            assert_eq!((secret.as_bytes(), why_not), (&b"12345678901234567890"[..], None));
        }
        let sealed = json!({ "factor_type": "totp", "status": "verified", "secret": "{\"key_id\":\"k\",\"alg\":\"aes-gcm-hkdf\"}" });
        for rows in [vec![phone], vec![sealed], vec![app.clone(), app]] {
            let (factors, why_not) = factors_of(&rows);
            assert!(factors.is_empty() && why_not.is_some(), "{rows:?}");
        }
        for rows in [vec![], vec![begun], vec![json!(7)]] {
            let (factors, why_not) = factors_of(&rows);
            assert!(factors.is_empty() && why_not.is_none(), "{rows:?}");
        }
    }
}
