//! The table of all failures: code, status, and what the hosted page of each says.

use http::StatusCode;

/// One kind of failure: what programs go by, and what its hosted page says.
#[derive(Debug)]
pub struct CodeEntry {
    /// Stable, `snake_case`.
    pub code: &'static str,
    /// The usual status; see `Problem::status` for the two codes that have another one at times.
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
        "Email address already registered"
        "There is already an account with this email address; upper and lower case make no difference. Sign in instead, or ask for a password reset."
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
    FLOW_EXPIRED "flow_expired" BAD_REQUEST
        "Begin again"
        "What was begun in several steps is over: it waited for more than ten minutes, five codes were wrong, the account was changed meanwhile, or another browser or program began it. Begin again, with the password where it is a sign-in."
        "ابدأ من جديد"
        "انتهت هذه العملية: إما أنها انتظرت أكثر من عشر دقائق، أو أُدخلت خمسة رموز خاطئة، أو تغيّر الحساب في أثنائها، أو بدأت في متصفح أو برنامج آخر. ابدأ من جديد، وأدخل كلمة المرور إن كنت تسجّل الدخول.";
    MFA_CODE_INVALID "mfa_code_invalid" UNAUTHORIZED
        "Wrong code"
        "The code is wrong, too old, or was used before: each works once. Wait until the app shows another one, and check that the phone's clock is right. Without the app, use a recovery code."
        "الرمز غير صحيح"
        "الرمز خاطئ أو قديم أو استُخدم من قبل، فكل رمز يعمل مرة واحدة. انتظر حتى يعرض التطبيق رمزًا جديدًا وتأكد من صحة ساعة هاتفك. وإن لم يكن التطبيق معك فاستخدم رمز استرداد.";
    PASSKEY_UNKNOWN "passkey_unknown" UNAUTHORIZED
        "Unknown passkey"
        "This service does not know the passkey, or not any more: it was removed from its account. Sign in another way, and remove the passkey from your device or your password manager."
        "مفتاح المرور غير معروف"
        "لا تعرف الخدمة مفتاح المرور هذا، أو أنه أُزيل من حسابه. سجّل الدخول بطريقة أخرى واحذف المفتاح من جهازك أو من مدير كلمات المرور.";
    PASSKEY_INVALID "passkey_invalid" UNAUTHORIZED
        "Passkey not accepted"
        "The passkey was not accepted: its signature is wrong, it was used on a page of another site, or it may have been copied. The audit trail has the reason. Try again, or sign in another way."
        "لم يُقبل مفتاح المرور"
        "لم يُقبل مفتاح المرور: توقيعه خاطئ، أو استُخدم في صفحة موقع آخر، أو ربما نُسخ. يجد مدير النظام السبب في سجل التدقيق. حاول مجددًا أو سجّل الدخول بطريقة أخرى.";
    PASSKEY_UNVERIFIED "passkey_unverified" UNAUTHORIZED
        "Passkey without a check of its user"
        "The passkey was used without its fingerprint, face or PIN, which makes it one factor where two are needed. Set a PIN on the security key and try again, or sign in with the password and use the passkey as the second step."
        "مفتاح المرور دون تحقق من صاحبه"
        "استُخدم مفتاح المرور دون بصمة أو وجه أو رقم سري، فهو بذلك عامل واحد والمطلوب عاملان. عيّن رقمًا سريًا لمفتاح الأمان ثم حاول مجددًا، أو سجّل الدخول بكلمة المرور واستخدم المفتاح في الخطوة الثانية.";
    MAIL_CODE_INVALID "mail_code_invalid" UNAUTHORIZED
        "Wrong code from the mail"
        "The code is wrong, older than ten minutes, was used before, or a newer mail has replaced it; for the safety of accounts the answer does not say which, and not whether a mail was sent. Type the eight digits of the newest mail, or ask for another one."
        "رمز البريد غير صحيح"
        "الرمز خاطئ أو مضت عليه عشر دقائق أو استُخدم من قبل أو حلّت محله رسالة أحدث، ولا يُذكر أيها ولا ما إذا أُرسلت رسالة حمايةً للحسابات. أدخل الأرقام الثمانية من أحدث رسالة أو اطلب رمزًا جديدًا.";
    INVALID_CREDENTIALS "invalid_credentials" UNAUTHORIZED
        "Wrong credentials"
        "The email address or the password is wrong; for the safety of accounts the answer does not say which. Try again, or ask for a password reset."
        "بيانات الدخول غير صحيحة"
        "البريد الإلكتروني أو كلمة المرور غير صحيحة، ولا يُذكر أيهما حمايةً للحسابات. حاول مجددًا أو اطلب إعادة تعيين كلمة المرور.";
    TOKEN_INVALID "token_invalid" UNAUTHORIZED
        "Token not valid"
        "The token is not one of this service: it was cut, changed, signed with another key, or is of another kind. Sign in again to get a new one."
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
        "The session is good, but this needs a second factor or a sign-in that is not so long ago. Verify once more at /auth/step-up, or sign in again, as the WWW-Authenticate header says (acr_values, max_age), then try again."
        "يلزم تأكيد الهوية من جديد"
        "جلستك سارية، لكن هذا الإجراء يتطلب عامل تحقق ثانيًا أو تسجيل دخول أحدث. أكّد هويتك من جديد أو سجّل الدخول مرة أخرى وفق ما تذكره ترويسة WWW-Authenticate ثم أعد المحاولة.";
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
    MFA_REQUIRED "mfa_required" FORBIDDEN
        "Second factor needed"
        "The password is right, and the account has a second factor, so no session was opened yet. Finish the sign-in at /auth/login/mfa with `flow` and a code, by one of `methods`, within `expires_in` seconds."
        "يلزم عامل تحقق ثانٍ"
        "كلمة المرور صحيحة، لكن الحساب محمي بعامل تحقق ثانٍ فلم تُفتح الجلسة بعد. أكمل الدخول برمز من تطبيق المصادقة أو برمز استرداد.";
    MFA_ENROLLMENT_REQUIRED "mfa_enrollment_required" FORBIDDEN
        "Second factor missing"
        "This needs an account with a second factor, and yours has none. Set up an authenticator app, then try again. For a role that must have one, everything but that is refused until then."
        "الحساب بلا عامل تحقق ثانٍ"
        "يتطلب هذا حسابًا محميًا بعامل تحقق ثانٍ، وحسابك بلا عامل ثانٍ. أضف تطبيق مصادقة ثم أعد المحاولة.";
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
        "Email address not verified"
        "This needs an account whose email address is verified. Open the link in the mail that was sent after the registration, or ask for another one."
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
    PASSKEY_LIMIT "passkey_limit" CONFLICT
        "Too many passkeys"
        "The account has as many passkeys as it may have. Remove one that you no longer use, then add another."
        "عدد مفاتيح المرور بلغ الحد"
        "بلغ عدد مفاتيح المرور في الحساب حدّه الأقصى. احذف مفتاحًا لم تعد تستخدمه ثم أضف مفتاحًا آخر.";
    LAST_ADMIN "last_admin" CONFLICT
        "Last administrator"
        "Without this account the service would have no administrator. Give the role to another active account first."
        "آخر مدير للنظام"
        "سيؤدي هذا الإجراء إلى بقاء الخدمة دون مدير نشط. امنح الدور لحساب نشط آخر أولًا.";
    MAIL_NOT_RETRYABLE "mail_not_retryable" CONFLICT
        "Mail is not sent again"
        "The mail was sent already, or its link was used or replaced by a later one, so sending it again is of no use. Have another mail sent instead, for example a password reset for its user."
        "لا يمكن إرسال الرسالة مرة أخرى"
        "أُرسلت هذه الرسالة من قبل، أو استُخدم رابطها أو حلّ محله رابط أحدث، فلا فائدة من إعادة إرسالها. أرسل رسالة جديدة، كرسالة إعادة تعيين كلمة المرور لصاحب الحساب.";
    KEY_NOT_ROTATED "key_not_rotated" CONFLICT
        "Key is not replaced now"
        "The next signing key is published already and signs later, or `JWT_SECRET` signs, which is the operator's to change. Wait until the next key signs, or have a new one sign at once."
        "لا يمكن استبدال المفتاح الآن"
        "المفتاح التالي منشور بالفعل وسيبدأ التوقيع لاحقًا، أو أن التوقيع يتم بـ `JWT_SECRET` وتغييره بيد المشغّل. انتظر حتى يبدأ المفتاح التالي التوقيع، أو اطلب مفتاحًا جديدًا يوقّع فورًا.";
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
