import { createContext, type ReactNode, useContext, useMemo } from "react";
import { isAuthError } from "../index";

/** The languages of the ready-made parts. */
export type PartsLanguage = "en" | "ar";

const english = {
  "form.problem": "Check the following",
  "form.sending": "Sending…",
  "form.try_now": "You can try again now.",
  "field.email": "Email address",
  "field.password": "Password",
  "field.new_password": "Create a password",
  "field.full_name": "Full name",
  "field.optional": "Optional",
  "field.required": "Fill in this field.",
  "field.invalid_email": "Enter an email address like name@example.com.",
  "field.email_too_long": "This email address is too long.",
  "field.email_domain_not_allowed": "This email domain isn't accepted. Use another email address.",
  "field.password_too_short": "This password is too short.",
  "field.password_too_long": "This password is too long.",
  "field.password_too_common": "This password is too common. Choose one that's harder to guess.",
  "field.password_too_personal": "This password is too close to your name or email. Choose another.",
  "field.password_breached": "This password appeared in a data breach. Choose one you use nowhere else.",
  "field.name_too_long": "Shorten the name to 200 characters.",
  "password.show": "Show",
  "password.hide": "Hide",
  "password.is_shown": "Your password is visible on the screen.",
  "password.caps_lock": "Caps Lock is on.",
  "password.arabic_letters": "You are typing Arabic letters.",
  "password.latin_letters": "You are typing Latin letters.",
  "password.rule": "At least {count} characters. Whole sentences work.",
  "field.code": "Code",
  "field.invalid_code": "Enter the six digits that the app shows, or a recovery code.",
  "code.hint": "The 6 digits of your authenticator app, or a recovery code.",
  "code.hint_mail": "The 8 digits that we emailed you.",
  "code.submit": "Continue",
  "code.back": "Sign in with another account",
  "error.flow_expired": "This sign-in took too long, or had too many wrong codes. Sign in again.",
  "error.mfa_code_invalid": "This code isn't valid. Enter the next one that the app shows.",
  "error.passkey_unknown": "This passkey isn't known here. Sign in another way, and remove it from your device.",
  "error.passkey_unverified":
    "Your passkey didn't ask for your fingerprint, face or PIN. Sign in with your password, then use the passkey.",
  "passkey.use": "Use a passkey",
  "passkey.failed": "The passkey was not used. Try again, or go on without it.",
  "error.mail_code_invalid": "This code isn't valid. Enter the one from the newest email.",
  "login.submit": "Sign in",
  "login.forgot": "Forgot your password?",
  "login.register": "Create an account",
  "register.submit": "Create account",
  "register.login": "Already have an account? Sign in",
  "register.sent": "We emailed a link to {email}. Open it to finish creating your account.",
  "user.menu": "Account of {name}",
  "user.account": "My account",
  "user.sign_out": "Sign out",
  "sessions.label": "Where you're signed in",
  "sessions.loading": "Loading…",
  "sessions.retry": "Try again now",
  "sessions.unknown": "Unknown device",
  "sessions.device": "{program} on {system}",
  "sessions.current": "This device",
  "sessions.last_active": "Last active {time}",
  "sessions.end": "Sign out",
  "sessions.end_of": "Sign out on {device}",
  "sessions.end_others": "Sign out everywhere else",
  "sessions.confirm": "Sign out on {device}?",
  "sessions.confirm_others": "Sign out on all other devices?",
  "sessions.yes": "Yes, sign out",
  "sessions.no": "Cancel",
  "sessions.ended": "Signed out on {device}.",
  "sessions.ended_others": "Signed out on all other devices.",
  "error.unknown": "Something went wrong. Try again.",
  "error.offline": "You're offline. Nothing changed. Try again when you're back.",
  "error.server_unavailable": "The service isn't responding. What you typed is safe. Try again.",
  "error.rate_limited": "Too many attempts. Try again in {duration}.",
  "error.invalid_credentials": "Email address and password do not match. Try again or reset your password.",
  "error.account_inactive": "This account is deactivated. Contact an administrator.",
  "error.email_not_verified": "Confirm your email address first. Open the link we emailed you.",
  "error.email_taken": "An account with this email already exists. Sign in, or reset its password.",
  "error.registration_closed": "Only administrators create accounts here. Ask one for an invitation.",
  "error.session_limit": "You're signed in on too many devices. Sign out on one, then try again.",
  "error.cookies_blocked": "Your browser blocks cookies. Allow them for this site, then try again.",
  "error.origin_not_allowed": "The service doesn't expect this web address. Open its own address.",
};

/** Every text of the ready-made parts, by its key. */
export type PartsTexts = typeof english;

