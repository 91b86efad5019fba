import type { en } from "./en";

/** Arabic: what every page may need, and the sign-in. */
export const ar: typeof en = {
  "layout.skip": "تخطٍّ إلى المحتوى",
  "layout.sign_out": "تسجيل الخروج",
  "layout.loading": "جارٍ التحميل…",
  "layout.offline": "أنت غير متصل بالإنترنت. سنعيد الاتصال تلقائيًا.",
  "layout.unavailable": "الخدمة لا تستجيب. ستبقى مسجّل الدخول بينما نعيد المحاولة.",
  "layout.dev_mail": "فتح صندوق بريد التطوير",

  "offline.title": "لا يوجد اتصال",
  "offline.no_network": "هذا الجهاز غير متصل بالشبكة. ستتابع الصفحة عند عودة الاتصال.",
  "offline.no_service": "الخدمة لا تستجيب. ستتابع الصفحة عندما تستجيب.",
  "offline.retry": "إعادة المحاولة الآن",

  "form.problem": "تحقق مما يلي",
  "form.error_title": "خطأ",
  "form.sent": "تم الإرسال.",
  "form.sending": "جارٍ الإرسال…",

  "field.email": "البريد الإلكتروني",
  "field.password": "كلمة المرور",
  "field.current_password": "كلمة المرور الحالية",
  "field.required": "املأ هذا الحقل.",
  "field.invalid_email": "أدخل بريدًا إلكترونيًا مثل name@example.com.",

  "password.show": "إظهار",
  "password.hide": "إخفاء",
  "password.is_shown": "كلمة مرورك ظاهرة على الشاشة.",
  "password.caps_lock": "مفتاح Caps Lock مفعّل.",
  "password.arabic_letters": "أنت تكتب بحروف عربية.",
  "password.latin_letters": "أنت تكتب بحروف لاتينية.",

  "login.title": "تسجيل الدخول",
  "login.submit": "تسجيل الدخول",
  "login.forgot": "نسيت كلمة المرور؟",
  "login.no_account": "ليس لديك حساب؟",
  "login.register": "إنشاء حساب",

  "error.unknown": "حدث خطأ. حاول مرة أخرى.",
  "error.offline": "أنت غير متصل. لم يتغير شيء. حاول عند عودة الاتصال.",
  "error.timeout": "تأخرت الخدمة في الرد. حاول مرة أخرى.",
  "error.server_unavailable": "الخدمة لا تستجيب. ما كتبته محفوظ. حاول مرة أخرى.",
  "error.invalid_credentials": "البريد الإلكتروني أو كلمة المرور غير صحيحة. حاول مرة أخرى أو أعد تعيين كلمة المرور.",
};
