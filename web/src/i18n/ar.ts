import type { en } from "./en";
import { sixForms as counted } from "./plural";

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

  "signed_out.title": "تم تسجيل خروجك",
  "signed_out.here": "نراك قريبًا.",
  "signed_out.elsewhere": "سجّلت الخروج في علامة تبويب أخرى.",
  "signed_out.again": "تسجيل الدخول مجددًا",

  "error.unknown": "حدث خطأ. حاول مرة أخرى.",
  "error.reference": "إن تكرر الخطأ فأرسل إلى مدير النظام هذا الرقم: {id}",
  "error.offline": "أنت غير متصل. لم يتغير شيء. حاول عند عودة الاتصال.",
  "error.timeout": "تأخرت الخدمة في الرد. حاول مرة أخرى.",
  "error.server_unavailable": "الخدمة لا تستجيب. ما كتبته محفوظ. حاول مرة أخرى.",
  "error.rate_limited": "محاولات كثيرة. أعد المحاولة بعد {duration}.",
  "error.invalid_credentials": "البريد الإلكتروني أو كلمة المرور غير صحيحة. حاول مرة أخرى أو أعد تعيين كلمة المرور.",
};