const arabic: PartsTexts = {
  "form.problem": "تحقق مما يلي",
  "form.sending": "جارٍ الإرسال…",
  "form.try_now": "يمكنك المحاولة الآن.",
  "field.email": "البريد الإلكتروني",
  "field.password": "كلمة المرور",
  "field.new_password": "أنشئ كلمة مرور",
  "field.full_name": "الاسم الكامل",
  "field.optional": "اختياري",
  "field.required": "املأ هذا الحقل.",
  "field.invalid_email": "أدخل بريدًا إلكترونيًا مثل name@example.com.",
  "field.email_too_long": "البريد الإلكتروني طويل جدًا.",
  "field.email_domain_not_allowed": "نطاق هذا البريد غير مقبول. استخدم بريدًا آخر.",
  "field.password_too_short": "كلمة المرور قصيرة جدًا.",
  "field.password_too_long": "كلمة المرور طويلة جدًا.",
  "field.password_too_common": "كلمة المرور شائعة جدًا. اختر كلمة مرور يصعب تخمينها.",
  "field.password_too_personal": "كلمة المرور قريبة من اسمك أو بريدك. اختر غيرها.",
  "field.password_breached": "ظهرت كلمة المرور هذه في تسريب بيانات. اختر واحدة لا تستخدمها في مكان آخر.",
  "field.name_too_long": "اختصر الاسم إلى 200 حرف.",
  "password.show": "إظهار",
  "password.hide": "إخفاء",
  "password.is_shown": "كلمة مرورك ظاهرة على الشاشة.",
  "password.caps_lock": "مفتاح Caps Lock مفعّل.",
  "password.arabic_letters": "أنت تكتب بحروف عربية.",
  "password.latin_letters": "أنت تكتب بحروف لاتينية.",
  "password.rule": "عدد الأحرف {count} على الأقل، وتصلح جملة كاملة.",
  "field.code": "الرمز",
  "field.invalid_code": "أدخل الأرقام الستة التي يعرضها التطبيق، أو رمز استرداد.",
  "code.hint": "الأرقام الستة من تطبيق المصادقة، أو رمز استرداد.",
  "code.hint_mail": "الأرقام الثمانية التي أرسلناها إلى بريدك.",
  "code.submit": "متابعة",
  "code.back": "تسجيل الدخول بحساب آخر",
  "error.flow_expired": "طال تسجيل الدخول أو كثرت الرموز الخاطئة. سجّل الدخول من جديد.",
  "error.mfa_code_invalid": "الرمز غير صالح. أدخل الرمز التالي الذي يعرضه التطبيق.",
  "error.passkey_unknown":
    "مفتاح المرور هذا غير معروف هنا. سجّل الدخول بطريقة أخرى واحذفه من جهازك أو من مدير كلمات المرور.",
  "error.passkey_unverified":
    "لم يطلب مفتاح المرور بصمتك أو وجهك أو رقمك السري. سجّل الدخول بكلمة المرور واستخدم المفتاح في الخطوة الثانية.",
  "passkey.use": "استخدام مفتاح مرور",
  "passkey.failed": "لم يُستخدم مفتاح المرور. حاول مجددًا أو تابع بدونه.",
  "error.mail_code_invalid": "الرمز غير صالح. أدخل رمز أحدث رسالة.",
  "login.submit": "تسجيل الدخول",
  "login.forgot": "نسيت كلمة المرور؟",
  "login.register": "إنشاء حساب",
  "register.submit": "إنشاء الحساب",
  "register.login": "لديك حساب؟ تسجيل الدخول",
  "register.sent": "أرسلنا رابطًا إلى {email}. افتحه لإكمال إنشاء حسابك.",
  "user.menu": "حساب {name}",
  "user.account": "حسابي",
  "user.sign_out": "تسجيل الخروج",
  "sessions.label": "الأجهزة المسجَّل الدخول منها",
  "sessions.loading": "جارٍ التحميل…",
  "sessions.retry": "إعادة المحاولة الآن",
  "sessions.unknown": "جهاز غير معروف",
  "sessions.device": "{program} على {system}",
  "sessions.current": "هذا الجهاز",
  "sessions.last_active": "آخر نشاط {time}",
  "sessions.end": "تسجيل الخروج",
  "sessions.end_of": "تسجيل الخروج من {device}",
  "sessions.end_others": "تسجيل الخروج من الأجهزة الأخرى",
  "sessions.confirm": "هل تريد تسجيل الخروج من {device}؟",
  "sessions.confirm_others": "هل تريد تسجيل الخروج من كل الأجهزة الأخرى؟",
  "sessions.yes": "نعم، تسجيل الخروج",
  "sessions.no": "إلغاء",
  "sessions.ended": "تم تسجيل الخروج من {device}.",
  "sessions.ended_others": "تم تسجيل الخروج من الأجهزة الأخرى.",
  "error.unknown": "حدث خطأ. حاول مرة أخرى.",
  "error.offline": "أنت غير متصل. لم يتغير شيء. حاول عند عودة الاتصال.",
  "error.server_unavailable": "الخدمة لا تستجيب. ما كتبته محفوظ. حاول مرة أخرى.",
  "error.rate_limited": "محاولات كثيرة. حاول مرة أخرى بعد {duration}.",
  "error.invalid_credentials": "البريد الإلكتروني أو كلمة المرور غير صحيحة. حاول مرة أخرى أو أعد تعيين كلمة المرور.",
  "error.account_inactive": "هذا الحساب معطّل. تواصل مع مدير النظام.",
  "error.email_not_verified": "أكّد بريدك الإلكتروني أولًا. افتح الرابط الذي أرسلناه إليك.",
  "error.email_taken": "يوجد حساب بهذا البريد. سجّل الدخول أو أعد تعيين كلمة المرور.",
  "error.registration_closed": "ينشئ مدير النظام وحده الحسابات هنا. اطلب منه دعوة.",
  "error.session_limit": "بلغت الحد الأقصى للأجهزة. سجّل الخروج من أحدها ثم حاول مرة أخرى.",
  "error.cookies_blocked": "يمنع متصفحك ملفات تعريف الارتباط. اسمح بها لهذا الموقع ثم حاول مرة أخرى.",
  "error.origin_not_allowed": "لا تتوقع الخدمة هذا الموقع. افتح موقعها الأصلي.",
};

