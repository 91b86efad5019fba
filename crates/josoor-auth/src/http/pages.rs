//! The hosted page of each failure's code, in the language of the reader: where `type` of a problem document leads. It needs
//! no script.

use axum::Router;
use axum::extract::{Extension, Path};
use axum::response::IntoResponse;
use axum::routing::get;
use http::{HeaderMap, Uri, header};
use std::sync::Arc;

use super::web;
use crate::domain::Locale;
use crate::error::Error;
use crate::http::request::context::RequestContext;
use crate::http::request::language::{direction, escape, page_locale};
use crate::http::response::codes::CodeEntry;

const POLICY: &str = "default-src 'none'; style-src 'self'; font-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// `GET /errors/{code}`.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/errors/{code}", get(page))
}

async fn page(
    Path(code): Path<String>,
    context: Option<Extension<Arc<RequestContext>>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Error> {
    let entry = CodeEntry::find(&code).ok_or(Error::NotFound)?;
    let locale = page_locale(&uri, &headers, Locale::En);
    let base = context
        .map(|context| context.settings.base_path().to_owned())
        .unwrap_or_default();
    Ok((
        [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_LANGUAGE, locale.as_str()),
            (header::VARY, "accept-language, cookie"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
        ],
        render(entry, locale, &escape(&base)),
    ))
}

fn render(entry: &CodeEntry, locale: Locale, base: &str) -> String {
    let (title, meaning, link, other, other_name) = match locale {
        Locale::En => (
            entry.title,
            entry.meaning,
            "The API's documentation",
            Locale::Ar,
            "العربية",
        ),
        Locale::Ar => (
            entry.title_ar,
            entry.meaning_ar,
            "توثيق واجهة البرمجة",
            Locale::En,
            "English",
        ),
    };
    let (code, status) = (entry.code, entry.status.as_u16());
    let (title, meaning) = (escape(title), mark_code(meaning));
    let (direction, style) = (direction(locale), web::style_sheet());
    format!(
        r#"<!doctype html>
<html lang="{locale}" dir="{direction}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · JOSOOR</title>
<link rel="stylesheet" href="{base}/{style}">
<link rel="icon" type="image/svg+xml" href="{base}/assets/icon.svg">
</head>
<body>
<header class="top">
<a class="brand" href="{base}/account"><img src="{base}/assets/icon.svg" alt="" width="28" height="28"><b lang="ar">جسور</b><b>JOSOOR</b></a>
<div class="tools"><a class="button quiet" href="?lang={other}" hreflang="{other}" lang="{other}">{other_name}</a></div>
</header>
<main>
<p class="small"><code dir="ltr">{status} {code}</code></p>
<h1>{title}</h1>
<div class="card">
<p>{meaning}</p>
<p><a href="{base}/docs">{link}</a></p>
</div>
</main>
</body>
</html>
"#
    )
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
    use axum::body::Body;
    use axum::extract::Request;
    use http::StatusCode;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::http::response::codes::CODES;

    async fn fetch(path: &str, languages: &str) -> (StatusCode, String) {
        let request = Request::get(path).header("accept-language", languages);
        let request = request.body(Body::empty()).expect("a request");
        let response = routes::<()>().oneshot(request).await.expect("an answer");
        let status = response.status();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        (status, String::from_utf8(body.to_vec()).expect("UTF-8"))
    }

    #[tokio::test]
    async fn every_code_has_its_page_in_both_languages() {
        for entry in CODES {
            let (status, page) = fetch(&format!("/errors/{}", entry.code), "en").await;
            assert_eq!(status, StatusCode::OK);
            assert!(page.contains(r#"<html lang="en" dir="ltr">"#) && page.contains(entry.title));
            assert_eq!(page.matches("<code").count(), page.matches("</code>").count());
            assert!(!page.contains('`') && !page.contains("style="), "{}", entry.code);
            let (_, page) = fetch(&format!("/errors/{}", entry.code), "ar-SA, en;q=0.5").await;
            assert!(page.contains(r#"<html lang="ar" dir="rtl">"#) && page.contains(entry.title_ar));
        }
        assert_eq!(fetch("/errors/no_such_code", "en").await.0, StatusCode::NOT_FOUND);
        let (_, page) = fetch("/errors/not_found?lang=ar", "en").await;
        assert!(
            page.contains(r#"dir="rtl""#) && page.contains(r#"href="?lang=en""#),
            "{page}"
        );
    }
}
