/** What the audit trail records, by the service's own names. Both languages stand together: a new act adds one line. */
const ACTIONS = {
  register: { en: "Account created", ar: "إنشاء الحساب" },
  sign_in: { en: "Sign-in", ar: "تسجيل دخول" },
  mfa_request: { en: "Second factor requested", ar: "طلب عامل التحقق الثاني" },
  step_up: { en: "Identity confirmed again", ar: "تأكيد الهوية من جديد" },
  factor_add: { en: "Second factor added", ar: "إضافة عامل تحقق ثانٍ" },
  factor_remove: { en: "Second factor removed", ar: "إزالة عامل التحقق الثاني" },
  device_trust: { en: "Device trusted", ar: "الوثوق بجهاز" },
  session_revoke: { en: "Session ended", ar: "انتهاء جلسة" },
  refresh_reuse: { en: "Session copied: old token used", ar: "نسخ محتمل للجلسة" },
  device_forget: { en: "Device removed", ar: "إزالة جهاز معروف" },
  activity_confirm: { en: "Activity confirmed by its owner", ar: "تأكيد النشاط من المالك" },
  activity_report: { en: "Activity reported by its owner", ar: "بلاغ عن نشاط من المالك" },
  user_update: { en: "Profile changed", ar: "تغيير الملف الشخصي" },
  role_change: { en: "Role changed", ar: "تغيير الدور" },
  activation_change: { en: "Activated or deactivated", ar: "تفعيل أو تعطيل" },
  user_delete: { en: "Account deleted", ar: "حذف الحساب" },
  user_restore: { en: "Account restored", ar: "استعادة الحساب" },
  user_purge: { en: "Account deleted permanently", ar: "حذف الحساب نهائيًا" },
  account_secure: { en: "Account secured by its owner", ar: "تأمين الحساب من مالكه" },
  new_device: { en: "New device reported to its owner", ar: "إشعار المالك بجهاز جديد" },
  user_invite: { en: "Invitation", ar: "دعوة" },
  user_import: { en: "Users imported", ar: "استيراد مستخدمين" },
  export: { en: "Export", ar: "تصدير" },
  password_reset_request: { en: "Password reset requested", ar: "طلب إعادة تعيين كلمة المرور" },
  password_reset: { en: "Password reset", ar: "إعادة تعيين كلمة المرور" },
  password_change: { en: "Password changed", ar: "تغيير كلمة المرور" },
  email_verify: { en: "Email address confirmed", ar: "تأكيد البريد الإلكتروني" },
  email_change_request: { en: "Email change requested", ar: "طلب تغيير البريد الإلكتروني" },
  email_change: { en: "Email address changed", ar: "تغيير البريد الإلكتروني" },
  email_change_undo: { en: "Email change undone", ar: "التراجع عن تغيير البريد الإلكتروني" },
  key_change: { en: "Keys changed", ar: "تغيير المفاتيح" },
  configuration_change: { en: "Configuration changed", ar: "تغيير الإعدادات" },
  audit_boundary: { en: "Audit trail rules changed", ar: "تغيير قواعد سجل التدقيق" },
  audit_rebase: { en: "Audit trail restarted", ar: "بدء سجل التدقيق من جديد" },
  mail_retry: { en: "Email sent again", ar: "إعادة إرسال رسالة" },
  backup: { en: "Backup made", ar: "إنشاء نسخة احتياطية" },
  restore: { en: "Restored from a backup", ar: "استعادة من نسخة احتياطية" },
  mail_test: { en: "Test email sent", ar: "إرسال رسالة اختبار" },
  audit_erase: { en: "Personal data erased from audit trail", ar: "محو بيانات شخصية من سجل التدقيق" },
};

/** The texts `action.<action>` of a language. */
export const actions = (language: "en" | "ar") =>
  Object.fromEntries(Object.entries(ACTIONS).map(([name, text]) => [`action.${name}`, text[language]])) as Record<
    `action.${keyof typeof ACTIONS}`,
    string
  >;
