//! `/setup`: the page and the request that make the first administrator with the link that the first start printed.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode, header};

use super::auth::{Transport, any_text, read_registration, signed_in};
use super::caller::From;
use super::extract::JsonBody;
use crate::accounts;
use crate::app::App;
use crate::error::Result;
use crate::types::Locale;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
     frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// The routes of this file. They are not part of the documented API: they work once.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/setup", get(page).post(set_up))
        .route("/setup/setup.js", get(script))
}

async fn script() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")],
        include_str!("../../assets/setup/setup.js"),
    )
}

async fn set_up(
    State(app): State<App>,
    From(client): From,
    headers: HeaderMap,
    JsonBody(mut fields): JsonBody,
) -> Result<Response> {
    let token = fields.required("token", any_text);
    let registration = read_registration(&mut fields, &headers, &app);
    let (token, registration) = fields.finish_with(|| Some((token?, registration()?)))?;
    let issued = accounts::set_up(&app, token.expose(), registration, &client).await?;
    Ok(signed_in(
        &app,
        StatusCode::CREATED,
        issued,
        Transport::Body,
        &headers,
    ))
}

/// The words of the page.
struct Words {
    direction: &'static str,
    title: &'static str,
    lead: &'static str,
    email: &'static str,
    password: &'static str,
    hint: &'static str,
    name: &'static str,
    submit: &'static str,
    done: &'static str,
    next: &'static str,
    no_token: &'static str,
    offline: &'static str,
}

const ENGLISH: Words = Words {
    direction: "ltr",
    title: "The first administrator",
    lead: "This link works once. It makes the account that manages all others.",
    email: "E-mail address",
    password: "Password",
    hint: "At least 8 characters. A sentence is easy to remember and hard to guess.",
    name: "Name (optional)",
    submit: "Create the account",
    done: "The account is there. You can sign in with it now.",
    next: "The API's documentation",
    no_token: "This page needs the whole link that the service printed at its start, with everything after the #.",
    offline: "The service did not answer. Nothing was changed; try again.",
};

const ARABIC: Words = Words {
    direction: "rtl",
    title: "المسؤول الأول",
    lead: "يعمل هذا الرابط مرة واحدة، وينشئ الحساب الذي يدير سائر الحسابات.",
    email: "البريد الإلكتروني",
    password: "كلمة المرور",
    hint: "8 أحرف على الأقل. الجملة سهلة التذكر وصعبة التخمين.",
    name: "الاسم (اختياري)",
    submit: "إنشاء الحساب",
    done: "أُنشئ الحساب، ويمكنك تسجيل الدخول به الآن.",
    next: "توثيق واجهة البرمجة",
    no_token: "تحتاج هذه الصفحة إلى الرابط كاملًا كما طبعته الخدمة عند بدء تشغيلها، مع كل ما بعد علامة #.",
    offline: "لم تستجب الخدمة. لم يتغير شيء؛ حاول مرة أخرى.",
};

async fn page(headers: HeaderMap) -> impl IntoResponse {
    let locale = headers
        .get(header::ACCEPT_LANGUAGE)
        .and_then(|languages| Locale::from_accept_language(languages.to_str().ok()?))
        .unwrap_or_default();
    let words = match locale {
        Locale::En => &ENGLISH,
        Locale::Ar => &ARABIC,
    };
    (
        [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_LANGUAGE, locale.as_str()),
            (header::VARY, "accept-language"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
        ],
        render(words, locale),
    )
}

fn render(words: &Words, locale: Locale) -> String {
    let Words {
        direction,
        title,
        lead,
        email,
        password,
        hint,
        name,
        submit,
        done,
        next,
        no_token,
        offline,
    } = words;
    format!(
        r#"<!doctype html>
<html lang="{locale}" dir="{direction}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · JOSOOR Auth</title>
<link rel="stylesheet" href="/errors/page.css">
<link rel="icon" href="data:,">
<script src="/setup/setup.js" defer></script>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{lead}</p>
<p id="message" role="alert" data-done="{done}"></p>
<form method="post" data-no-token="{no_token}" data-offline="{offline}">
<label>{email}<input name="email" type="email" dir="ltr" autocomplete="username" required></label>
<label>{password}<input name="password" type="password" dir="ltr" autocomplete="new-password" minlength="8" required aria-describedby="hint"></label>
<small id="hint">{hint}</small>
<label>{name}<input name="full_name" dir="auto" autocomplete="name"></label>
<button>{submit}</button>
</form>
<p id="next" hidden><a href="/docs">{next}</a></p>
</main>
</body>
</html>
"#
    )
}
