//! The pages of signed-in users: account and console. They are built by Vite (`web/`), and a program in the browser draws them.
//!
//! Every page is the same small document in the reader's language, which loads the program that draws it; the title and what
//! the program has to know of the configuration are put in here. The files have their content's hash in their
//! names and may be kept for a year; the document never is.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use serde_json::json;

use crate::app::App;
use crate::domain::Locale;
use crate::error::{Error, Result};
use crate::http::pages::errors::not_found;
use crate::http::pages::frame::Frame;
use crate::http::request::accept::wants_page;
use crate::http::request::language::{escape, page_locale, remember};
use crate::http::{branding, files};
use crate::mail::Mailer;

/// No script and no style but our own files, nothing from elsewhere, in no frame; and no text that becomes a script:
/// the pages make no policy for such texts (Trusted Types), so that none can be made.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; \
     connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Where pages are, and what they are called until their program has drawn them.
const PAGES: [(&str, &str, &str); 4] = [
    ("/account", "My account", "حسابي"),
    ("/account/{*section}", "My account", "حسابي"),
    ("/console", "Console", "لوحة الإدارة"),
    ("/console/{*section}", "Console", "لوحة الإدارة"),
];

/// The routes of this file. They are not part of the documented API.
pub fn routes() -> Router<App> {
    let mut router = Router::new()
        .route("/", get(home))
        .merge(files::routes())
        // Where password managers send their users (W3C, A Well-Known URL for Changing Passwords).
        .route("/.well-known/change-password", get(change_password));
    for (path, title, title_ar) in PAGES {
        let page = async move |State(app): State<App>, uri: Uri, headers: HeaderMap| {
            shell(&app, (title, title_ar), &uri, &headers)
        };
        router = router.route(path, get(page));
    }
    router
}

/// For people the way in; for programs there is nothing here.
async fn home(State(app): State<App>, headers: HeaderMap) -> Result<Redirect> {
    if !wants_page(&headers) {
        return Err(Error::NotFound);
    }
    Ok(Redirect::to(&app.config.server.public_url.join("/account")))
}

async fn change_password(State(app): State<App>) -> Response {
    let to = app.config.server.public_url.join("/account/password");
    (StatusCode::FOUND, [(header::LOCATION, to)]).into_response()
}

/// The answer where there is no route: a page for browsers, and a problem document for programs.
pub async fn nothing(
    State(app): State<App>,
    Extension(frame): Extension<Arc<Frame>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response> {
    let is_read = matches!(method, Method::GET | Method::HEAD);
    // No page's path ends with a slash. In the API such a path is nothing, whatever the method.
    let path = uri.path().trim_matches('/');
    let is_api = path.starts_with("auth/") || path.starts_with("admin/");
    if is_read && uri.path().ends_with('/') && !path.is_empty() && !is_api {
        let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
        let to = app.config.server.public_url.join(&format!("{path}{query}"));
        return Ok(Redirect::permanent(&to).into_response());
    }
    if wants_page(&headers) && is_read {
        let locale = page_locale(&uri, &headers, app.config.mail.locale);
        return Ok(not_found(&frame, locale));
    }
    Err(Error::NotFound)
}

/// The document of a page.
fn shell(app: &App, title: (&str, &str), uri: &Uri, headers: &HeaderMap) -> Response {
    let config = &app.config;
    let base = config.server.public_url.path().trim_end_matches('/');
    let locale = page_locale(uri, headers, config.mail.locale);
    let (name, title) = match locale {
        Locale::En => ("shell.en.html", title.0),
        Locale::Ar => ("shell.ar.html", title.1),
    };
    let template = files::text(name);
    let settings = json!({
        "base": base,
        "passwordMinLength": config.password.min_length,
        "deletionGrace": config.account.deletion_grace.as_secs(),
        "mailCode": config.login.mail_code,
        "devMail": matches!(app.mailer, Mailer::Mailbox),
        "branding": branding::for_program(&config.branding, base),
    });
    let document = template
        .replace("{{base}}", &escape(base))
        .replace("{{icon}}", &branding::icon_link(&config.branding, base))
        .replace("{{branding}}", &branding::style_link(&config.branding, base))
        .replace(
            "{{title}}",
            &escape(&format!("{title} · {}", config.branding.name(locale))),
        )
        .replace("{{config}}", &escape(&settings.to_string()));
    let mut response = (
        [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_LANGUAGE, locale.as_str()),
            (header::VARY, "accept-language, cookie"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
        ],
        document,
    )
        .into_response();
    if let Some(cookie) = remember(uri, &config.server.public_url) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}
