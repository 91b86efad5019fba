//! The security headers of every response (OWASP Secure Headers, ASVS 3.4).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue, header};

use super::settings::HttpSettings;

/// What every response says, unless its handler says something else under the same name.
const DEFAULTS: [(HeaderName, &str); 8] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    // Most answers are about one user; whoever serves something public says so.
    (header::CACHE_CONTROL, "no-store"),
];

/// Two years, as browsers ask for (RFC 6797). Only this host: others of the domain are not ours to decide about.
const HSTS: &str = "max-age=63072000";

/// Middleware: adds the headers that are missing.
pub async fn secure(State(settings): State<Arc<HttpSettings>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in DEFAULTS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if settings.public_url.starts_with("https://") {
        headers
            .entry(header::STRICT_TRANSPORT_SECURITY)
            .or_insert(HeaderValue::from_static(HSTS));
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    async fn headers(public_url: &str) -> http::HeaderMap {
        let settings = Arc::new(HttpSettings {
            public_url: public_url.to_owned(),
            ..HttpSettings::default()
        });
        Router::new()
            .route("/", get(async || [(header::CACHE_CONTROL, "public, max-age=60")]))
            .layer(from_fn_with_state(settings, secure))
            .oneshot(Request::new(Body::empty()))
            .await
            .expect("an answer")
            .headers()
            .clone()
    }

    #[tokio::test]
    async fn defaults_yield_to_the_handler_and_hsts_needs_https() {
        let plain = headers("http://localhost:8000").await;
        assert_eq!(plain["cache-control"], "public, max-age=60");
        assert_eq!(plain["x-frame-options"], "DENY");
        assert_eq!(
            plain["content-security-policy"],
            "default-src 'none'; frame-ancestors 'none'"
        );
        assert!(!plain.contains_key("strict-transport-security"));
        assert!(
            headers("https://auth.example")
                .await
                .contains_key("strict-transport-security")
        );
    }
}
