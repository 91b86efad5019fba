//! A failure on its way to the client: the one place that turns an [`Error`] into a status and a code.
//!
//! A handler returns [`Error`]; turning it into a response only attaches a [`Problem`] to an empty one. The document is written
//! by [`document::finish`](super::document::finish), which knows the request's id and the public address.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::auth::pending::FactorNeeded;
use crate::domain::{FactorMethod, Secret};
use crate::error::{Acr, Error, FieldError, RateLimitPolicy, Refusal};
use crate::http::response::codes::{self, CodeEntry};
use crate::http::response::passkey::PasskeyRequestOptions;

/// The challenge of a 401 that is about no token in particular (RFC 6750, 3).
pub(super) const BARE_CHALLENGE: &str = r#"Bearer realm="josoor""#;

/// How a sign-in goes on after the right password: members of the document.
#[derive(Clone, Debug)]
pub(super) struct NextStep {
    pub(super) flow: Secret,
    pub(super) methods: Vec<&'static str>,
    pub(super) passkey: Option<PasskeyRequestOptions>,
    pub(super) expires_in: u64,
}

/// A failure on its way to the client.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Which failure.
    pub code: &'static CodeEntry,
    /// Usually the code's own status. `account_inactive` is 403 at a sign-in and 401 for a token; the status of
    /// `missing_token` is a setting, which [`finish`](super::document::finish) applies.
    pub status: StatusCode,
    /// One English sentence for a person; the platform's front end shows it.
    pub detail: Box<str>,
    /// The fields that are wrong (422 only).
    pub errors: Vec<FieldError>,
    /// Sent as `Retry-After`, in whole seconds, rounded up.
    pub retry_after: Option<Duration>,
    /// Sent as `WWW-Authenticate`.
    pub challenge: Option<Cow<'static, str>>,
    /// The limit that was hit, for the `RateLimit` headers.
    pub policy: Option<Box<RateLimitPolicy>>,
    /// How a sign-in goes on.
    pub(super) next_step: Option<Box<NextStep>>,
    /// Whether no setting may change the status.
    pub(super) is_fixed: bool,
    /// For the log, not for the client.
    pub(super) cause: Option<Arc<anyhow::Error>>,
}

impl Problem {
    /// A failure with its usual status.
    pub fn new(code: &'static CodeEntry, detail: impl Into<String>) -> Self {
        Self {
            code,
            status: code.status,
            detail: detail.into().into_boxed_str(),
            errors: Vec::new(),
            retry_after: None,
            challenge: (code.status == StatusCode::UNAUTHORIZED).then_some(Cow::Borrowed(BARE_CHALLENGE)),
            policy: None,
            next_step: None,
            is_fixed: false,
            cause: None,
        }
    }

    /// The right password of an account with a second factor.
    pub fn mfa_required(needed: &FactorNeeded) -> Self {
        Self {
            next_step: Some(Box::new(NextStep {
                flow: needed.flow.clone(),
                methods: needed.methods.iter().map(|method| method.as_str()).collect(),
                passkey: needed.passkey.as_ref().map(PasskeyRequestOptions::from),
                expires_in: needed.expires_in.as_secs(),
            })),
            ..Self::new(
                &codes::MFA_REQUIRED,
                if needed.methods == [FactorMethod::MailCode] {
                    "After many failed sign-ins this account needs a code to sign in, which was sent to its address."
                } else {
                    "This account needs a second step to sign in: a passkey, or a code."
                },
            )
        }
    }

    /// The same failure with this status, whatever the settings say: gateways want 401 of `/auth/check`, also for a
    /// missing token.
    #[must_use]
    pub fn always(self, status: StatusCode) -> Self {
        Self {
            status,
            is_fixed: true,
            ..self
        }
    }

    /// A failure with the code's own English meaning as its detail.
    pub(super) fn plain(code: &'static CodeEntry) -> Self {
        Self::new(code, code.meaning)
    }

    fn with_errors(code: &'static CodeEntry, detail: &str, errors: Vec<FieldError>) -> Self {
        Self {
            errors,
            ..Self::new(code, detail)
        }
    }

