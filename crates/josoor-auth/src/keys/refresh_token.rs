//! Refresh tokens: JWTs that only this service can issue and read (RFC 7519; HMAC-SHA-256 under the server-only key).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::{Zeroize, Zeroizing};

use super::server_key::ServerKey;
use crate::crypto;
use crate::domain::{Secret, SessionId, Timestamp, UserId};
use crate::error::Refusal;

/// The longest token that is read.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The header of every refresh token, as it stands in the token.
const REFRESH_HEADER: &str = r#"{"alg":"HS256","typ":"rt+jwt"}"#;

/// What a refresh token is issued for: one generation of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    /// The session's user.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
    /// The generation's number, from 1.
    pub number: i64,
    /// `iat` of the token.
    pub issued_at: Timestamp,
    /// `exp` of the token.
    pub expires_at: Timestamp,
}

/// The claims of a refresh token whose signature is right. Whether the token is still accepted, the session's row decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefreshClaims {
    sub: String,
    sid: Uuid,
    /// The session's generation that it belongs to.
    #[serde(rename = "gen")]
    pub generation: i64,
    #[serde(rename = "type")]
    token_type: RefreshType,
    jti: String,
    iat: i64,
    /// Expires at, in seconds since 1970.
    pub exp: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RefreshType {
    Refresh,
}

impl RefreshClaims {
    /// The session's user.
    pub fn user(&self) -> Option<UserId> {
        self.sub.parse().ok().map(UserId)
    }

    /// The session.
    pub const fn session(&self) -> SessionId {
        SessionId(self.sid)
    }

    /// Whether `exp` has passed.
    pub const fn is_expired(&self, now: Timestamp) -> bool {
        now.as_secs() >= self.exp
    }
}

/// Issues and reads refresh tokens.
pub struct RefreshTokens {
    server: ServerKey,
    signer: aws_lc_rs::hmac::Key,
}

impl RefreshTokens {
    pub(super) fn new(server: ServerKey) -> Self {
        let key = Zeroizing::new(server.mac(&[b"refresh-token"]));
        Self {
            server,
            signer: aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &*key),
        }
    }

    /// The refresh token of a generation. The same generation always gives the same token, so that a lost answer can be
    /// given again.
    pub fn issue(&self, of: &Generation) -> Secret {
        let claims = RefreshClaims {
            sub: of.user.to_string(),
            sid: of.session.0,
            generation: of.number,
            token_type: RefreshType::Refresh,
            jti: self.token_id(of.session, of.number),
            iat: of.issued_at.as_secs(),
            exp: of.expires_at.as_secs(),
        };
        let mut payload = serde_json::to_string(&claims).unwrap_or_default();
        let mut token = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(REFRESH_HEADER),
            URL_SAFE_NO_PAD.encode(&payload)
        );
        payload.zeroize();
        let signature = self.sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Secret::new(token)
    }

    /// Reads a refresh token of ours, expired or not.
    ///
    /// # Errors
    /// `TokenInvalid`.
    pub fn read(&self, token: &str) -> Result<RefreshClaims, Refusal> {
        let invalid = Refusal::TokenInvalid;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(invalid);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(invalid)?;
        let (header, payload) = signed.split_once('.').ok_or(invalid)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| invalid)?;
        let expected = self.sign(signed.as_bytes());
        if !crypto::equal(&signature, &expected) || header != URL_SAFE_NO_PAD.encode(REFRESH_HEADER) {
            return Err(invalid);
        }
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| invalid)?;
        let claims: RefreshClaims = serde_json::from_slice(&payload).map_err(|_| invalid)?;
        let token_id = self.token_id(claims.session(), claims.generation);
        if crypto::equal(claims.jti.as_bytes(), token_id.as_bytes()) {
            Ok(claims)
        } else {
            Err(invalid)
        }
    }

    fn token_id(&self, session: SessionId, generation: i64) -> String {
        let mac = self
            .server
            .mac(&[b"refresh-jti", session.0.as_bytes(), &generation.to_be_bytes()]);
        URL_SAFE_NO_PAD.encode(&mac[..16])
    }

    fn sign(&self, signed: &[u8]) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(aws_lc_rs::hmac::sign(&self.signer, signed).as_ref());
        out
    }
}
