//! The hosted page of each failure's code, in the language of the reader: where `type` of a problem document leads.

use axum::Router;
use axum::extract::Path;
use axum::response::IntoResponse;
use axum::routing::get;
use http::{HeaderMap, header};

use super::forms::{escape, locale_of};
use super::problem::CodeEntry;
use crate::error::Error;
use crate::types::Locale;

const POLICY: &str =
    "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
const AN_HOUR: &str = "public, max-age=3600";

/// `GET /errors/{code}` and its style sheet.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/errors/page.css", get(style))
        .route("/errors/{code}", get(page))
}

async fn style() -> impl IntoResponse {
    (
        [
            (header::CONTENT_TYPE, "text/css; charset=utf-8"),
            (header::CACHE_CONTROL, AN_HOUR),
        ],
        include_str!("../../assets/pages/page.css"),
    )
}

async fn page(Path(code): Path<String>, headers: HeaderMap) -> Result<impl IntoResponse, Error> {
    let entry = CodeEntry::find(&code).ok_or(Error::NotFound)?;
    let locale = locale_of(&headers);
    Ok((
        [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_LANGUAGE, locale.as_str()),
            (header::VARY, "accept-language"),
            (header::CACHE_CONTROL, AN_HOUR),
            (header::CONTENT_SECURITY_POLICY, POLICY),
        ],
        render(entry, locale),
    ))
}

fn render(entry: &CodeEntry, locale: Locale) -> String {
    let (direction, title, meaning, link) = match locale {
        Locale::En => ("ltr", entry.title, entry.meaning, "The API's documentation"),
        Locale::Ar => ("rtl", entry.title_ar, entry.meaning_ar, "توثيق واجهة البرمجة"),
    };
    let (code, status) = (entry.code, entry.status.as_u16());
    let (title, meaning) = (escape(title), mark_code(meaning));
    format!(
        r#"<!doctype html>
<html lang="{locale}" dir="{direction}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · JOSOOR Auth</title>
<link rel="stylesheet" href="/errors/page.css">
<link rel="icon" href="data:,">
</head>
<body>
<main>
<p class="code"><code dir="ltr">{status} {code}</code></p>
<h1>{title}</h1>
<p>{meaning}</p>
<p><a href="/docs">{link}</a></p>
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

    use super::super::problem::CODES;
    use super::*;

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
        assert_eq!(fetch("/errors/page.css", "en").await.0, StatusCode::OK);
    }
}