    /// What a bare status means when nothing said more: an answer of axum itself.
    pub(super) fn from_status(status: StatusCode) -> Self {
        let code = match status {
            StatusCode::NOT_FOUND => &codes::NOT_FOUND,
            StatusCode::METHOD_NOT_ALLOWED => &codes::METHOD_NOT_ALLOWED,
            StatusCode::REQUEST_TIMEOUT => &codes::REQUEST_TIMEOUT,
            StatusCode::PAYLOAD_TOO_LARGE => &codes::BODY_TOO_LARGE,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => &codes::UNSUPPORTED_MEDIA_TYPE,
            StatusCode::UNPROCESSABLE_ENTITY => &codes::VALIDATION_FAILED,
            StatusCode::UNAUTHORIZED => &codes::TOKEN_INVALID,
            StatusCode::TOO_MANY_REQUESTS => &codes::RATE_LIMITED,
            StatusCode::SERVICE_UNAVAILABLE => &codes::OVERLOADED,
            other if other.is_server_error() => &codes::INTERNAL,
            _ => &codes::BAD_REQUEST,
        };
        // A status that has no entry of its own keeps its number: RFC 9457 wants `status` to be the response's.
        let status = if status.is_server_error() {
            code.status
        } else {
            status
        };
        Self {
            status,
            ..Self::plain(code)
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::MissingToken => &codes::MISSING_TOKEN,
            Refusal::TokenInvalid => &codes::TOKEN_INVALID,
            Refusal::TokenExpired => &codes::TOKEN_EXPIRED,
            Refusal::SessionExpired => &codes::SESSION_EXPIRED,
            Refusal::SessionRevoked => &codes::SESSION_REVOKED,
            Refusal::PasswordChanged => &codes::PASSWORD_CHANGED,
            Refusal::RefreshTokenReused => &codes::REFRESH_TOKEN_REUSED,
            Refusal::AccountInactive => &codes::ACCOUNT_INACTIVE,
            Refusal::InsufficientRole => &codes::INSUFFICIENT_ROLE,
            Refusal::EmailNotVerified => &codes::EMAIL_NOT_VERIFIED,
            Refusal::MfaEnrollmentRequired => &codes::MFA_ENROLLMENT_REQUIRED,
            Refusal::StepUpRequired => &codes::STEP_UP_REQUIRED,
            Refusal::StoreUnavailable => &codes::STORE_UNAVAILABLE,
        };
        Self {
            status: refusal.status(),
            challenge: refusal.www_authenticate().map(Cow::Borrowed),
            ..Self::new(code, refusal.to_string())
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(errors) => {
                // The front end shows `detail` alone, so a single complaint is worth more there than a summary.
                let detail = match errors.as_slice() {
                    [only] if only.field.is_empty() => only.message.clone(),
                    [only] => format!("{}: {}", only.field, only.message),
                    _ => "Some fields are not acceptable; `errors` says which and why.".to_owned(),
                };
                Self::with_errors(&codes::VALIDATION_FAILED, &detail, errors)
            }
            Error::UnknownFields(errors) => Self::with_errors(
                &codes::UNKNOWN_FIELD,
                "The request names fields that do not exist here; `errors` lists them.",
                errors,
            ),
            Error::EmailTaken => Self::new(&codes::EMAIL_TAKEN, "This email address is already registered."),
            Error::InvalidCredentials => Self::new(
                &codes::INVALID_CREDENTIALS,
                "Incorrect email address or password.",
            ),
            Error::AccountInactive => Self::new(&codes::ACCOUNT_INACTIVE, "The account is not active."),
            Error::RecoveryBlocked => Self::new(
                &codes::RECOVERY_BLOCKED,
                "The link alone is not enough: also give a password from before the address was changed, or use a device that you signed in on before. Otherwise ask an administrator.",
            ),
            Error::EmailNotVerified => Self::new(
                &codes::EMAIL_NOT_VERIFIED,
                "Verify your email address first: follow the link in the mail, or ask for another one.",
            ),
            Error::RegistrationClosed => Self::new(
                &codes::REGISTRATION_CLOSED,
                "Registration is closed. Ask for an invitation.",
            ),
            Error::Refused(refusal) => refusal.into(),
            Error::StepUpRequired { acr, max_age } => Self {
                challenge: Some(Cow::Owned(step_up_challenge(acr, max_age))),
                ..Self::new(
                    &codes::STEP_UP_REQUIRED,
                    "This needs a stronger or a newer sign-in. Sign in again.",
                )
            },
            Error::MfaCodeInvalid => Self::new(
                &codes::MFA_CODE_INVALID,
                "This code is not valid. Each code works once: wait for the app to show another one.",
            ),
            Error::PasskeyUnknown => Self::new(
                &codes::PASSKEY_UNKNOWN,
                "This passkey is not known here. Sign in another way.",
            ),
            Error::PasskeyInvalid => Self::new(
                &codes::PASSKEY_INVALID,
                "This passkey was not accepted. Try again, or sign in another way.",
            ),
            Error::PasskeyUnverified => Self::new(
                &codes::PASSKEY_UNVERIFIED,
                "This passkey was used without its fingerprint, face or PIN. Sign in with the password, and use it as the second step.",
            ),
            Error::PasskeyLimit => Self::new(
                &codes::PASSKEY_LIMIT,
                "This account has as many passkeys as it may have. Remove one first.",
            ),
            Error::MailCodeInvalid => Self::new(
                &codes::MAIL_CODE_INVALID,
                "This code is not valid. Only the code of the newest mail works, once and for ten minutes.",
            ),
            Error::FlowExpired => Self::new(
                &codes::FLOW_EXPIRED,
                "This took too long, was tried too often, or was begun elsewhere. Begin again.",
            ),
            Error::RefreshTokenRequired => Self::new(
                &codes::REFRESH_TOKEN_REQUIRED,
                "This session is renewed with its refresh token only. Send it, or sign in again.",
            ),
            Error::SessionLimit => Self::new(
                &codes::SESSION_LIMIT,
                "This account is signed in too often. Sign out somewhere, then try again.",
            ),
            Error::LastAdmin => Self::new(
                &codes::LAST_ADMIN,
                "This is the last active administrator. Appoint another one first.",
            ),
            Error::KeyNotRotated(reason) => Self::new(&codes::KEY_NOT_ROTATED, reason),
            Error::MailNotRetryable(reason) => Self::new(&codes::MAIL_NOT_RETRYABLE, reason.message()),
            Error::NotFound => Self::new(&codes::NOT_FOUND, "There is no such thing here."),
            Error::LinkInvalid => {
                Self::new(&codes::LINK_INVALID, "This link is not valid. Ask for a new one.")
            }
            Error::LinkExpired => {
                Self::new(&codes::LINK_EXPIRED, "This link has expired. Ask for a new one.")
            }
            Error::LinkUsed => Self::new(&codes::LINK_USED, "This link was already used."),
            Error::OriginNotAllowed => Self::new(
                &codes::ORIGIN_NOT_ALLOWED,
                "Cookie sessions cannot be used from this origin: it is neither that of PUBLIC_URL nor, of the same site, in \
                 CORS_ORIGINS.",
            ),
            Error::RateLimited { retry_after, policy } => Self {
                retry_after: Some(retry_after),
                policy: Some(Box::new(policy)),
                ..Self::new(&codes::RATE_LIMITED, policy.message)
            },
            Error::Overloaded { retry_after } => Self {
                retry_after: Some(retry_after),
                ..Self::new(
                    &codes::OVERLOADED,
                    "The service is busy right now. Try again shortly.",
                )
            },
            Error::StoreUnavailable(cause) => Self {
                cause: Some(Arc::new(cause.into_cause())),
                ..Self::new(
                    &codes::STORE_UNAVAILABLE,
                    "The database is not available right now. Try again shortly.",
                )
            },
            Error::Internal(cause) => Self {
                cause: Some(Arc::new(cause)),
                ..Self::new(
                    &codes::INTERNAL,
                    "Something went wrong in the service. Please give the request_id when reporting it.",
                )
            },
        }
    }
}

/// The challenge of `step_up_required` (RFC 9470, 3).
fn step_up_challenge(acr: Option<Acr>, max_age: Option<u64>) -> String {
    let mut challenge = format!("{BARE_CHALLENGE}, error=\"insufficient_user_authentication\"");
    if let Some(acr) = acr {
        challenge.push_str(&format!(", acr_values=\"{}\"", acr.as_str()));
    }
    if let Some(max_age) = max_age {
        challenge.push_str(&format!(", max_age=\"{max_age}\""));
    }
    challenge
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}
