//! `/setup`: the page and the request that make the first administrator with the link that the first start printed.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, StatusCode};

use super::auth::{Transport, any_text, read_registration, signed_in};
use super::caller::From;
use super::extract::JsonBody;
use super::forms::{self, Form, Input};
use crate::accounts;
use crate::app::App;
use crate::error::Result;
use crate::types::Locale;

/// The routes of this file. They are not part of the documented API: they work once.
pub fn routes() -> Router<App> {
    Router::new().route("/setup", get(page).post(set_up))
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

async fn page(headers: HeaderMap) -> Response {
    let locale = forms::locale_of(&headers);
    let form = match locale {
        Locale::En => Form {
            title: "The first administrator",
            lead: "This link works once. It makes the account that manages all others.",
            submit: "Create the account",
            done: "The account is there. You can sign in with it now.",
            next: ("/docs", "The API's documentation"),
        },
        Locale::Ar => Form {
            title: "المسؤول الأول",
            lead: "يعمل هذا الرابط مرة واحدة، وينشئ الحساب الذي يدير سائر الحسابات.",
            submit: "إنشاء الحساب",
            done: "أُنشئ الحساب، ويمكنك تسجيل الدخول به الآن.",
            next: ("/docs", "توثيق واجهة البرمجة"),
        },
    };
    let inputs = [Input::Email, Input::NewPassword, Input::FullName];
    forms::page(locale, &form, "/setup", &inputs, true)
}
