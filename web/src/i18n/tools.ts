import { type Counted, counted, sixForms } from "./plural";

/** What the tools of account and console say; both languages stand together. */
const TOOLS = {
  "seal.check": { en: "Check the seal", ar: "فحص الختم" },
  "seal.checking": { en: "Checking every row…", ar: "جارٍ فحص كل السجلات…" },
  "seal.whole": { en: "The audit trail is whole", ar: "سجل التدقيق سليم" },
  "seal.broken": { en: "The audit trail is not whole", ar: "سجل التدقيق غير سليم" },
  "seal.checked": {
    en: counted({ one: "{count} row checked.", other: "{count} rows checked." }),
    ar: sixForms({
      zero: "لم تُفحص سجلات.",
      one: "فُحص سجل واحد.",
      two: "فُحص سجلان.",
      few: "فُحصت {count} سجلات.",
      many: "فُحص {count} سجلًا.",
      other: "فُحص {count} سجل.",
    }),
  },
  "seal.head": {
    en: "Keep this line elsewhere. It shows later that no row was cut off.",
    ar: "احتفظ بهذا السطر في مكان آخر. يُظهر لاحقًا أنه لم يُحذف أي سجل.",
  },
  "seal.more": {
    en: counted({ one: "And {count} more finding.", other: "And {count} more findings." }),
    ar: sixForms({
      zero: "ولا ملاحظات أخرى.",
      one: "وملاحظة أخرى.",
      two: "وملاحظتان أخريان.",
      few: "و{count} ملاحظات أخرى.",
      many: "و{count} ملاحظة أخرى.",
      other: "و{count} ملاحظة أخرى.",
    }),
  },
  "seal.rebased": { en: "The chain begins again at {place}.", ar: "تبدأ السلسلة من جديد عند {place}." },

  "user_tab.profile": { en: "Profile", ar: "الملف الشخصي" },
  "user_tab.security": { en: "Security", ar: "الأمان" },
  "user_tab.sessions": { en: "Sessions", ar: "الجلسات" },
  "user_tab.activity": { en: "Activity", ar: "النشاط" },

  "row.menu": { en: "Actions for {email}", ar: "إجراءات {email}" },
  "row.column": { en: "Actions", ar: "إجراءات" },
  "row.copy": { en: "Copy email address", ar: "نسخ البريد الإلكتروني" },

  "chart.before": { en: "{count} in the previous period", ar: "{count} في المدة السابقة" },
  "chart.change": { en: "{percent} vs. the previous period", ar: "{percent} عن المدة السابقة" },

  "toast.undo": { en: "Undo", ar: "تراجع" },
  "toast.undone": { en: "The change is undone.", ar: "تم التراجع عن التغيير." },
  "toast.user_deleted": { en: "The account is deleted.", ar: "تم حذف الحساب." },

  "factors.state_on": { en: "On", ar: "مفعّل" },
  "factors.state_off": { en: "Off", ar: "غير مفعّل" },
  "factors.lead_on": { en: "Your password alone no longer signs you in.", ar: "لم تعد كلمة المرور وحدها تكفي للدخول." },
  "factors.lead_off": {
    en: "Your password alone signs you in. Add a passkey or an app.",
    ar: "كلمة المرور وحدها تكفي للدخول. أضف مفتاح مرور أو تطبيقًا.",
  },
  "factors.key": { en: "Key for the app", ar: "مفتاح التطبيق" },
  "factors.download": { en: "Download", ar: "تنزيل" },

  "steps.title": { en: "First steps", ar: "الخطوات الأولى" },
  "steps.done": { en: "done", ar: "تم" },
  "steps.hide": { en: "Hide the first steps", ar: "إخفاء الخطوات الأولى" },
  "steps.verify": { en: "Confirm your own email address", ar: "أكّد بريدك الإلكتروني" },
  "steps.verify_go": { en: "Go to my account", ar: "الانتقال إلى حسابي" },
  "steps.connect": { en: "Connect an application", ar: "اربط تطبيقًا" },
  "steps.connect_lead": {
    en: "Copy the lines for what you use. The address is filled in.",
    ar: "انسخ الأسطر لما تستخدمه، وموقع الخدمة مكتوب فيها.",
  },
  "steps.invite": { en: "Invite a colleague", ar: "ادعُ زميلًا" },
  "steps.invite_go": { en: "Go to the users", ar: "الانتقال إلى المستخدمين" },
  "steps.second_admin": { en: "Add a second administrator", ar: "عيّن مديرًا ثانيًا للنظام" },
  "steps.copy": { en: "Copy", ar: "نسخ" },
  "steps.copied": { en: "Copied", ar: "تم النسخ" },
} satisfies Record<string, { en: string | Counted; ar: string | Counted }>;

type Tools = typeof TOOLS;

/** The texts of a language. */
export const tools = <L extends "en" | "ar">(language: L) =>
  Object.fromEntries(Object.entries(TOOLS).map(([key, text]) => [key, text[language]])) as {
    [Key in keyof Tools]: Tools[Key][L];
  };
