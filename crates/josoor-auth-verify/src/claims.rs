//! The claims of an access token (RFC 7519, RFC 9068).

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::Role;

/// The `typ` header of an access token (RFC 9068, 2.1).
pub const ACCESS_TOKEN_TYP: &str = "at+jwt";

/// The claims of an access token. Defined once, here; the service that signs them uses this very type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who signed: the service's `auth.issuer`.
    pub iss: String,
    /// The user's id; on the wire a string, because RFC 7519 (4.1.2) wants one and PyJWT and python-jose insist.
    #[serde(with = "decimal")]
    pub sub: i64,
    /// The user's address when the token was made. For display: authorisation reads the live state.
    pub email: String,
    /// Whether the address was verified when the token was made. Informational: authorisation reads the live state. False in
    /// tokens of the release before, which do not have it.
    #[serde(default)]
    pub email_verified: bool,
    /// The user's role when the token was made. Informational, like `email`.
    pub role: Role,
    /// Always `access`.
    #[serde(rename = "type")]
    pub token_type: AccessType,
    /// The session; a token whose session has ended is refused whatever its `exp` says.
    pub sid: Uuid,
    /// The session's refresh generation that this token was issued with.
    #[serde(rename = "gen")]
    pub generation: i64,
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

/// The one value of the claim `type` in an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessType {
    /// `"access"`.
    Access,
}

mod decimal {
    use super::{Deserialize, Deserializer, Serializer};

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
