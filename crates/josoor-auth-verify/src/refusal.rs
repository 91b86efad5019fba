//! Why a request was rejected.

use http::StatusCode;

/// Why a request was refused. Each variant has one stable `code`, the same in every service of the platform, so
/// that a client can tell "refresh and try again" from "sign in again" and a user can be shown the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// No `Authorization: Bearer` header.
    #[error("Sign in to use this: the request carries no access token.")]
    MissingToken,
    /// Not a token of ours: wrong form, signature, key, issuer, type or claims.
    #[error("The token is not valid.")]
    TokenInvalid,
    /// The token's `exp` has passed; the session may be alive, so a refresh may help.
    #[error("The token has expired.")]
    TokenExpired,
    /// The session reached its idle or absolute end.
    #[error("The session has expired. Sign in again.")]
    SessionExpired,
    /// The session was ended: signed out, revoked by its owner or by an administrator, or its account was deleted.
    #[error("The session was ended. Sign in again.")]
    SessionRevoked,
    /// The session was ended because the account's password was changed elsewhere.
    #[error("The password was changed, so this session was ended. Sign in again.")]
    PasswordChanged,
    /// The session was ended because one of its old refresh tokens was presented again (RFC 9700, 4.14.2).
    #[error("A refresh token of this session was used twice, so the session was ended. Sign in again.")]
    RefreshTokenReused,
    /// The account was deactivated.
    #[error("The account is not active.")]
    AccountInactive,
    /// Signed in, but the role is too low.
    #[error("Your role does not allow this.")]
    InsufficientRole,
    /// Signed in, but the account's address is not verified.
    #[error("Verify your email address first.")]
    EmailNotVerified,
    /// Signed in, but the user's role must have a second factor, and the account has none.
    #[error("This account has no second factor. Set up an authenticator app first.")]
    MfaEnrollmentRequired,
    /// The session is good, but was verified with less than is asked for, or too long ago (RFC 9470).
    #[error("This needs a stronger or a newer verification. Verify again.")]
    StepUpRequired,
    /// The session's state could not be read. No request is accepted on a guess.
    #[error("The session cannot be checked right now. Try again shortly.")]
    StoreUnavailable,
}

impl Refusal {
    /// The stable `code` of the problem document.
    pub const fn code(self) -> &'static str {
        match self {
            Self::MissingToken => "missing_token",
            Self::TokenInvalid => "token_invalid",
            Self::TokenExpired => "token_expired",
            Self::SessionExpired => "session_expired",
            Self::SessionRevoked => "session_revoked",
            Self::PasswordChanged => "password_changed",
            Self::RefreshTokenReused => "refresh_token_reused",
            Self::AccountInactive => "account_inactive",
            Self::InsufficientRole => "insufficient_role",
            Self::EmailNotVerified => "email_not_verified",
            Self::MfaEnrollmentRequired => "mfa_enrollment_required",
            Self::StepUpRequired => "step_up_required",
            Self::StoreUnavailable => "store_unavailable",
        }
    }

    /// The refusal whose [`code`](Self::code) is `code`, if there is one.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.code() == code)
    }

    /// The refusal for a session that was ended for `reason`, as the session's tombstone and the database give it. A
    /// reason that is not known here is a plain [`SessionRevoked`](Self::SessionRevoked).
    pub fn from_reason(reason: &str) -> Self {
        match reason {
            "password_changed" => Self::PasswordChanged,
            "refresh_reuse" => Self::RefreshTokenReused,
            "account_deactivated" => Self::AccountInactive,
            _ => Self::SessionRevoked,
        }
    }

    /// The short name of the problem document's `title` (RFC 9457, 3.1.3). The sentence for people is the `Display`
    /// form.
    pub const fn title(self) -> &'static str {
        match self {
            Self::MissingToken => "Access token missing",
            Self::TokenInvalid => "Token not valid",
            Self::TokenExpired => "Token expired",
            Self::SessionExpired => "Session expired",
            Self::SessionRevoked => "Session ended",
            Self::PasswordChanged => "Password changed",
            Self::RefreshTokenReused => "Refresh token used twice",
            Self::AccountInactive => "Account not active",
            Self::InsufficientRole => "Role too low",
            Self::EmailNotVerified => "Email address not verified",
            Self::MfaEnrollmentRequired => "Second factor missing",
            Self::StepUpRequired => "Stronger sign-in needed",
            Self::StoreUnavailable => "Store not available",
        }
    }

    /// Every refusal, in the order of the declaration.
    pub const ALL: [Self; 13] = [
        Self::MissingToken,
        Self::TokenInvalid,
        Self::TokenExpired,
        Self::SessionExpired,
        Self::SessionRevoked,
        Self::PasswordChanged,
        Self::RefreshTokenReused,
        Self::AccountInactive,
        Self::InsufficientRole,
        Self::EmailNotVerified,
        Self::MfaEnrollmentRequired,
        Self::StepUpRequired,
        Self::StoreUnavailable,
    ];

    /// The HTTP status. A missing token is 401 here (RFC 9110, 15.5.2); services that must answer 403 instead, as
    /// the platform's own API does, set that on their layer.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::InsufficientRole | Self::EmailNotVerified | Self::MfaEnrollmentRequired => {
                StatusCode::FORBIDDEN
            }
            Self::StoreUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::UNAUTHORIZED,
        }
    }

    /// The value of `WWW-Authenticate` (RFC 6750, 3), for the refusals that are about the token. A request without
    /// credentials gets the bare challenge, as that section asks.
    pub const fn www_authenticate(self) -> Option<&'static str> {
        match self {
            Self::MissingToken => Some(r#"Bearer realm="josoor""#),
            Self::InsufficientRole => Some(r#"Bearer realm="josoor", error="insufficient_scope""#),
            Self::StepUpRequired => {
                Some(r#"Bearer realm="josoor", error="insufficient_user_authentication""#)
            }
            Self::EmailNotVerified | Self::MfaEnrollmentRequired | Self::StoreUnavailable => None,
            _ => Some(r#"Bearer realm="josoor", error="invalid_token""#),
        }
    }
}
