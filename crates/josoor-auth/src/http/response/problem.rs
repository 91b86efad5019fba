//! The one place that knows statuses and problem documents (RFC 9457).
//!
//! A handler returns [`Error`]; turning it into a response only attaches a [`Problem`] to an empty one. The
//! function [`finish`], which knows the request's id and the public address, writes the document. It also turns
//! what axum itself answers (404, 405, 413, …) and a caught panic into documents, so that a client never meets
//! another shape of failure.

use std::borrow::Cow;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::error::{Acr, Error, FieldError, RateLimitPolicy, Refusal};
use crate::http::request::passage::Passage;

/// The media type of a problem document.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The challenge of a 401 that is about no token in particular (RFC 6750, 3).
const BARE_CHALLENGE: &str = r#"Bearer realm="josoor""#;

/// One kind of failure: what programs go by, and what its hosted page says.
#[derive(Debug)]
pub struct CodeEntry {
    /// Stable, `snake_case`.
    pub code: &'static str,
    /// The usual status; see [`Problem::status`] for the two codes that have another one at times.
    pub status: StatusCode,
    /// A short English name.
    pub title: &'static str,
    /// What happened and what to do about it, in English.
    pub meaning: &'static str,
    /// The name in Arabic.
    pub title_ar: &'static str,
    /// What happened and what to do about it, in Arabic.
    pub meaning_ar: &'static str,
}

impl CodeEntry {
    /// The entry of a code.
    pub fn find(code: &str) -> Option<&'static Self> {
        CODES.iter().copied().find(|entry| entry.code == code)
    }
}

macro_rules! codes {
    ($($name:ident $code:literal $status:ident
        $title:literal $meaning:literal
        $title_ar:literal $meaning_ar:literal;)*) => {
        $(
            #[doc = concat!("The entry of `", $code, "`.")]
            pub static $name: CodeEntry = CodeEntry {
                code: $code,
                status: StatusCode::$status,
                title: $title,
                meaning: $meaning,
                title_ar: $title_ar,
                meaning_ar: $meaning_ar,
            };
        )*
        /// Every code that the service answers with, in the order of their statuses.
        pub static CODES: &[&CodeEntry] = &[$(&$name),*];
    };
}

