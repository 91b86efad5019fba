//! What can go wrong, said once. There is no HTTP in here: `http::problem` alone knows statuses and documents.

use std::fmt;
use std::time::Duration;

pub use josoor_auth_verify::Refusal;

/// The result of everything that can fail for a reason that a caller may see.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One field of the input that cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field as the caller named it: a JSON member, a query parameter, or a configuration key.
    pub field: String,
    /// Stable, `snake_case`; what programs and translations go by.
    pub code: &'static str,
    /// One English sentence: what is wrong and what would be right. Never repeats a secret value.
    pub message: String,
}

/// Why a value is refused, before it is known which field it stood in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Stable, `snake_case`.
    pub code: &'static str,
    /// One English sentence.
    pub message: String,
}

impl Invalid {
    /// A reason with its stable code.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// The same reason, with the field it concerns.
    pub fn in_field(self, field: impl Into<String>) -> FieldError {
        FieldError {
            field: field.into(),
            code: self.code,
            message: self.message,
        }
    }
}

/// Everything that a use case can refuse or fail with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Input that parses as JSON but breaks the rules of one or more fields. Never empty.
    #[error("some fields are not acceptable")]
    Invalid(Vec<FieldError>),
    /// Fields that the endpoint does not have. Never empty.
    #[error("some fields are unknown here")]
    UnknownFields(Vec<FieldError>),
    /// The address (by its canonical key) belongs to an account.
    #[error("this email address is already registered")]
    EmailTaken,
    /// Unknown address or wrong password; which of the two is never disclosed.
    #[error("incorrect email address or password")]
    InvalidCredentials,
    /// The password was right, but the account is deactivated.
    #[error("the account is not active")]
    AccountInactive,
    /// The account is frozen after a change of its address was undone, and the request shows nothing that was good before it.
    #[error("the account can be recovered only with what was good before the change of its address")]
    RecoveryBlocked,
    /// The password was right, but sign-ins take a verified address (`registration.require_verified`).
    #[error("the email address is not verified")]
    EmailNotVerified,
    /// `registration.mode` is `closed`.
    #[error("registration is closed")]
    RegistrationClosed,
    /// A token or its session does not admit the request.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The session is good, but was signed in to with less than is asked for, or too long ago (RFC 9470).
    #[error("a stronger or newer sign-in is needed")]
    StepUpRequired {
        /// The level of authentication that is asked for.
        acr: Option<Acr>,
        /// The greatest age of the sign-in that is asked for, in seconds.
        max_age: Option<u64>,
    },
    /// A code of a second factor that is wrong, or was used.
    #[error("the code is not valid")]
    MfaCodeInvalid,
    /// A passkey that this service does not know, or not any more.
    #[error("the passkey is unknown")]
    PasskeyUnknown,
    /// A passkey that was used wrongly, or that may have been copied.
    #[error("the passkey is not valid")]
    PasskeyInvalid,
    /// A passkey that was used without verification of its user, which is one factor where two are needed.
    #[error("the passkey was used without verification of its user")]
    PasskeyUnverified,
    /// The account has as many passkeys as it may have.
    #[error("too many passkeys")]
    PasskeyLimit,
    /// A code from a mail that is wrong, too old, was used, or was replaced by a newer one.
    #[error("the code from the mail is not valid")]
    MailCodeInvalid,
    /// A sign-in or an enrolment that waited for its next step is over, or another client began it.
    #[error("the flow is over")]
    FlowExpired,
    /// An access token alone does not renew this session.
    #[error("a refresh token is required")]
    RefreshTokenRequired,
    /// The account has as many sessions as it may have, and none may be ended for a new one.
    #[error("too many sessions")]
    SessionLimit,
    /// The act would leave no active administrator.
    #[error("the last active administrator stays")]
    LastAdmin,
    /// A mail that was sent, or whose link is of no use any more, is not tried again.
    #[error("{}", .0.message())]
    MailNotRetryable(NotRetryable),
    /// The signing key is not replaced now: one sentence that says why, and the remedy.
    #[error("{0}")]
    KeyNotRotated(String),
    /// No such thing, or not the caller's.
    #[error("not found")]
    NotFound,
    /// A one-time link that was never valid.
    #[error("the link is not valid")]
    LinkInvalid,
    /// A one-time link after its end.
    #[error("the link has expired")]
    LinkExpired,
    /// A one-time link that has done its work.
    #[error("the link was already used")]
    LinkUsed,
    /// A request that sends or sets the refresh cookie from an origin that may not.
    #[error("this origin may not use cookie sessions")]
    OriginNotAllowed,
    /// Over a limit; worth another try after `retry_after`.
    #[error("too many requests")]
    RateLimited {
        /// When the next try can succeed.
        retry_after: Duration,
        /// The policy's name, its quota and its window, for the `RateLimit` headers.
        policy: RateLimitPolicy,
    },
    /// The password hasher's queue is full.
    #[error("too many sign-ins at once")]
    Overloaded {
        /// When the queue is likely to have room.
        retry_after: Duration,
    },
    /// The database cannot be reached or did not answer in time.
    #[error("the store is not available")]
    StoreUnavailable(#[source] Outage),
    /// A fault of ours. The cause goes to the log, never to the caller.
    #[error("internal error")]
    Internal(#[source] anyhow::Error),
}

/// Why a mail is not tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRetryable {
    /// The mail server has taken it.
    Sent,
    /// Its link was used, was replaced by a later one, or went with its account.
    LinkGone,
}

impl NotRetryable {
    /// One English sentence, and the remedy.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Sent => "The mail server has taken this mail already.",
            Self::LinkGone => {
                "The link of this mail was used or replaced. Have another one sent, for example with a password reset."
            }
        }
    }
}

/// Why a store cannot be used now. An outage is handled, so where in the program it was noticed says nothing: `Debug` is the
/// causes on one line, without a backtrace.
#[derive(thiserror::Error)]
pub struct Outage(anyhow::Error);

impl Outage {
    /// The causes.
    pub fn into_cause(self) -> anyhow::Error {
        self.0
    }
}

impl std::ops::Deref for Outage {
    type Target = anyhow::Error;

    fn deref(&self) -> &anyhow::Error {
        &self.0
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

/// How strongly a session was signed in to: the values of the claim `acr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Acr {
    /// One factor.
    One,
    /// Two different factors, or a passkey with verification of the user.
    Two,
}

impl Acr {
    /// As the claim, the headers and the challenge have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::One => "1",
            Self::Two => "2",
        }
    }
}

/// What the `RateLimit-Policy` header says of a limit (draft-ietf-httpapi-ratelimit-headers).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimitPolicy {
    /// The policy's name.
    pub name: &'static str,
    /// Requests per window.
    pub quota: u32,
    /// The window.
    pub window: Duration,
    /// One English sentence for who is over it.
    pub message: &'static str,
}

impl Error {
    /// One unacceptable field.
    pub fn invalid(field: impl Into<String>, reason: Invalid) -> Self {
        Self::Invalid(vec![reason.in_field(field)])
    }

    /// A store that cannot be used now.
    pub fn unavailable(cause: impl Into<anyhow::Error>) -> Self {
        Self::StoreUnavailable(Outage(cause.into()))
    }

    /// A fault of ours.
    pub fn internal(cause: impl Into<anyhow::Error>) -> Self {
        Self::Internal(cause.into())
    }
}
