//! The claims of an access token (RFC 7519, RFC 9068).

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::role::Role;

/// The `typ` header of an access token (RFC 9068, 2.1).
pub const ACCESS_TOKEN_TYP: &str = "at+jwt";

/// The claims of an access token. Defined once, here; the service that signs them uses this very type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The issuer: the service's `auth.issuer`.
    pub iss: String,
    /// The user's id; on the wire a string, as RFC 7519 (4.1.2) requires and PyJWT and python-jose check.
    #[serde(with = "decimal")]
    pub sub: i64,
    /// The user's address when the token was issued. For display: authorisation reads the live state.
    pub email: String,
    /// Whether the address was verified when the token was issued. Informational: authorisation reads the live state. False in
    /// tokens of a release that lacks it.
    #[serde(default)]
    pub email_verified: bool,
    /// The user's role when the token was issued. Informational, like `email`.
    pub role: Role,
    /// Always `access`.
    #[serde(rename = "type")]
    pub token_type: AccessType,
    /// The session; a token whose session is over is rejected whatever its `exp` says.
    pub sid: Uuid,
    /// The session's refresh generation that this token was issued with.
    #[serde(rename = "gen")]
    pub generation: i64,
    /// The last interactive sign-in or step-up, in seconds since 1970 (RFC 9068, 2.2.1); a refresh does not move it. `None`
    /// in tokens of a release that lacks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    /// The methods that verified the user (RFC 8176), such as `pwd`. Empty in tokens of a release that lacks it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// The level of that verification: `1` for one factor, `2` for two or for a passkey with user verification. Informational:
    /// the service's `/auth/check` decides from the live state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// Unique per token.
    pub jti: String,
    /// Issued at, in seconds since 1970.
    pub iat: i64,
    /// Expires at, in seconds since 1970; never after the end of the session.
    pub exp: i64,
    /// Only where the service has `auth.audience` set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
}

impl Claims {
    /// The level of the verification that counts now: `2` only for a token of two factors, of an account that has had a second
    /// factor without a break since before it was verified (`factor_since`, in seconds since 1970). Else `1`.
    pub fn acr_given(&self, factor_since: Option<i64>) -> u8 {
        let is_two = self.acr.as_deref() == Some("2");
        let has_both = factor_since.is_some_and(|since| self.auth_time.is_some_and(|at| at >= since));
        if is_two && has_both { 2 } else { 1 }
    }
}

/// The one value of the claim `type` in an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessType {
    /// `"access"`.
    Access,
}

mod decimal {
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde calls it with a reference"
    )]
    pub(super) fn serialize<S: Serializer>(id: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    /// Exactly the form that we write: no sign, no leading zero, no blank.
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse::<i64>() {
            Ok(id) if id > 0 && id.to_string() == text => Ok(id),
            _ => Err(serde::de::Error::custom("sub must be a user id")),
        }
    }
}