codes! {
    BAD_REQUEST "bad_request" BAD_REQUEST
        "Bad request"
        "The request could not be understood: its path, its query string, its headers or its body broke off or cannot be decoded. Check how the address is put together; its parts must be percent-encoded UTF-8."
        "طلب غير صالح"
        "تعذّر فهم الطلب: المسار أو معاملات الاستعلام أو الترويسات غير مكتملة أو لا يمكن فك ترميزها. تحقّق من صياغة العنوان؛ يجب أن تكون أجزاؤه بترميز UTF-8.";
    MALFORMED_JSON "malformed_json" BAD_REQUEST
        "Malformed JSON"
        "The request body is not a well-formed JSON text in UTF-8, or it names a member twice. Send JSON as RFC 8259 describes it, without a byte order mark."
        "صيغة JSON غير سليمة"
        "محتوى الطلب ليس نص JSON سليمًا بترميز UTF-8، أو أن أحد الحقول مكرر فيه. أرسل JSON صحيحًا دون علامة ترتيب البايتات.";
    EMAIL_TAKEN "email_taken" BAD_REQUEST
        "E-mail address already registered"
        "There is already an account with this e-mail address; upper and lower case make no difference. Sign in instead, or ask for a password reset."
        "البريد الإلكتروني مسجَّل مسبقًا"
        "يوجد حساب بهذا البريد الإلكتروني، ولا فرق بين الأحرف الكبيرة والصغيرة. سجّل الدخول أو اطلب إعادة تعيين كلمة المرور.";
    LINK_INVALID "link_invalid" BAD_REQUEST
        "Link not valid"
        "This one-time link was never valid, or was cut. Use the link of the newest message, whole, or ask for another."
        "الرابط غير صالح"
        "هذا الرابط غير صالح أو ناقص. استخدم الرابط الموجود في أحدث رسالة كاملًا أو اطلب رابطًا جديدًا.";
    LINK_EXPIRED "link_expired" BAD_REQUEST
        "Link expired"
        "This one-time link is too old, or a newer one has replaced it. Use the newest one, or ask for another."
        "انتهت صلاحية الرابط"
        "انتهت مدة صلاحية هذا الرابط أو حلّ محله رابط أحدث. استخدم أحدث رابط أو اطلب رابطًا جديدًا.";
    LINK_USED "link_used" BAD_REQUEST
        "Link already used"
        "This one-time link has already done its work. If that was not you, ask for another one at once."
        "استُخدم الرابط من قبل"
        "استُخدم هذا الرابط من قبل. إن لم تكن أنت من استخدمه فاطلب رابطًا جديدًا فورًا.";
    INVALID_CREDENTIALS "invalid_credentials" UNAUTHORIZED
        "Wrong credentials"
        "The e-mail address or the password is wrong; for the safety of accounts it is not told which. Try again, or ask for a password reset."
        "بيانات الدخول غير صحيحة"
        "البريد الإلكتروني أو كلمة المرور غير صحيحة، ولا يُذكر أيهما حمايةً للحسابات. حاول مجددًا أو اطلب إعادة تعيين كلمة المرور.";
    TOKEN_INVALID "token_invalid" UNAUTHORIZED
        "Token not valid"
        "The token is not one of this service: it was cut, changed, signed by somebody else, or is of another kind. Sign in again to get a new one."
        "الرمز غير صالح"
        "الرمز المرسل ليس صادرًا عن هذه الخدمة أو تم تغييره أو قطعه أو هو من نوع آخر. سجّل الدخول من جديد.";
    TOKEN_EXPIRED "token_expired" UNAUTHORIZED
        "Token expired"
        "The token's time has passed. After an access token, get a new one with the refresh token; the session may still be alive. After a refresh token, sign in again."
        "انتهت صلاحية الرمز"
        "انتهت مدة الرمز. إن كان رمز وصول فاحصل على رمز جديد باستخدام رمز التجديد، فقد تكون الجلسة ما زالت قائمة. وإن كان رمز تجديد فسجّل الدخول من جديد.";
    SESSION_EXPIRED "session_expired" UNAUTHORIZED
        "Session expired"
        "The session was not used for too long, or has reached its longest age. Sign in again."
        "انتهت الجلسة"
        "لم تُستخدم الجلسة مدة طويلة أو بلغت أقصى عمر لها. سجّل الدخول من جديد.";
    SESSION_REVOKED "session_revoked" UNAUTHORIZED
        "Session ended"
        "The session was ended: by signing out, from another device, or by an administrator. Sign in again."
        "أُنهيت الجلسة"
        "أُنهيت الجلسة بتسجيل الخروج أو من جهاز آخر أو من قِبل مدير النظام. سجّل الدخول من جديد.";
    PASSWORD_CHANGED "password_changed" UNAUTHORIZED
        "Password changed"
        "The account's password was changed, which ended this session. Sign in with the new password; if you did not change it, tell an administrator at once."
        "تغيّرت كلمة المرور"
        "تغيّرت كلمة مرور الحساب فانتهت هذه الجلسة. سجّل الدخول بكلمة المرور الجديدة، وإن لم تغيّرها أنت فأبلغ مدير النظام فورًا.";
    REFRESH_TOKEN_REUSED "refresh_token_reused" UNAUTHORIZED
        "Refresh token used twice"
        "An old refresh token of this session was presented again, which is what a thief would do, so the session was ended. Sign in again; if this happens often, the client keeps old tokens."
        "استُخدم رمز التجديد مرتين"
        "قُدِّم رمز تجديد قديم لهذه الجلسة مرة أخرى، وهو ما قد يفعله سارق الرمز، لذلك أُنهيت الجلسة. سجّل الدخول من جديد.";
    STEP_UP_REQUIRED "step_up_required" UNAUTHORIZED
        "Stronger sign-in needed"
        "The session is good, but this needs a second factor or a sign-in that is not so long ago. Sign in again as the WWW-Authenticate header says (acr_values, max_age), then try again."
        "يلزم تأكيد الهوية من جديد"
        "جلستك سارية، لكن هذا الإجراء يتطلب عامل تحقق ثانيًا أو تسجيل دخول أحدث. سجّل الدخول من جديد وفق ما تذكره ترويسة WWW-Authenticate ثم أعد المحاولة.";
    REFRESH_TOKEN_REQUIRED "refresh_token_required" UNAUTHORIZED
        "Refresh token required"
        "This session is not renewed by its access token alone: its refresh token was used before or lies in a cookie, a newer token has been issued, or the time for such renewals is over. Send the refresh token; without one, sign in again."
        "رمز التجديد مطلوب"
        "لا تُجدَّد هذه الجلسة برمز الوصول وحده: إما أن رمز التجديد استُخدم من قبل أو محفوظ في ملف تعريف ارتباط، أو صدر رمز أحدث، أو انتهت مدة هذا النوع من التجديد. أرسل رمز التجديد، وإن لم يكن لديك فسجّل الدخول من جديد.";
    MISSING_TOKEN "missing_token" FORBIDDEN
        "Access token missing"
        "This needs an access token and the request carries none. Sign in and send the token as `Authorization: Bearer …`."
        "رمز الوصول مفقود"
        "يتطلب هذا المورد رمز وصول ولم يحمل الطلب أي رمز. سجّل الدخول وأرسل الرمز في ترويسة Authorization.";
    ACCOUNT_INACTIVE "account_inactive" FORBIDDEN
        "Account not active"
        "The account has been deactivated. Only an administrator can activate it again."
        "الحساب غير نشط"
        "تم تعطيل هذا الحساب. لا يمكن إعادة تفعيله إلا من قِبل مدير النظام.";
    RECOVERY_BLOCKED "recovery_blocked" FORBIDDEN
        "Recovery needs more than the link"
        "The address of this account was changed and the change was taken back, so a mailbox alone does not recover the account. Besides the link, send a password that was good before the change as `previous_password`, or use a device on which you signed in before it. With neither, ask an administrator to release the account."
        "استعادة الحساب تتطلب أكثر من الرابط"
        "تغيّر البريد الإلكتروني لهذا الحساب ثم أُلغي التغيير، لذلك لا يكفي الوصول إلى صندوق البريد لاستعادته. أدخل مع الرابط كلمة مرور كانت صالحة قبل التغيير، أو استخدم جهازًا سجّلت الدخول منه قبل ذلك. وإن تعذّر الأمران فاطلب من مدير النظام تحرير الحساب.";
    INSUFFICIENT_ROLE "insufficient_role" FORBIDDEN
        "Role too low"
        "You are signed in, but your role does not allow this. Ask an administrator if you need it."
        "الصلاحية غير كافية"
        "أنت مسجّل الدخول لكن دورك لا يسمح بهذا الإجراء. تواصل مع مدير النظام إن كنت تحتاج إليه.";
    EMAIL_NOT_VERIFIED "email_not_verified" FORBIDDEN
        "E-mail address not verified"
        "This needs an account whose e-mail address is verified. Open the link in the mail that was sent after the registration, or ask for another one."
        "البريد الإلكتروني غير مؤكَّد"
        "يتطلب هذا حسابًا مؤكَّد البريد الإلكتروني. افتح الرابط الوارد في رسالة التسجيل أو اطلب إرسال رابط جديد.";
    REGISTRATION_CLOSED "registration_closed" FORBIDDEN
        "Registration closed"
        "New accounts are made by administrators only. Ask one for an invitation."
        "التسجيل مغلق"
        "لا تُنشأ الحسابات الجديدة إلا من قِبل مدير النظام. اطلب منه دعوة.";
    ORIGIN_NOT_ALLOWED "origin_not_allowed" FORBIDDEN
        "Origin not allowed"
        "A request that uses the session cookie has to come from a page of this service or of an allowed origin, and has to say so in its Origin header. Programs that are no browsers use tokens in the body."
        "المصدر غير مسموح به"
        "يجب أن يأتي الطلب الذي يستخدم ملف تعريف ارتباط الجلسة من صفحة تابعة لهذه الخدمة أو من مصدر مسموح به مع ترويسة Origin.";
    NOT_FOUND "not_found" NOT_FOUND
        "Not found"
        "There is nothing at this address, or it is not yours to see. Check the path and the id."
        "غير موجود"
        "لا يوجد شيء في هذا العنوان أو ليس من حقك الاطلاع عليه. تحقّق من المسار والمعرّف.";
    METHOD_NOT_ALLOWED "method_not_allowed" METHOD_NOT_ALLOWED
        "Method not allowed"
        "The address exists, but not for this method. The Allow header of the answer lists the methods that it takes."
        "طريقة الطلب غير مسموح بها"
        "العنوان موجود لكنه لا يقبل طريقة الطلب هذه. تبيّن ترويسة Allow في الرد الطرق المقبولة.";
    REQUEST_TIMEOUT "request_timeout" REQUEST_TIMEOUT
        "Request too slow"
        "The request's body did not arrive in time. Try again over a better connection."
        "انتهت مهلة الطلب"
        "لم يصل محتوى الطلب في الوقت المحدد. حاول مجددًا عبر اتصال أفضل.";
    LAST_ADMIN "last_admin" CONFLICT
        "Last administrator"
        "The act would leave nobody who can administer the service. Give the role to another active account first."
        "آخر مدير للنظام"
        "سيؤدي هذا الإجراء إلى بقاء الخدمة دون مدير نشط. امنح الدور لحساب نشط آخر أولًا.";
    SESSION_LIMIT "session_limit" CONFLICT
        "Too many sessions"
        "The account has as many sessions as it may have, all of them in use on known devices within the last hour, so no new one was opened. Sign out somewhere, or end sessions on the account's page, then try again."
        "عدد الجلسات بلغ الحد الأقصى"
        "لدى الحساب أكبر عدد مسموح به من الجلسات، وكلها استُخدمت خلال الساعة الماضية على أجهزة معروفة، لذلك لم تُفتح جلسة جديدة. سجّل الخروج من أحد الأجهزة أو أنهِ بعض الجلسات من صفحة الحساب ثم حاول مجددًا.";
    BODY_TOO_LARGE "body_too_large" PAYLOAD_TOO_LARGE
        "Body too large"
        "The request body is longer than this service takes. Send less."
        "محتوى الطلب كبير جدًا"
        "محتوى الطلب أطول مما تقبله الخدمة. أرسل محتوى أقصر.";
    UNSUPPORTED_MEDIA_TYPE "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE
        "Not JSON"
        "The body has to be sent as `Content-Type: application/json`, in UTF-8 and without a content encoding."
        "نوع المحتوى غير مدعوم"
        "يجب إرسال المحتوى بنوع application/json وبترميز UTF-8 دون ضغط.";
    UNKNOWN_FIELD "unknown_field" UNPROCESSABLE_ENTITY
        "Unknown field"
        "The request names a field or parameter that this endpoint does not have; `errors` lists them. Nothing is ignored silently: correct the name or leave it out."
        "حقل غير معروف"
        "يحتوي الطلب على حقل أو معامل لا تعرفه هذه النقطة؛ وهي مدرجة في errors. صحّح الاسم أو احذفه.";
    VALIDATION_FAILED "validation_failed" UNPROCESSABLE_ENTITY
        "Some fields are not acceptable"
        "One or more fields are missing or break a rule; `errors` says which and why. Nothing was changed. Correct them and send the request again."
        "بعض الحقول غير مقبولة"
        "حقل أو أكثر مفقود أو مخالف للقواعد، وتبيّن errors أيها ولماذا. لم يتغير أي شيء؛ صحّحها وأعد الإرسال.";
    RATE_LIMITED "rate_limited" TOO_MANY_REQUESTS
        "Too many requests"
        "Too many tries in a short time. Wait as long as the Retry-After header says, then try again."
        "طلبات كثيرة جدًا"
        "محاولات كثيرة في وقت قصير. انتظر المدة المذكورة في ترويسة Retry-After ثم حاول مجددًا.";
    INTERNAL "internal" INTERNAL_SERVER_ERROR
        "Internal error"
        "Something went wrong in the service, not in the request. The operator finds the cause in the log by the request_id."
        "خطأ داخلي"
        "حدث خطأ في الخدمة وليس في الطلب. يجد المشغّل السبب في السجل باستخدام request_id.";
    OVERLOADED "overloaded" SERVICE_UNAVAILABLE
        "Too busy"
        "The service has more to do than it can do in time and turned this request away unharmed. Try again after the time in the Retry-After header."
        "الخدمة مشغولة"
        "لدى الخدمة طلبات أكثر مما تستطيع معالجته في الوقت المناسب. حاول مجددًا بعد المدة المذكورة في ترويسة Retry-After.";
    STORE_UNAVAILABLE "store_unavailable" SERVICE_UNAVAILABLE
        "Store not available"
        "The service cannot reach its database at the moment. Try again shortly; the operator sees the cause in the log and at /readyz."
        "قاعدة البيانات غير متاحة"
        "لا تستطيع الخدمة الوصول إلى قاعدة بياناتها حاليًا. حاول مجددًا بعد قليل.";
}

