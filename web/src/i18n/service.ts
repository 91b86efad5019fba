import { type Counted, counted, sixForms } from "./plural";

/** What the console says of keys, branding and second factors; both languages stand together. */
const SERVICE = {
  "console.service": { en: "Service", ar: "الخدمة" },
  "service.keys": { en: "Keys", ar: "المفاتيح" },
  "service.branding": { en: "Branding", ar: "هوية المنتج" },

  "keys.lead": {
    en: "These keys sign access tokens. A replaced key counts until its last token expires.",
    ar: "توقّع هذه المفاتيح رموز الوصول. يبقى المفتاح المستبدَل مقبولًا حتى ينتهي آخر رمز وقّعه.",
  },
  "keys.of_setting": {
    en: "JWT_SECRET signs access tokens. Change it in every node's configuration.",
    ar: "يوقّع JWT_SECRET رموز الوصول. غيّره في إعدادات كل خادم.",
  },
  "keys.none": { en: "No keys yet.", ar: "لا توجد مفاتيح بعد." },
  "keys.kid": { en: "Key", ar: "المفتاح" },
  "keys.algorithm": { en: "Algorithm", ar: "الخوارزمية" },
  "keys.state": { en: "Status", ar: "الحالة" },
  "keys.state_published": { en: "Published", ar: "منشور" },
  "keys.state_signs": { en: "Signing", ar: "يوقّع" },
  "keys.state_verifies": { en: "For old tokens", ar: "للرموز القديمة" },
  "keys.state_over": { en: "Expired", ar: "منتهٍ" },
  "keys.signs_from": { en: "Signs from", ar: "يوقّع من" },
  "keys.until": { en: "Accepted until", ar: "مقبول حتى" },
  "keys.every": {
    en: counted({ one: "Replaced automatically every day.", other: "Replaced automatically every {count} days." }),
    ar: sixForms({
      zero: "يُستبدل تلقائيًا.",
      one: "يُستبدل تلقائيًا كل يوم.",
      two: "يُستبدل تلقائيًا كل يومين.",
      few: "يُستبدل تلقائيًا كل {count} أيام.",
      many: "يُستبدل تلقائيًا كل {count} يومًا.",
      other: "يُستبدل تلقائيًا كل {count} يوم.",
    }),
  },
  "keys.rotate": { en: "Replace key", ar: "استبدال المفتاح" },
  "keys.rotate_lead": {
    en: "The next key is published now and signs in {duration}. All sessions and tokens stay valid.",
    ar: "يُنشر المفتاح التالي الآن ويبدأ التوقيع بعد {duration}. تبقى كل الجلسات والرموز صالحة.",
  },
  "keys.now": { en: "Sign with it immediately", ar: "التوقيع به فورًا" },
  "keys.now_hint": {
    en: "Services that cache the keys reject new tokens until they reload them.",
    ar: "ترفض الخدمات التي تحتفظ بقائمة المفاتيح الرموز الجديدة حتى تحدّثها.",
  },
  "keys.rotated": { en: "Key {kid} signs from {date}.", ar: "يوقّع المفتاح {kid} من {date}." },

  "branding.lead": {
    en: "This is what people see. Change it in section [branding] of the configuration.",
    ar: "هذا ما يراه الناس. غيّره في القسم [branding] من الإعدادات.",
  },
  "branding.name": { en: "Name", ar: "الاسم" },
  "branding.sample": { en: "Show", ar: "عرض" },
  "branding.sample_sign-in": { en: "Sign-in", ar: "تسجيل الدخول" },
  "branding.sample_notice": { en: "Message", ar: "رسالة على الصفحة" },
  "branding.sample_mail": { en: "Email", ar: "رسالة بريد" },
  "branding.phone": { en: "On a phone", ar: "على الهاتف" },
  "branding.zoomed": { en: "At 200 %", ar: "بتكبير 200 %" },

  "users.no_factor": { en: "No two-step verification", ar: "بلا تحقق بخطوتين" },
  "user.unsaved": { en: "Leave without saving your changes?", ar: "هل تريد المغادرة دون حفظ التغييرات؟" },
  "user.factors_none": { en: "Not set up.", ar: "غير مفعّل." },
  "user.factors_reset": { en: "Reset two-step verification", ar: "إعادة ضبط التحقق بخطوتين" },
  "user.factors_reset_lead": {
    en: "First make sure who is asking. The app and the recovery codes stop working.",
    ar: "تأكد أولًا من هوية صاحب الطلب. يتوقف التطبيق ورموز الاسترداد عن العمل.",
  },
  "user.factors_reset_mail": {
    en: "The password and the sessions stay. The owner gets an email.",
    ar: "تبقى كلمة المرور والجلسات. وتصل صاحب الحساب رسالة بريد.",
  },
  "user.factors_removed": { en: "Two-step verification is off.", ar: "أُوقف التحقق بخطوتين." },
  "user.trusted_devices": {
    en: counted({ one: "{count} trusted device.", other: "{count} trusted devices." }),
    ar: sixForms({
      zero: "لا أجهزة موثوقة.",
      one: "جهاز موثوق واحد.",
      two: "جهازان موثوقان.",
      few: "{count} أجهزة موثوقة.",
      many: "{count} جهازًا موثوقًا.",
      other: "{count} جهاز موثوق.",
    }),
  },
} satisfies Record<string, { en: string | Counted; ar: string | Counted }>;

type Service = typeof SERVICE;

/** The texts of a language. */
export const service = <L extends "en" | "ar">(language: L) =>
  Object.fromEntries(Object.entries(SERVICE).map(([key, text]) => [key, text[language]])) as {
    [Key in keyof Service]: Service[Key][L];
  };
