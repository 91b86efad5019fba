import { counted } from "./plural";

/**
 * English: what every page may need, and the sign-in. Keys are `place.what`; `error.<code>`, `field.<code>` and
 * `reason.<code>` answer to the service's own names.
 */
export const en = {
  "layout.skip": "Skip to the content",
  "layout.sign_out": "Sign out",
  "layout.loading": "Loading…",
  "layout.offline": "You are offline. Your work is safe, and we reconnect automatically.",
  "layout.unavailable": "The service does not answer at the moment. You stay signed in; we keep trying.",
  "layout.theme_is": "Colours: {theme}. Change",
  "layout.theme_system": "as the system",
  "layout.theme_light": "light",
  "layout.theme_dark": "dark",
  "layout.dev_mail": "Open the development mailbox",

  "offline.title": "No connection",
  "offline.no_network": "This device has no network. The page goes on by itself when you are back.",
  "offline.no_service": "The service does not answer at the moment. The page goes on by itself when it does.",
  "offline.retry": "Try again now",

  "dialog.cancel": "Cancel",
  "dialog.close": "Close",

  "form.problem": "There is a problem",
  "form.error_title": "Error",
  "form.sent": "Sent.",
  "form.sending": "Sending…",
  "form.try_now": "You can try again now.",

  "time.seconds": counted({ one: "{count} second", other: "{count} seconds" }),
  "time.minutes": counted({ one: "{count} minute", other: "{count} minutes" }),
  "time.hours": counted({ one: "{count} hour", other: "{count} hours" }),

  "field.email": "Email address",
  "field.password": "Password",
  "field.current_password": "Current password",
  "field.required": "Fill this in.",
  "field.invalid_email": "Write an email address like name@example.com.",
  "field.email_too_long": "This address is too long.",
  "field.forbidden_character": "There is a character in it that cannot be used, such as a space or an invisible one.",

  "password.show": "Show",
  "password.hide": "Hide",
  "password.is_shown": "Your password can be read on the screen.",
  "password.caps_lock": "Caps Lock is on.",
  "password.arabic_letters": "You are typing Arabic letters.",
  "password.latin_letters": "You are typing Latin letters.",

  "login.title": "Sign in",
  "login.submit": "Sign in",
  "login.forgot": "Forgot your password?",
  "login.no_account": "No account yet?",
  "login.register": "Create one",

  "signed_out.title": "You are signed out",
  "signed_out.here": "You have been signed out.",
  "signed_out.elsewhere": "You signed out in another tab.",
  "signed_out.again": "Sign in again",
  "signed_out.deleted_title": "Your account is deleted",
  "signed_out.deleted": "Your account and everything that belonged to it is gone. We sent you a message about it.",
  "signed_out.deleted_undo": "For {duration} the link in the message that we sent you can bring it back.",

  "reason.signed_out_elsewhere": "You signed out in another tab.",
  "reason.session_expired": "You were away for long, so you were signed out. Sign in again to go on where you were.",
  "reason.session_revoked": "This session was ended from another device or by an administrator. Sign in again.",
  "reason.password_changed":
    "The password of this account was changed, which ended this session. Sign in with the new one.",
  "reason.refresh_token_required": "This session cannot be continued any longer. Sign in again.",
  "reason.account_inactive": "This account was deactivated. Ask an administrator.",
  "reason.refresh_token_reused":
    "We signed you out on this device because your session may have been copied. Sign in again.",
  "reason.token_invalid": "This session cannot be continued. Sign in again.",

  "error.unknown": "Something went wrong. Try again.",
  "error.reference": "If it happens again, tell an administrator this number: {id}",
  "error.offline": "You are offline. Nothing was changed; try again when you are back.",
  "error.timeout": "The service took too long to answer. Try again.",
  "error.server_unavailable": "The service does not answer at the moment. Nothing you typed is lost; try again.",
  "error.rate_limited": "Too many attempts. Try again in {duration}.",
  "error.invalid_credentials": "That email address and password do not match. Try again or reset your password.",
  "error.not_found": "This was not found. It may have been deleted.",
  "error.signed_out": "You are signed out. Sign in again.",
  "error.validation_failed": "Some fields need fixing.",
  "error.forbidden": "This is not allowed.",

  "console.title": "Console",
};
