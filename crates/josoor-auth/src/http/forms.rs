//! Pages with one form each, in the language of the reader: the first administrator, a forgotten password, a new one, the
//! proof of an address. A page only shows; what it is for happens when its button is pressed, because mail programs follow
//! links by themselves. One-time tokens stand behind `#` in the address, from where the script takes them away at once.

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, header};

use super::problem::CodeEntry;
use crate::app::App;
use crate::types::Locale;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
     frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// The pages of this file and the script of all of them. They are not part of the documented API.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/forms/form.js", get(script))
        .route("/forgot-password", get(forgot))
        .route("/reset-password", get(reset))
        .route("/verify-email", get(verify))
}

async fn script() -> impl IntoResponse {
    (
        [
            (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
            (header::CACHE_CONTROL, "public, max-age=3600"),
        ],
        include_str!("../../assets/forms/form.js"),
    )
}

/// The language that the reader prefers.
pub fn locale_of(headers: &HeaderMap) -> Locale {
    preferred_locale(headers).unwrap_or_default()
}

/// The language that the request asks for, if it asks for one of ours.
pub fn preferred_locale(headers: &HeaderMap) -> Option<Locale> {
    headers
        .get(header::ACCEPT_LANGUAGE)
        .and_then(|value| Locale::from_accept_language(value.to_str().ok()?))
}

/// Text for HTML, also inside of quotes.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// An input of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// An address, which must be given.
    Email,
    /// The account's password, where it is wanted.
    CurrentPassword,
    /// A password to set, with a hint.
    NewPassword,
    /// A name, which may be left out.
    FullName,
}

/// What a page says.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Title and heading.
    pub title: &'static str,
    /// What the form is for.
    pub lead: &'static str,
    /// The button.
    pub submit: &'static str,
    /// Once it is done.
    pub done: &'static str,
    /// Where to go from there: a path and its name.
    pub next: (&'static str, &'static str),
}

/// What every page says.
struct Words {
    direction: &'static str,
    email: &'static str,
    password: &'static str,
    new_password: &'static str,
    hint: &'static str,
    name: &'static str,
    no_token: &'static str,
    offline: &'static str,
    later: &'static str,
}

const fn words(locale: Locale) -> &'static Words {
    match locale {
        Locale::En => &Words {
            direction: "ltr",
            email: "E-mail address",
            password: "Password of the account",
            new_password: "New password",
            hint: "At least 8 characters. A sentence is easy to remember and hard to guess.",
            name: "Name (optional)",
            no_token: "This page needs the whole link, with everything after the #.",
            offline: "The service did not answer. Nothing was changed; try again.",
            later: "Too many tries. Wait, then try again. Seconds to wait:",
        },
        Locale::Ar => &Words {
            direction: "rtl",
            email: "البريد الإلكتروني",
            password: "كلمة مرور الحساب",
            new_password: "كلمة المرور الجديدة",
            hint: "8 أحرف على الأقل. الجملة سهلة التذكر وصعبة التخمين.",
            name: "الاسم (اختياري)",
            no_token: "تحتاج هذه الصفحة إلى الرابط كاملًا، مع كل ما بعد علامة #.",
            offline: "لم تستجب الخدمة. لم يتغير شيء؛ حاول مرة أخرى.",
            later: "محاولات كثيرة. انتظر ثم حاول مرة أخرى. عدد ثواني الانتظار:",
        },
    }
}