interface Given {
  language?: PartsLanguage | undefined;
  texts?: Partial<PartsTexts> | undefined;
}

const Context = createContext<Given>({});

/**
 * Sets the language of the ready-made parts below, and texts of your own for some keys. Without it, the parts are in Arabic where the
 * page's `lang` is, else in English.
 */
export function TextsProvider({ language, texts, children }: Given & { children?: ReactNode }): ReactNode {
  const value = useMemo(() => ({ language, texts }), [language, texts]);
  return <Context.Provider value={value}>{children}</Context.Provider>;
}

/** What a part says, and how. */
export interface Words {
  language: PartsLanguage;
  dir: "ltr" | "rtl";
  t(key: keyof PartsTexts, values?: Record<string, string | number>): string;
  /** The text of a key that is put together; undefined when there is none. */
  maybe(key: string): string | undefined;
  /** The words for a failure, by its code; `wait` is what is left of a limit, in seconds. */
  messageOf(error: unknown, wait?: number): string;
  /** How long ago a moment was. */
  ago(time: string): string;
}

/** Latin digits and the Gregorian calendar in both languages, as in the service's own pages. */
const PLACE = { en: "en-GB", ar: "ar-SA-u-ca-gregory-nu-latn" };

function duration(seconds: number, place: string): string {
  const [value, unit] = seconds >= 120 ? [Math.ceil(seconds / 60), "minute"] : [Math.ceil(seconds), "second"];
  return new Intl.NumberFormat(place, { style: "unit", unit, unitDisplay: "long" }).format(value);
}

function ago(time: string, place: string): string {
  const seconds = (new Date(time).getTime() - Date.now()) / 1000;
  const format = new Intl.RelativeTimeFormat(place, { numeric: "auto" });
  const steps = [
    ["day", 86_400],
    ["hour", 3600],
    ["minute", 60],
  ] as const;
  const step = steps.find(([, length]) => Math.abs(seconds) >= length);
  return step ? format.format(Math.round(seconds / step[1]), step[0]) : format.format(0, "second");
}

/** The words for the language of the nearest `TextsProvider`, else of the page. */
export function useWords(): Words {
  const { language: given, texts } = useContext(Context);
  const ofPage = globalThis.document?.documentElement.lang.startsWith("ar") ? "ar" : "en";
  const language = given ?? ofPage;
  return useMemo(() => {
    const all: Record<string, string> = { ...(language === "ar" ? arabic : english), ...texts };
    // Each value is isolated, because an address or a name of the other script would pull the punctuation to its own side.
    const t: Words["t"] = (key, values = {}) =>
      (all[key] ?? key).replace(/\{(\w+)\}/g, (whole, name: string) =>
        name in values ? `\u2068${values[name]}\u2069` : whole,
      );
    return {
      language,
      dir: language === "ar" ? "rtl" : "ltr",
      t,
      maybe: (key) => all[key],
      messageOf(error, wait) {
        if (!isAuthError(error)) return t("error.unknown");
        if (error.kind === "rate_limited")
          return t("error.rate_limited", { duration: duration(wait ?? error.retryAfter ?? 60, PLACE[language]) });
        return all[`error.${error.code}`] ?? all[`error.${error.kind}`] ?? error.detail;
      },
      ago: (time) => ago(time, PLACE[language]),
    };
  }, [language, texts]);
}
