/** The kinds of mails, by the service's own names, for the outbox. Both languages stand together: a new mail adds one line. */
const MAILS = {
  reset_request: { en: "Request: reset password", ar: "طلب إعادة تعيين كلمة المرور" },
  verify_request: { en: "Request: confirm email", ar: "طلب تأكيد البريد" },
  registration_request: { en: "Request: create account", ar: "طلب إنشاء حساب" },
  email_change_request: { en: "Request: change email", ar: "طلب تغيير البريد" },
  verify_email: { en: "Confirm email", ar: "تأكيد البريد" },
  finish_registration: { en: "Finish registration", ar: "إكمال إنشاء الحساب" },
  already_registered: { en: "Account already exists", ar: "الحساب موجود بالفعل" },
  reset_password: { en: "Reset password", ar: "إعادة تعيين كلمة المرور" },
  invitation: { en: "Invitation", ar: "دعوة" },
  password_changed: { en: "Password changed", ar: "تغيير كلمة المرور" },
  confirm_email: { en: "Confirm new email", ar: "تأكيد البريد الجديد" },
  email_wanted: { en: "Email wanted by another account", ar: "طلب حساب آخر للبريد" },
  email_changed: { en: "Email changed, to the old one", ar: "تغيير البريد، إلى القديم" },
  email_change_done: { en: "Email changed, to the new one", ar: "تغيير البريد، إلى الجديد" },
  email_restored: { en: "Email change undone", ar: "التراجع عن تغيير البريد" },
  refresh_reuse: { en: "Session may be copied", ar: "نسخ محتمل للجلسة" },
  session_limit: { en: "Too many sessions", ar: "جلسات كثيرة" },
  account_deleted: { en: "Account deleted permanently", ar: "حذف الحساب نهائيًا" },
  account_deletion: { en: "Account deleted", ar: "حذف الحساب" },
  account_frozen: { en: "Account frozen", ar: "تجميد الحساب" },
  account_restored: { en: "Account restored", ar: "استعادة الحساب" },
  new_device: { en: "New device", ar: "جهاز جديد" },
  factor_added: { en: "Second factor added", ar: "إضافة عامل تحقق ثانٍ" },
  factor_removed: { en: "Second factor removed", ar: "إزالة عامل التحقق الثاني" },
  passkey_added: { en: "Passkey added", ar: "إضافة مفتاح مرور" },
  passkey_removed: { en: "Passkey removed", ar: "إزالة مفتاح مرور" },
  factors_reset: { en: "Second factors reset", ar: "إعادة ضبط عوامل التحقق" },
  recovery_codes_replaced: { en: "New recovery codes", ar: "رموز استرداد جديدة" },
  recovery_code_used: { en: "Recovery code used", ar: "استخدام رمز استرداد" },
  recovery_codes_low: { en: "Few recovery codes left", ar: "رموز استرداد قليلة متبقية" },
  sign_in_request: { en: "Request: code to sign in", ar: "طلب رمز للدخول" },
  sign_in_code: { en: "Code to sign in", ar: "رمز الدخول" },
  failure_limit_request: { en: "Request: many failed sign-ins", ar: "طلب: محاولات دخول فاشلة كثيرة" },
  confirm_sign_in: { en: "Code after many failed sign-ins", ar: "رمز بعد محاولات فاشلة كثيرة" },
  step_up_code: { en: "Code to confirm identity", ar: "رمز تأكيد الهوية" },
  failure_limit: { en: "Many failed sign-ins", ar: "محاولات دخول فاشلة كثيرة" },
  password_removed: { en: "Password removed", ar: "إزالة كلمة المرور" },
  mfa_failed: { en: "Wrong codes after the right password", ar: "رموز خاطئة بعد كلمة المرور الصحيحة" },
  new_admin: { en: "New administrator", ar: "مدير نظام جديد" },
};

/** The texts `mail.<kind>` of a language. */
export const mails = (language: "en" | "ar") =>
  Object.fromEntries(Object.entries(MAILS).map(([kind, text]) => [`mail.${kind}`, text[language]])) as Record<
    `mail.${keyof typeof MAILS}`,
    string
  >;
