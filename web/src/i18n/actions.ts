/** What the audit trail records, by the service's own names. Both languages stand together: a new act adds one line. */
const ACTIONS = {
  register: { en: "Account created", ar: "إنشاء الحساب" },
  sign_in: { en: "Sign-in", ar: "تسجيل دخول" },
  session_revoke: { en: "Session ended", ar: "انتهاء جلسة" },
  refresh_reuse: { en: "Old key used again", ar: "استخدام مفتاح قديم" },
  device_forget: { en: "Device forgotten", ar: "إزالة جهاز معروف" },
  user_update: { en: "Profile changed", ar: "تغيير الملف الشخصي" },
  role_change: { en: "Role changed", ar: "تغيير الدور" },
  activation_change: { en: "Activated or deactivated", ar: "تفعيل أو تعطيل" },
  user_delete: { en: "Account deleted", ar: "حذف الحساب" },
  user_restore: { en: "Account restored", ar: "استعادة الحساب" },
  user_purge: { en: "Account removed for good", ar: "إزالة الحساب نهائيًا" },
  account_secure: { en: "Account secured by its owner", ar: "تأمين الحساب من مالكه" },
  new_device: { en: "Owner notified of a new device", ar: "إشعار المالك بجهاز جديد" },
  user_invite: { en: "Invitation", ar: "دعوة" },
  user_import: { en: "Users imported", ar: "استيراد مستخدمين" },
  export: { en: "Export", ar: "تصدير" },
  password_reset_request: { en: "New password asked for", ar: "طلب كلمة مرور جديدة" },
  password_reset: { en: "Password set by link", ar: "تعيين كلمة المرور برابط" },
  password_change: { en: "Password changed", ar: "تغيير كلمة المرور" },
  email_verify: { en: "Email address confirmed", ar: "تأكيد البريد الإلكتروني" },
  email_change_request: { en: "Email change asked for", ar: "طلب تغيير البريد الإلكتروني" },
  email_change: { en: "Email address changed", ar: "تغيير البريد الإلكتروني" },
  email_change_undo: { en: "Email change taken back", ar: "التراجع عن تغيير البريد" },
  key_change: { en: "Keys changed", ar: "تغيير المفاتيح" },
  configuration_change: { en: "Configuration changed", ar: "تغيير الإعدادات" },
  audit_boundary: { en: "Audit trail: a new rule", ar: "قاعدة جديدة لسجل التدقيق" },
  audit_rebase: { en: "Audit trail begun again", ar: "بدء سجل التدقيق من جديد" },
  audit_erase: { en: "Personal data erased from the audit trail", ar: "محو بيانات شخصية من سجل التدقيق" },
};

/** The texts `action.<action>` of a language. */
export const actions = (language: "en" | "ar") =>
  Object.fromEntries(Object.entries(ACTIONS).map(([name, text]) => [`action.${name}`, text[language]])) as Record<
    `action.${keyof typeof ACTIONS}`,
    string
  >;