/// The page of a form that posts to `action`. With `token`, the link's token goes with it.
pub fn page(locale: Locale, form: &Form, action: &str, inputs: &[Input], token: bool) -> Response {
    let words = words(locale);
    let mut fields = String::new();
    for input in inputs {
        fields.push_str(&match input {
            Input::Email => format!(
                r#"<label>{}<input name="email" type="email" dir="ltr" autocomplete="username" inputmode="email" autocapitalize="none" spellcheck="false" required></label>"#,
                words.email
            ),
            Input::CurrentPassword => format!(
                r#"<label>{}<input name="password" type="password" dir="ltr" autocomplete="current-password"></label>"#,
                words.password
            ),
            Input::NewPassword => format!(
                r#"<label>{}<input name="{}" type="password" dir="ltr" autocomplete="new-password" minlength="8" required aria-describedby="hint"></label>
<small id="hint">{}</small>"#,
                words.new_password,
                if action == "/setup" { "password" } else { "new_password" },
                words.hint
            ),
            Input::FullName => format!(
                r#"<label>{}<input name="full_name" dir="auto" autocomplete="name"></label>"#,
                words.name
            ),
        });
        fields.push('\n');
    }
    let Form {
        title,
        lead,
        submit,
        done,
        next: (next_path, next_name),
    } = form;
    let Words {
        direction,
        no_token,
        offline,
        later,
        ..
    } = words;
    let mut codes = String::new();
    for code in ["link_invalid", "link_expired", "link_used", "invalid_credentials"] {
        if let Some(entry) = CodeEntry::find(code) {
            let meaning = match locale {
                Locale::En => entry.meaning,
                Locale::Ar => entry.meaning_ar,
            };
            codes.push_str(&format!(
                " data-{}=\"{}\"",
                code.replace('_', "-"),
                escape(meaning)
            ));
        }
    }
    let token = if token { " data-token" } else { "" };
    let body = format!(
        r#"<!doctype html>
<html lang="{locale}" dir="{direction}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · JOSOOR Auth</title>
<link rel="stylesheet" href="/errors/page.css">
<link rel="icon" href="data:,">
<script src="/forms/form.js" defer></script>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{lead}</p>
<p id="message" role="alert" data-done="{done}" data-no-token="{no_token}" data-offline="{offline}" data-later="{later}"{codes}></p>
<form method="post" action="{action}"{token}>
{fields}<button>{submit}</button>
</form>
<p id="next" hidden><a href="{next_path}">{next_name}</a></p>
</main>
</body>
</html>
"#
    );
    (
        [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_LANGUAGE, locale.as_str()),
            (header::VARY, "accept-language"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
        ],
        body,
    )
        .into_response()
}

async fn forgot(headers: HeaderMap) -> Response {
    let locale = locale_of(&headers);
    let form = match locale {
        Locale::En => Form {
            title: "Forgot your password?",
            lead: "Give the e-mail address of your account. If there is one, we send a link to set a new password.",
            submit: "Send the link",
            done: "If there is an account with this address, a link is on its way. It works for 30 minutes.",
            next: ("/forgot-password", "Ask again"),
        },
        Locale::Ar => Form {
            title: "هل نسيت كلمة المرور؟",
            lead: "اكتب البريد الإلكتروني لحسابك. إن وُجد حساب به فسنرسل رابطًا لتعيين كلمة مرور جديدة.",
            submit: "إرسال الرابط",
            done: "إن وُجد حساب بهذا البريد فقد أُرسل إليه رابط صالح لمدة 30 دقيقة.",
            next: ("/forgot-password", "طلب رابط آخر"),
        },
    };
    page(locale, &form, "/auth/password/forgot", &[Input::Email], false)
}

async fn reset(headers: HeaderMap) -> Response {
    let locale = locale_of(&headers);
    let form = match locale {
        Locale::En => Form {
            title: "Choose a new password",
            lead: "Your account is then signed out everywhere. Sign in with the new password.",
            submit: "Set the password",
            done: "The password is set. Sign in with it.",
            next: ("/forgot-password", "Ask for another link"),
        },
        Locale::Ar => Form {
            title: "اختيار كلمة مرور جديدة",
            lead: "سيُسجَّل بعدها خروج حسابك من كل مكان. سجّل الدخول بكلمة المرور الجديدة.",
            submit: "تعيين كلمة المرور",
            done: "تم تعيين كلمة المرور. سجّل الدخول بها.",
            next: ("/forgot-password", "طلب رابط آخر"),
        },
    };
    page(locale, &form, "/auth/password/reset", &[Input::NewPassword], true)
}

async fn verify(headers: HeaderMap) -> Response {
    let locale = locale_of(&headers);
    let form = match locale {
        Locale::En => Form {
            title: "Confirm your e-mail address",
            lead: "Give the account's password, so that nobody else can use your mailbox for an account of theirs. To take \
                   a change of your address back, leave it empty.",
            submit: "Confirm",
            done: "Done.",
            next: ("/forgot-password", "You do not know the password? Set a new one"),
        },
        Locale::Ar => Form {
            title: "تأكيد بريدك الإلكتروني",
            lead: "اكتب كلمة مرور الحساب، حتى لا يستخدم أحد بريدك لحساب يخصه. وللتراجع عن تغيير بريدك اترك الحقل فارغًا.",
            submit: "تأكيد",
            done: "تم.",
            next: ("/forgot-password", "لا تعرف كلمة المرور؟ عيّن كلمة جديدة"),
        },
    };
    page(
        locale,
        &form,
        "/auth/email/verify",
        &[Input::CurrentPassword],
        true,
    )
}
