import { type Counted, counted, sixForms } from "./plural";

interface Text {
  en: string | Counted;
  ar: string | Counted;
}

/**
 * What happened to an account, in sentences for its owner; both languages stand together. `story.<action>` is what succeeded,
 * `story.<action>_failed` what did not; an action without a sentence is shown by its name.
 */
const STORY = {
  register: { en: "Your account was created.", ar: "أُنشئ حسابك." },
  sign_in: { en: "You signed in from {device}.", ar: "سجّلت الدخول من {device}." },
  sign_in_failed: { en: "A sign-in from {device} was refused: {reason}.", ar: "رُفض تسجيل دخول من {device}: {reason}." },
  wrong_password: {
    en: counted({
      one: "A wrong password from {device}.",
      other: "A wrong password {count} times from {device}.",
    }),
    ar: sixForms({
      zero: "كلمة مرور خاطئة من {device}.",
      one: "كلمة مرور خاطئة من {device}.",
      two: "كلمة مرور خاطئة مرتين من {device}.",
      few: "كلمة مرور خاطئة {count} مرات من {device}.",
      many: "كلمة مرور خاطئة {count} مرة من {device}.",
      other: "كلمة مرور خاطئة {count} مرة من {device}.",
    }),
  },
  then_signed_in: { en: "You signed in at {time}.", ar: "ثم سجّلت الدخول الساعة {time}." },
  then_signed_in_elsewhere: {
    en: "A sign-in from {device} followed at {time}.",
    ar: "تلاه تسجيل دخول من {device} الساعة {time}.",
  },
  session_revoke: { en: "A session ended: {reason}.", ar: "انتهت جلسة: {reason}." },
  sessions_revoked: {
    en: counted({ one: "{count} session ended: {reason}.", other: "{count} sessions ended: {reason}." }),
    ar: sixForms({
      zero: "لم تنتهِ جلسات: {reason}.",
      one: "انتهت جلسة واحدة: {reason}.",
      two: "انتهت جلستان: {reason}.",
      few: "انتهت {count} جلسات: {reason}.",
      many: "انتهت {count} جلسة: {reason}.",
      other: "انتهت {count} جلسة: {reason}.",
    }),
  },
  refresh_reuse_failed: {
    en: "Someone may have copied a session, so we ended it.",
    ar: "ربما نُسخت إحدى جلساتك، فأنهيناها.",
  },
  factor_add: { en: "You added a second factor: {reason}.", ar: "أضفت عامل تحقق ثانيًا: {reason}." },
  factor_remove: { en: "You removed a second factor: {reason}.", ar: "أزلت عامل تحقق ثانيًا: {reason}." },
  device_trust: { en: "You trusted {device} for sign-ins.", ar: "وثقت بالجهاز {device} عند تسجيل الدخول." },
  step_up: { en: "You confirmed that it was you.", ar: "أكّدت هويتك." },
  step_up_failed: { en: "Confirming your identity failed: {reason}.", ar: "فشل تأكيد هويتك: {reason}." },
  device_forget: { en: "You removed a known device.", ar: "أزلت جهازًا معروفًا." },
  user_update: { en: "You changed your profile.", ar: "غيّرت ملفك الشخصي." },
  user_delete: { en: "You deleted your account.", ar: "حذفت حسابك." },
  user_delete_failed: { en: "Deleting the account failed: {reason}.", ar: "فشل حذف الحساب: {reason}." },
  user_restore: { en: "Your account was restored.", ar: "استُعيد حسابك." },
  account_secure: { en: "You secured your account with an email link.", ar: "أمّنت حسابك برابط من رسالة." },
  new_device: {
    en: "The sign-in was from a new device. We emailed you.",
    ar: "كان الدخول من جهاز جديد، وأرسلنا إليك رسالة.",
  },
  export: { en: "You downloaded your data.", ar: "نزّلت بياناتك." },
  password_reset_request: {
    en: "A link to reset the password was requested.",
    ar: "طُلب رابط لإعادة تعيين كلمة المرور.",
  },
  failure_limit: {
    en: "Many sign-ins failed. On a new device you now also need a code by email.",
    ar: "فشلت محاولات دخول كثيرة. أصبح الدخول من جهاز جديد يتطلب رمزًا نرسله إلى بريدك.",
  },
  sign_in_code_request: { en: "A code to sign in was requested.", ar: "طُلب رمز للدخول." },
  sign_in_code_request_failed: {
    en: "A code to sign in was requested, but not sent: {reason}.",
    ar: "طُلب رمز للدخول ولم يُرسل: {reason}.",
  },
  password_reset: { en: "The password was set with an email link.", ar: "عُيّنت كلمة المرور برابط من رسالة." },
  password_reset_failed: { en: "Setting the password failed: {reason}.", ar: "فشل تعيين كلمة المرور: {reason}." },
  password_change: { en: "You changed your password.", ar: "غيّرت كلمة المرور." },
  password_change_failed: {
    en: "Changing the password failed: {reason}.",
    ar: "فشل تغيير كلمة المرور: {reason}.",
  },
  email_verify: { en: "You confirmed your email address.", ar: "أكّدت بريدك الإلكتروني." },
  email_change_request: { en: "Another email address was requested.", ar: "طُلب بريد إلكتروني آخر للحساب." },
  email_change_request_failed: {
    en: "Changing the email address failed: {reason}.",
    ar: "فشل تغيير البريد الإلكتروني: {reason}.",
  },
  email_change: { en: "The email address changed.", ar: "تغيّر البريد الإلكتروني." },
  email_change_undo: { en: "The email change was undone.", ar: "أُلغي تغيير البريد الإلكتروني." },
  activity_confirm: { en: "You confirmed that everything up to here was you.", ar: "أكّدت أن كل ما سبق كان منك." },
  activity_report: {
    en: "You reported activity that wasn't yours. Receipt {number}.",
    ar: "أبلغت عن نشاط ليس منك. رقم الإيصال {number}.",
  },

  ask_title: { en: "Was this you?", ar: "هل كان هذا أنت؟" },
  ask_more: {
    en: counted({ one: "And {count} more event below.", other: "And {count} more events below." }),
    ar: sixForms({
      zero: "ولا أحداث أخرى.",
      one: "وحدث آخر أدناه.",
      two: "وحدثان آخران أدناه.",
      few: "و{count} أحداث أخرى أدناه.",
      many: "و{count} حدثًا آخر أدناه.",
      other: "و{count} حدث آخر أدناه.",
    }),
  },
  was_me: { en: "That was me", ar: "نعم، كنت أنا" },
  not_me: { en: "That was not me", ar: "لا، لم أكن أنا" },
  calm: { en: "Nothing needs your answer.", ar: "لا شيء ينتظر جوابك." },
  see_wrong: { en: "See something that wasn't you?", ar: "هل ترى ما لم يكن منك؟" },
  report_title: { en: "Secure your account?", ar: "هل تريد تأمين حسابك؟" },
  report_ends: { en: "All your other sessions end now.", ar: "تنتهي الآن كل جلساتك الأخرى." },
  report_forgets: { en: "We forget all devices you signed in on.", ar: "ننسى كل جهاز سجّلت الدخول منه." },
  report_links: { en: "Links we emailed before stop working.", ar: "تتوقف الروابط التي أرسلناها من قبل." },
  report_password: {
    en: "You choose a new password, here or with an emailed link.",
    ar: "تختار كلمة مرور جديدة، هنا أو برابط نرسله إليك.",
  },
  report_submit: { en: "Secure my account", ar: "تأمين حسابي" },
  receipt_title: { en: "Your account is secured", ar: "تم تأمين حسابك" },
  receipt: { en: "Receipt {number}, {time}", ar: "إيصال رقم {number}، {time}" },
  receipt_keep: {
    en: "Keep this number. Administrators find the report by it.",
    ar: "احتفظ بهذا الرقم. يجد مدير النظام البلاغ به.",
  },
  receipt_sessions: {
    en: counted({ one: "{count} other session ended.", other: "{count} other sessions ended." }),
    ar: sixForms({
      zero: "لم تكن هناك جلسات أخرى.",
      one: "انتهت جلسة أخرى واحدة.",
      two: "انتهت جلستان أخريان.",
      few: "انتهت {count} جلسات أخرى.",
      many: "انتهت {count} جلسة أخرى.",
      other: "انتهت {count} جلسة أخرى.",
    }),
  },
  receipt_devices: {
    en: counted({ one: "{count} device forgotten.", other: "{count} devices forgotten." }),
    ar: sixForms({
      zero: "لم تكن هناك أجهزة معروفة.",
      one: "نُسي جهاز واحد.",
      two: "نُسي جهازان.",
      few: "نُسيت {count} أجهزة.",
      many: "نُسي {count} جهازًا.",
      other: "نُسي {count} جهاز.",
    }),
  },
  receipt_next: { en: "Now choose a new password", ar: "اختر الآن كلمة مرور جديدة" },
  today: { en: "Today", ar: "اليوم" },
  yesterday: { en: "Yesterday", ar: "أمس" },

  download: { en: "Download my data", ar: "تنزيل بياناتي" },
  download_lead: {
    en: "One file with everything we keep about you.",
    ar: "ملف واحد بكل ما نحتفظ به عنك.",
  },
} satisfies Record<string, Text>;

type Story = typeof STORY;
type Texts<L extends "en" | "ar"> = { [Name in keyof Story as `story.${Name & string}`]: Story[Name][L] };

/** The texts `story.<name>` of a language. */
export const story = <L extends "en" | "ar">(language: L) =>
  Object.fromEntries(Object.entries(STORY).map(([name, text]) => [`story.${name}`, text[language]])) as Texts<L>;
