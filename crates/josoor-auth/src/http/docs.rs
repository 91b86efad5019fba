//! The viewer of the API's document at `/docs`: Swagger UI out of the binary, without any other host, in the frame of the other pages.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, Uri, header};

use super::{branding, files};
use crate::app::App;
use crate::config::BrandingConfig;
use crate::domain::Locale;
use crate::error::Error;
use crate::http::request::language::{direction, escape, page_locale, remember};

/// Swagger UI sets styles from its script, hence `unsafe-inline` for styles; scripts come from files alone.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// The files change with the program only.
const AN_HOUR: &str = "public, max-age=3600";

/// What stands around the viewer. Swagger UI itself speaks English.
struct Words {
    title: &'static str,
    lead: &'static str,
    skip: &'static str,
    account: &'static str,
    dark: &'static str,
    light: &'static str,
    noscript: &'static str,
    other: Locale,
    other_name: &'static str,
}

const ENGLISH: Words = Words {
    title: "API reference",
    lead: "Every path, its fields and its errors. Authorize with your own token to try one. The document itself:",
    skip: "Skip to content",
    account: "My account",
    dark: "Dark",
    light: "Light",
    noscript: "This viewer needs JavaScript. Read the document itself instead.",
    other: Locale::Ar,
    other_name: "العربية",
};

const ARABIC: Words = Words {
    title: "مرجع واجهة البرمجة",
    lead: "كل المسارات وحقولها وأخطاؤها، بالإنجليزية. لتجربة أحدها أدخل رمز وصولك بزر Authorize. الوثيقة نفسها:",
    skip: "الانتقال إلى المحتوى",
    account: "حسابي",
    dark: "داكن",
    light: "فاتح",
    noscript: "يحتاج هذا العارض إلى JavaScript. يمكنك قراءة الوثيقة نفسها بدلًا منه.",
    other: Locale::En,
    other_name: "English",
};

/// `GET /docs` and the files of the page under `/docs/{file}`. The document itself, `/openapi.json`, is the caller's.
pub fn routes() -> Router<App> {
    Router::new().route("/docs", get(page)).merge(file_routes())
}

fn file_routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/docs/{file}", get(file))
}

async fn page(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Response {
    let config = &app.config;
    let locale = page_locale(&uri, &headers, config.mail.locale);
    let base = config.server.public_url.path().trim_end_matches('/');
    let mut response = (
        [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_LANGUAGE, locale.as_str()),
            (header::VARY, "accept-language, cookie"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
        ],
        document(&config.branding, base, locale),
    )
        .into_response();
    if let Some(cookie) = remember(&uri, &config.server.public_url) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

fn document(branding: &BrandingConfig, base: &str, locale: Locale) -> String {
    let words = match locale {
        Locale::En => ENGLISH,
        Locale::Ar => ARABIC,
    };
    let name = escape(branding.name(locale));
    let wordmark = if branding.has_name() {
        format!("<b>{name}</b>")
    } else {
        include_str!("../../assets/docs/wordmark.html")
            .trim_end()
            .to_owned()
    };
    [
        ("lang", locale.as_str()),
        ("dir", direction(locale)),
        ("title", words.title),
        ("lead", words.lead),
        ("skip", words.skip),
        ("account", words.account),
        ("dark", words.dark),
        ("light", words.light),
        ("noscript", words.noscript),
        ("other", words.other.as_str()),
        ("other_name", words.other_name),
        ("style", files::style_sheet()),
        ("branding", &branding::style_link(branding, base)),
        ("icon", &branding::icon_link(branding, base)),
        ("wordmark", &wordmark),
        // The last, because it is the operator's text.
        ("name", &name),
    ]
    .into_iter()
    .fold(
        include_str!("../../assets/docs/index.html").to_owned(),
        |page, (key, value)| page.replace(&format!("{{{{{key}}}}}"), value),
    )
}

/// The big ones are kept packed, and sent so whatever `Accept-Encoding` says: every browser unpacks gzip.
async fn file(Path(name): Path<String>) -> Result<Response, Error> {
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    let (kind, is_packed, content): (_, _, &'static [u8]) = match name.as_str() {
        "swagger-ui.css" => (
            "text/css; charset=utf-8",
            true,
            include_bytes!("../../assets/docs/swagger-ui.css.gz"),
        ),
        "swagger-ui-bundle.js" => (
            SCRIPT,
            true,
            include_bytes!("../../assets/docs/swagger-ui-bundle.js.gz"),
        ),
        "swagger-ui-bundle.js.LICENSE.txt" => (
            "text/plain; charset=utf-8",
            false,
            include_bytes!("../../assets/docs/swagger-ui-bundle.js.LICENSE.txt"),
        ),
        "initializer.js" => (SCRIPT, false, include_bytes!("../../assets/docs/initializer.js")),
        "theme.js" => (SCRIPT, false, include_bytes!("../../assets/docs/theme.js")),
        "viewer.css" => (
            "text/css; charset=utf-8",
            false,
            include_bytes!("../../assets/docs/viewer.css"),
        ),
        _ => return Err(Error::NotFound),
    };
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, AN_HOUR)];
    Ok(if is_packed {
        (headers, [(header::CONTENT_ENCODING, "gzip")], content).into_response()
    } else {
        (headers, content).into_response()
    })
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::Request;
    use http::StatusCode;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn fetch(path: &str) -> (http::response::Parts, bytes::Bytes) {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let response = file_routes::<()>().oneshot(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        (parts, body.collect().await.expect("a body").to_bytes())
    }

    #[tokio::test]
    async fn the_page_names_only_files_that_are_there() {
        let page = document(&BrandingConfig::default(), "", Locale::En);
        assert!(POLICY.contains("script-src 'self';"), "{POLICY}");
        let named: Vec<_> = page.split('"').filter(|text| text.starts_with("docs/")).collect();
        assert_eq!(named.len(), 5, "{named:?}");
        for file in named {
            let (parts, content) = fetch(&format!("/{file}")).await;
            assert_eq!(parts.status, StatusCode::OK, "{file}");
            let is_gzip = content.starts_with(&[0x1f, 0x8b]);
            assert_eq!(is_gzip, parts.headers.contains_key("content-encoding"), "{file}");
        }
        assert!(files::find(files::style_sheet()).is_some());
        assert!(!page.contains("://"), "another host");
        assert_eq!(
            fetch("/docs/..%2fCargo.toml").await.0.status,
            StatusCode::NOT_FOUND
        );
    }

    #[test]
    fn nothing_is_left_to_fill_in_either_language() {
        for locale in [Locale::En, Locale::Ar] {
            let page = document(&BrandingConfig::default(), "/sub", locale);
            assert!(!page.contains("{{") && !page.contains("}}"), "{page}");
            assert!(page.contains(r#"href="/sub/assets/icon.svg""#), "{page}");
            assert!(
                page.contains(&format!(r#"<html lang="{locale}" dir="{}">"#, direction(locale))),
                "{page}"
            );
        }
        let page = document(&BrandingConfig::default(), "", Locale::Ar);
        assert!(page.contains("مرجع واجهة البرمجة · جسور"), "{page}");
        assert!(page.contains(r#"href="?lang=en""#), "{page}");
    }
}
