//! Samples of pages and mails in either theme, for the preview of the branding in the console. They say nothing that the pages
//! themselves do not say to every visitor.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, Uri, header};
use minijinja::context;

use super::frame::{Content, Frame};
use super::texts;
use crate::app::App;
use crate::domain::{Locale, Theme};
use crate::error::{Error, Result};
use crate::http::branding::with_logo_inside;
use crate::http::request::language::page_locale;
use crate::mail;

/// A mail has its style in attributes, and its logo in itself.
const MAIL_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox",
);

/// `GET /branding/samples/{sample}?lang=&theme=`, not part of the documented API.
pub fn routes() -> Router<App> {
    Router::new().route("/branding/samples/{sample}", get(sample))
}

async fn sample(
    Path(name): Path<String>,
    State(app): State<App>,
    Extension(frame): Extension<Arc<Frame>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response> {
    let locale = page_locale(&uri, &headers, app.config.mail.locale);
    let is_dark = uri
        .query()
        .is_some_and(|query| query.split('&').any(|pair| pair == "theme=dark"));
    let theme = if is_dark { Theme::Dark } else { Theme::Light };
    let content = match name.as_str() {
        "sign-in" => sign_in(locale),
        "notice" => notice(locale),
        "mail" => return Ok(sample_mail(&app, locale)),
        _ => return Err(Error::NotFound),
    };
    let document = frame.render_sample(&content, locale, theme)?;
    Ok(frame.respond_sample(document, locale))
}

fn sign_in(locale: Locale) -> Content {
    Content {
        template: "sign_in.html",
        title: texts::text(locale, "login.title").to_owned(),
        values: context! {
            form => context! { action => "#main" },
            address => context! { sign_in => "#main", register => "#main", forgot => "#main" },
            can_register => true,
        },
    }
}

fn notice(locale: Locale) -> Content {
    Content {
        template: "done.html",
        title: texts::text(locale, "verify.done_title").to_owned(),
        values: context! { kind => "verify", address => context! { account => "#main" } },
    }
}

fn sample_mail(app: &App, locale: Locale) -> Response {
    let config = &app.config;
    let mail = mail::sample_mail(locale, config.server.public_url.as_str(), &config.branding);
    let mut response = Html(with_logo_inside(&mail)).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_LANGUAGE,
        HeaderValue::from_static(locale.as_str()),
    );
    headers.insert(header::CONTENT_SECURITY_POLICY, MAIL_POLICY);
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
    response
}
