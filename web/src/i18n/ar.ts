import type { en } from "./en";
import { sixForms as counted } from "./plural";

/** Arabic: what every page may need, and the sign-in. */
export const ar: typeof en = {
  "layout.skip": "انتقل إلى المحتوى",
  "layout.sign_out": "تسجيل الخروج",
  "layout.loading": "جارٍ التحميل…",
  "layout.offline": "لا يوجد اتصال بالشبكة. لن يضيع شيء، وسنتابع عند عودة الاتصال.",
  "layout.unavailable": "الخدمة لا تستجيب حاليًا. ستبقى مسجّل الدخول، ونواصل المحاولة.",
  "layout.theme_is": "الألوان: {theme}. تغيير",
  "layout.theme_system": "حسب النظام",
  "layout.theme_light": "فاتحة",
  "layout.theme_dark": "داكنة",
  "layout.dev_mail": "افتح صندوق بريد التطوير",

  "offline.title": "لا يوجد اتصال",
  "offline.no_network": "هذا الجهاز غير متصل بالشبكة. ستتابع الصفحة تلقائيًا عند عودة الاتصال.",
  "offline.no_service": "الخدمة لا تستجيب حاليًا. ستتابع الصفحة تلقائيًا عندما تستجيب.",
  "offline.retry": "أعد المحاولة الآن",

  "dialog.cancel": "إلغاء",
  "dialog.close": "إغلاق",

  "form.problem": "هناك مشكلة",
  "form.error_title": "خطأ",
  "form.sent": "تم الإرسال.",
  "form.sending": "جارٍ الإرسال…",
  "form.try_now": "يمكنك المحاولة الآن.",

  "time.seconds": counted({
    zero: "الآن",
    one: "ثانية واحدة",
    two: "ثانيتين",
    few: "{count} ثوانٍ",
    many: "{count} ثانية",
    other: "{count} ثانية",
  }),
  "time.minutes": counted({
    zero: "الآن",
    one: "دقيقة واحدة",
    two: "دقيقتين",
    few: "{count} دقائق",
    many: "{count} دقيقة",
    other: "{count} دقيقة",
  }),
  "time.hours": counted({
    zero: "الآن",
    one: "ساعة واحدة",
    two: "ساعتين",
    few: "{count} ساعات",
    many: "{count} ساعة",
    other: "{count} ساعة",
  }),

  "field.email": "البريد الإلكتروني",
  "field.password": "كلمة المرور",
  "field.current_password": "كلمة المرور الحالية",
  "field.required": "املأ هذا الحقل.",
  "field.invalid_email": "اكتب بريدًا إلكترونيًا مثل name@example.com.",
  "field.email_too_long": "هذا العنوان طويل جدًا.",
  "field.forbidden_character": "فيه حرف لا يمكن استخدامه، كمسافة أو حرف غير مرئي.",

  "password.show": "إظهار",
  "password.hide": "إخفاء",
  "password.is_shown": "يمكن قراءة كلمة المرور على الشاشة.",
  "password.caps_lock": "مفتاح Caps Lock مفعّل.",
  "password.arabic_letters": "أنت تكتب بحروف عربية.",
  "password.latin_letters": "أنت تكتب بحروف لاتينية.",

  "login.title": "تسجيل الدخول",
  "login.submit": "تسجيل الدخول",
  "login.forgot": "هل نسيت كلمة المرور؟",
  "login.no_account": "ليس لديك حساب؟",
  "login.register": "أنشئ حسابًا",

  "signed_out.title": "تم تسجيل خروجك",
  "signed_out.here": "لقد سجّلت الخروج.",
  "signed_out.elsewhere": "سجّلت الخروج في علامة تبويب أخرى.",
  "signed_out.again": "تسجيل الدخول مرة أخرى",
  "signed_out.deleted_title": "حُذف حسابك",
  "signed_out.deleted": "حُذف حسابك وكل ما يخصه، وأرسلنا إليك رسالة بذلك.",
  "signed_out.deleted_undo": "يمكنك استعادته خلال {duration} بالرابط الذي في الرسالة التي أرسلناها إليك.",

  "reason.signed_out_elsewhere": "سجّلت الخروج في علامة تبويب أخرى.",
  "reason.session_expired": "غبت مدة طويلة فانتهت جلستك. سجّل الدخول لتتابع من حيث كنت.",
  "reason.session_revoked": "أُنهيت هذه الجلسة من جهاز آخر أو من قِبل مسؤول. سجّل الدخول من جديد.",
  "reason.password_changed": "تغيّرت كلمة مرور هذا الحساب فانتهت هذه الجلسة. سجّل الدخول بالكلمة الجديدة.",
  "reason.refresh_token_required": "لا يمكن متابعة هذه الجلسة بعد الآن. سجّل الدخول من جديد.",
  "reason.account_inactive": "عُطّل هذا الحساب. تواصل مع المسؤول.",
  "reason.refresh_token_reused":
    "استُخدم مفتاح قديم لهذه الجلسة مرة أخرى، وهو ما قد يفعله سارق، فأُنهيت. سجّل الدخول من جديد.",
  "reason.token_invalid": "لا يمكن متابعة هذه الجلسة. سجّل الدخول من جديد.",

  "error.unknown": "حدث خطأ ما. حاول مرة أخرى.",
  "error.reference": "إن تكرر ذلك فأبلغ المسؤول بهذا الرقم: {id}",
  "error.offline": "لا يوجد اتصال بالشبكة. لم يتغير شيء؛ حاول عند عودة الاتصال.",
  "error.timeout": "استغرقت الخدمة وقتًا طويلًا للرد. حاول مرة أخرى.",
  "error.server_unavailable": "الخدمة لا تستجيب حاليًا. لن يضيع ما كتبته؛ حاول مرة أخرى.",
  "error.rate_limited": "محاولات كثيرة. أعد المحاولة بعد {duration}.",
  "error.invalid_credentials": "البريد الإلكتروني أو كلمة المرور غير صحيحة. حاول مرة أخرى أو أعد تعيين كلمة المرور.",
  "error.not_found": "لم يعد هنا شيء.",
  "error.signed_out": "لقد سُجّل خروجك. سجّل الدخول من جديد.",
  "error.validation_failed": "بعض ما أُدخل غير مقبول. صحّحه وحاول مرة أخرى.",
  "error.forbidden": "هذا غير مسموح به.",

  "console.title": "لوحة الإدارة",
};
