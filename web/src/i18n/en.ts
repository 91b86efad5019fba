/**
 * English: what every page may need, and the sign-in. Keys are `place.what`; `error.<code>`, `field.<code>` and
 * `reason.<code>` answer to the service's own names.
 */
export const en = {
  "layout.skip": "Skip to content",
  "layout.sign_out": "Sign out",
  "layout.loading": "Loading…",
  "layout.offline": "You're offline. Your work is safe, and we'll reconnect automatically.",
  "layout.unavailable": "The service isn't responding. You stay signed in while we keep trying.",
  "layout.dev_mail": "Open the development mailbox",

  "offline.title": "No connection",
  "offline.no_network": "This device is offline. The page continues once you're back.",
  "offline.no_service": "The service isn't responding. The page continues once it does.",
  "offline.retry": "Try again now",

  "form.problem": "Check the following",
  "form.error_title": "Error",
  "form.sent": "Sent.",
  "form.sending": "Sending…",

  "field.email": "Email address",
  "field.password": "Password",
  "field.current_password": "Current password",
  "field.required": "Fill in this field.",
  "field.invalid_email": "Enter an email address like name@example.com.",

  "password.show": "Show",
  "password.hide": "Hide",
  "password.is_shown": "Your password is visible on the screen.",
  "password.caps_lock": "Caps Lock is on.",
  "password.arabic_letters": "You are typing Arabic letters.",
  "password.latin_letters": "You are typing Latin letters.",

  "login.title": "Sign in",
  "login.submit": "Sign in",
  "login.forgot": "Forgot your password?",
  "login.no_account": "No account yet?",
  "login.register": "Create one",

  "error.unknown": "Something went wrong. Try again.",
  "error.offline": "You're offline. Nothing changed. Try again when you're back.",
  "error.timeout": "The service took too long to respond. Try again.",
  "error.server_unavailable": "The service isn't responding. What you typed is safe. Try again.",
  "error.invalid_credentials": "Email address and password do not match. Try again or reset your password.",
};
