//! The viewer of the API's document at `/docs`: Swagger UI out of the binary, without any other host.

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header;

use crate::error::Error;

/// Swagger UI sets styles from its script, hence `unsafe-inline` for styles; scripts come from files alone.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// The files change with the program only.
const AN_HOUR: &str = "public, max-age=3600";

/// `GET /docs` and the files of the page under `/docs/{file}`. The document itself, `/openapi.json`, is the caller's.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/docs", get(page))
        .route("/docs/{file}", get(file))
}

async fn page() -> impl IntoResponse {
    (
        [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
        ],
        include_str!("../../assets/docs/index.html"),
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
        let response = routes::<()>().oneshot(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        (parts, body.collect().await.expect("a body").to_bytes())
    }

    #[tokio::test]
    async fn the_page_names_only_files_that_are_there() {
        let (parts, page) = fetch("/docs").await;
        assert_eq!(parts.status, StatusCode::OK);
        let page = String::from_utf8(page.to_vec()).expect("UTF-8");
        let policy = parts.headers["content-security-policy"].to_str().expect("ASCII");
        assert!(policy.contains("script-src 'self';"), "{policy}");
        let named: Vec<_> = page.split('"').filter(|text| text.starts_with("docs/")).collect();
        assert_eq!(named.len(), 5, "{named:?}");
        for file in named {
            let (parts, content) = fetch(&format!("/{file}")).await;
            assert_eq!(parts.status, StatusCode::OK, "{file}");
            let is_gzip = content.starts_with(&[0x1f, 0x8b]);
            assert_eq!(is_gzip, parts.headers.contains_key("content-encoding"), "{file}");
        }
        assert!(!page.contains("://"), "another host");
        assert_eq!(
            fetch("/docs/..%2fCargo.toml").await.0.status,
            StatusCode::NOT_FOUND
        );
    }
}