/// A failure on its way to the client.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Which failure.
    pub code: &'static CodeEntry,
    /// Usually the code's own status. `account_inactive` is 403 at a sign-in and 401 for a token; the status of
    /// `missing_token` is a setting, which [`finish`] applies.
    pub status: StatusCode,
    /// One English sentence for a person; the platform's front end shows it.
    pub detail: String,
    /// The fields that are wrong (422 only).
    pub errors: Vec<FieldError>,
    /// Sent as `Retry-After`, in whole seconds, rounded up.
    pub retry_after: Option<Duration>,
    /// Sent as `WWW-Authenticate`.
    pub challenge: Option<Cow<'static, str>>,
    /// The limit that was hit, for the `RateLimit` headers.
    pub policy: Option<Box<RateLimitPolicy>>,
    /// Whether no setting may change the status.
    is_fixed: bool,
    /// What the log is told and the client is not.
    cause: Option<Arc<anyhow::Error>>,
}

impl Problem {
    /// A failure with its usual status.
    pub fn new(code: &'static CodeEntry, detail: impl Into<String>) -> Self {
        Self {
            code,
            status: code.status,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
            challenge: (code.status == StatusCode::UNAUTHORIZED).then_some(Cow::Borrowed(BARE_CHALLENGE)),
            policy: None,
            is_fixed: false,
            cause: None,
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

    /// A failure that is told by the code's own English meaning.
    fn plain(code: &'static CodeEntry) -> Self {
        Self::new(code, code.meaning)
    }

    fn with_errors(code: &'static CodeEntry, detail: &str, errors: Vec<FieldError>) -> Self {
        Self {
            errors,
            ..Self::new(code, detail)
        }
    }

    /// What a bare status means when nothing said more: an answer of axum itself.
    fn from_status(status: StatusCode) -> Self {
        let code = match status {
            StatusCode::NOT_FOUND => &NOT_FOUND,
            StatusCode::METHOD_NOT_ALLOWED => &METHOD_NOT_ALLOWED,
            StatusCode::REQUEST_TIMEOUT => &REQUEST_TIMEOUT,
            StatusCode::PAYLOAD_TOO_LARGE => &BODY_TOO_LARGE,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => &UNSUPPORTED_MEDIA_TYPE,
            StatusCode::UNPROCESSABLE_ENTITY => &VALIDATION_FAILED,
            StatusCode::UNAUTHORIZED => &TOKEN_INVALID,
            StatusCode::TOO_MANY_REQUESTS => &RATE_LIMITED,
            StatusCode::SERVICE_UNAVAILABLE => &OVERLOADED,
            other if other.is_server_error() => &INTERNAL,
            _ => &BAD_REQUEST,
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
            Refusal::MissingToken => &MISSING_TOKEN,
            Refusal::TokenInvalid => &TOKEN_INVALID,
            Refusal::TokenExpired => &TOKEN_EXPIRED,
            Refusal::SessionExpired => &SESSION_EXPIRED,
            Refusal::SessionRevoked => &SESSION_REVOKED,
            Refusal::PasswordChanged => &PASSWORD_CHANGED,
            Refusal::RefreshTokenReused => &REFRESH_TOKEN_REUSED,
            Refusal::AccountInactive => &ACCOUNT_INACTIVE,
            Refusal::InsufficientRole => &INSUFFICIENT_ROLE,
            Refusal::EmailNotVerified => &EMAIL_NOT_VERIFIED,
            Refusal::StoreUnavailable => &STORE_UNAVAILABLE,
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
                Self::with_errors(&VALIDATION_FAILED, &detail, errors)
            }
            Error::UnknownFields(errors) => Self::with_errors(
                &UNKNOWN_FIELD,
                "The request names fields that do not exist here; `errors` lists them.",
                errors,
            ),
            Error::EmailTaken => Self::new(&EMAIL_TAKEN, "This e-mail address is already registered."),
            Error::InvalidCredentials => {
                Self::new(&INVALID_CREDENTIALS, "Incorrect e-mail address or password.")
            }
            Error::AccountInactive => Self::new(&ACCOUNT_INACTIVE, "The account is not active."),
            Error::RecoveryBlocked => Self::new(
                &RECOVERY_BLOCKED,
                "The link alone is not enough: also give a password from before the address was changed, or use a device that you signed in on before. Otherwise ask an administrator.",
            ),
            Error::EmailNotVerified => Self::new(
                &EMAIL_NOT_VERIFIED,
                "Verify your e-mail address first: follow the link in the mail, or ask for another one.",
            ),
            Error::RegistrationClosed => Self::new(
                &REGISTRATION_CLOSED,
                "Registration is closed. Ask for an invitation.",
            ),
            Error::Refused(refusal) => refusal.into(),
            Error::StepUpRequired { acr, max_age } => Self {
                challenge: Some(Cow::Owned(step_up_challenge(acr, max_age))),
                ..Self::new(
                    &STEP_UP_REQUIRED,
                    "This needs a stronger or a newer sign-in. Sign in again.",
                )
            },
            Error::RefreshTokenRequired => Self::new(
                &REFRESH_TOKEN_REQUIRED,
                "This session is renewed with its refresh token only. Send it, or sign in again.",
            ),
            Error::SessionLimit => Self::new(
                &SESSION_LIMIT,
                "This account is signed in too often. Sign out somewhere, then try again.",
            ),
            Error::LastAdmin => Self::new(
                &LAST_ADMIN,
                "This is the last active administrator. Appoint another one first.",
            ),
            Error::NotFound => Self::new(&NOT_FOUND, "There is no such thing here."),
            Error::LinkInvalid => Self::new(&LINK_INVALID, "This link is not valid. Ask for a new one."),
            Error::LinkExpired => Self::new(&LINK_EXPIRED, "This link has expired. Ask for a new one."),
            Error::LinkUsed => Self::new(&LINK_USED, "This link was already used."),
            Error::OriginNotAllowed => Self::new(
                &ORIGIN_NOT_ALLOWED,
                "Cookie sessions cannot be used from this origin.",
            ),
            Error::RateLimited { retry_after, policy } => Self {
                retry_after: Some(retry_after),
                policy: Some(Box::new(policy)),
                ..Self::new(&RATE_LIMITED, policy.message)
            },
            Error::Overloaded { retry_after } => Self {
                retry_after: Some(retry_after),
                ..Self::new(&OVERLOADED, "The service is busy right now. Try again shortly.")
            },
            Error::StoreUnavailable(cause) => Self {
                cause: Some(Arc::new(cause)),
                ..Self::new(
                    &STORE_UNAVAILABLE,
                    "The database is not available right now. Try again shortly.",
                )
            },
            Error::Internal(cause) => Self {
                cause: Some(Arc::new(cause)),
                ..Self::new(
                    &INTERNAL,
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

/// The document as it is sent (RFC 9457, 3).
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument {
    /// Address of the page that explains the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// Short name of the failure.
    pub title: String,
    /// The response's status.
    pub status: u16,
    /// One sentence for a person.
    pub detail: String,
    /// Stable; what programs go by.
    pub code: String,
    /// What is wrong with which field; 422 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
    /// Also in the header `X-Request-Id`; leads to the request in the service's log.
    pub request_id: String,
}

/// One field that cannot be accepted.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FieldProblem {
    /// The field as the request names it; empty for the body as a whole.
    pub field: String,
    /// Stable, `snake_case`.
    pub code: String,
    /// One English sentence.
    pub message: String,
}

/// Writes the problem that an answer carries, or that it is: what axum itself answers (404, 405, 413, …) and a panic.
/// `answer` is an error when the handler panicked.
pub fn finish(answer: thread::Result<Response>, passage: &Passage, is_head: bool) -> Response {
    let Ok(mut response) = answer else {
        tracing::error!("a handler panicked; the panic's own line precedes this one");
        return write(Problem::plain(&INTERNAL), Response::default(), passage, is_head);
    };
    let problem = response.extensions_mut().remove::<Problem>();
    if let Some(mut problem) = problem {
        if problem.code.code == MISSING_TOKEN.code && !problem.is_fixed {
            problem.status = passage.settings.missing_token_status;
        }
        log(&problem);
        return write(problem, response, passage, is_head);
    }
    let status = response.status();
    if (status.is_client_error() || status.is_server_error()) && says_nothing(&response) {
        return write(Problem::from_status(status), response, passage, is_head);
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .entry(header::RETRY_AFTER)
            .or_insert(HeaderValue::from_static("1"));
    }
    response
}

/// Whether a failure has no body of a form that somebody chose: axum's own are empty or plain text.
fn says_nothing(response: &Response) -> bool {
    response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"))
}

/// The one place where faults of ours are logged; the request's span adds its id.
fn log(problem: &Problem) {
    let Some(cause) = &problem.cause else {
        return;
    };
    // `{:#}` prints the whole chain of causes on one line.
    if problem.status == StatusCode::SERVICE_UNAVAILABLE {
        tracing::warn!(code = problem.code.code, cause = %format!("{cause:#}"), "a store did not answer");
    } else {
        tracing::error!(code = problem.code.code, cause = %format!("{cause:#}"), "a request failed");
    }
}

/// Puts the document and its headers into `response`, which keeps the headers that it has (`Allow`, cookies).
fn write(problem: Problem, mut response: Response, passage: &Passage, is_head: bool) -> Response {
    let status = problem.status;
    let document = ProblemDocument {
        kind: format!("{}/errors/{}", passage.settings.public_url, problem.code.code),
        title: problem.code.title.to_owned(),
        status: status.as_u16(),
        detail: problem.detail,
        code: problem.code.code.to_owned(),
        errors: problem
            .errors
            .into_iter()
            .map(|error| FieldProblem {
                field: error.field,
                code: error.code.to_owned(),
                message: error.message,
            })
            .collect(),
        request_id: passage.id.as_str().to_owned(),
    };
    // Serialising strings and one number into memory cannot fail; an empty body would still be a correct answer.
    let body = serde_json::to_vec(&document).unwrap_or_default();
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    if let Some(Ok(challenge)) = problem.challenge.as_deref().map(HeaderValue::from_str) {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    let retry_after = problem.retry_after.map(whole_seconds).or_else(|| {
        (status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS).then_some(1)
    });
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(policy) = problem.policy {
        let window = whole_seconds(policy.window);
        let (allowed, left) = (
            format!("\"{}\";q={};w={window}", policy.name, policy.quota),
            format!("\"{}\";r=0;t={}", policy.name, retry_after.unwrap_or(window)),
        );
        if let (Ok(allowed), Ok(left)) = (HeaderValue::try_from(allowed), HeaderValue::try_from(left)) {
            headers.insert("ratelimit-policy", allowed);
            headers.insert("ratelimit", left);
        }
    }
    *response.body_mut() = if is_head { Body::empty() } else { Body::from(body) };
    response
}

/// Whole seconds, rounded up, at least one: `Retry-After: 0` would invite a loop.
fn whole_seconds(duration: Duration) -> u64 {
    let seconds = duration.as_secs();
    if duration.subsec_nanos() > 0 {
        seconds.saturating_add(1)
    } else {
        seconds.max(1)
    }
}

#[cfg(test)]
mod tests;
