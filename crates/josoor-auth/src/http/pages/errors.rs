//! The hosted page of each failure's code, in the language of the reader: where `type` of a problem document leads; and the page
//! of what is not there.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode, Uri};
use minijinja::context;
use minijinja::value::Value;

use super::frame::{Content, Frame, address};
use super::texts;
use crate::app::App;
use crate::domain::Locale;
use crate::error::Error;
use crate::http::request::accept::wants_page;
use crate::http::request::language::{escape, page_locale};
use crate::http::response::codes::CodeEntry;

/// `GET /errors/{code}`.
pub fn routes() -> Router<App> {
    Router::new().route("/errors/{code}", get(page))
}

async fn page(
    Path(code): Path<String>,
    State(app): State<App>,
    Extension(frame): Extension<Arc<Frame>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let locale = page_locale(&uri, &headers, app.config.mail.locale);
    let Some(entry) = CodeEntry::find(&code) else {
        return if wants_page(&headers) {
            not_found(&frame, locale)
        } else {
            Error::NotFound.into_response()
        };
    };
    respond(
        &frame,
        StatusCode::OK,
        &content(entry, locale, frame.base()),
        locale,
    )
}

/// The page of an address at which there is nothing.
pub fn not_found(frame: &Frame, locale: Locale) -> Response {
    let content = Content {
        template: "notice.html",
        title: texts::text(locale, "not_found.title").to_owned(),
        values: context! {
            text => texts::text(locale, "not_found.lead"),
            again => address(&format!("{}/account", frame.base())),
            label => texts::text(locale, "unauthorized.account"),
        },
    };
    respond(frame, StatusCode::NOT_FOUND, &content, locale)
}

fn respond(frame: &Frame, status: StatusCode, content: &Content, locale: Locale) -> Response {
    let other = match locale {
        Locale::En => "?lang=ar",
        Locale::Ar => "?lang=en",
    };
    match frame.render(content, locale, other) {
        Ok(document) => frame.respond(status, document, locale),
        Err(error) => error.into_response(),
    }
}

fn content(entry: &CodeEntry, locale: Locale, base: &str) -> Content {
    let (title, meaning) = match locale {
        Locale::En => (entry.title, entry.meaning),
        Locale::Ar => (entry.title_ar, entry.meaning_ar),
    };
    Content {
        template: "error.html",
        title: title.to_owned(),
        values: context! {
            status => entry.status.as_u16(),
            code => entry.code,
            meaning => Value::from_safe_string(mark_code(meaning)),
            docs => address(&format!("{base}/docs")),
        },
    }
}

/// Escapes the text and turns what stands between backticks into `<code>`.
fn mark_code(text: &str) -> String {
    let mut marked = String::new();
    for (position, part) in text.split('`').enumerate() {
        let part = escape(part);
        if position % 2 == 0 {
            marked.push_str(&part);
        } else {
            marked.push_str("<code>");
            marked.push_str(&part);
            marked.push_str("</code>");
        }
    }
    marked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BrandingConfig;
    use crate::http::response::codes::CODES;

    #[test]
    fn every_code_has_its_page_in_both_languages() {
        let frame = Frame::new("/sub", &BrandingConfig::default());
        for entry in CODES {
            for (locale, html, title) in [
                (Locale::En, r#"<html lang="en" dir="ltr">"#, entry.title),
                (Locale::Ar, r#"<html lang="ar" dir="rtl">"#, entry.title_ar),
            ] {
                let content = content(entry, locale, frame.base());
                let page = frame.render(&content, locale, "?lang=x").expect("a page");
                assert!(page.contains(html) && page.contains(&escape(title)), "{page}");
                assert_eq!(page.matches("<code").count(), page.matches("</code>").count());
                let body = page.split("</style>").nth(1).expect("a body");
                let body = body.split("<script>").next().expect("a body");
                assert!(!body.contains('`') && !body.contains("style="), "{}", entry.code);
                assert!(page.contains(r#"href="/sub/docs""#));
            }
        }
    }
}
