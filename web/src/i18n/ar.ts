import shared from "../../../crates/josoor-auth/templates/pages/texts/shared.ar.json";
import type { en } from "./en";

/** Arabic: what every page may need. */
export const ar: typeof en = {
  ...shared,

  "offline.title": "لا يوجد اتصال",
  "offline.no_network": "هذا الجهاز غير متصل بالشبكة. ستتابع الصفحة عند عودة الاتصال.",
  "offline.no_service": "الخدمة لا تستجيب. ستتابع الصفحة عندما تستجيب.",
  "offline.retry": "إعادة المحاولة الآن",
};
