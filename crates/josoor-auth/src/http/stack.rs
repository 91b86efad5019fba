//! The layers that every request passes, put together once.

use std::sync::Arc;

use axum::middleware::{from_fn, from_fn_with_state};
use axum::{Extension, Router};

use super::settings::HttpSettings;
use super::{headers, measure, problem, request_id, serve, unread};
use crate::telemetry::Metrics;

/// Wraps a finished router (state and fallback included). From the outside in:
///
/// 1. the settings, because everything below reads them;
/// 2. the request's id, span and log line, so that everything below is logged under the id and the line has the
///    status that the client sees;
/// 3. the metrics, for the same status;
/// 4. what reads bodies that nobody else has read, whatever refused the request;
/// 5. the security headers, so that problem documents have them too;
/// 6. the problem documents, which also catch panics of everything below;
/// 7. the time limit, whose refusal is a problem as well;
/// 8. whatever layers the router brings, such as CORS.
pub fn wrap(router: Router, settings: Arc<HttpSettings>, metrics: Metrics) -> Router {
    // `layer` puts each one around what is there, so this list runs from the inside out.
    router
        .layer(from_fn_with_state(settings.clone(), serve::limit_time))
        .layer(from_fn_with_state(settings.clone(), problem::finish))
        .layer(from_fn_with_state(settings.clone(), headers::secure))
        .layer(from_fn(unread::discard))
        .layer(from_fn_with_state(metrics, measure::measure))
        .layer(from_fn_with_state(settings.clone(), request_id::track))
        .layer(Extension(settings))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;
    use axum::extract::Request;
    use axum::routing::get;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::http::extract::JsonBody;
    use crate::telemetry::Sample;

    async fn panics() {
        panic!("on purpose");
    }

    fn router(metrics: Metrics) -> Router {
        let settings = HttpSettings {
            request_timeout: Duration::from_millis(50),
            ..HttpSettings::default()
        };
        let router = Router::new()
            .route("/panic", get(panics))
            .route("/never", get(std::future::pending::<()>))
            .route(
                "/json",
                axum::routing::post(async |JsonBody(fields): JsonBody| fields.finish()),
            );
        wrap(router, Arc::new(settings), metrics)
    }

    #[tokio::test]
    async fn every_failure_has_document_id_and_headers() {
        let metrics = Metrics::new();
        for (method, path, body, status, code) in [
            ("GET", "/no/such", "", 404, "not_found"),
            ("GET", "/json", "", 405, "method_not_allowed"),
            ("GET", "/panic", "", 500, "internal"),
            ("GET", "/never", "", 503, "overloaded"),
            ("POST", "/json", "{", 400, "malformed_json"),
            ("POST", "/json", "{\"x\":1}", 422, "unknown_field"),
        ] {
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header("content-type", "application/json")
                .header("x-request-id", "given-1");
            let request = request.body(Body::from(body)).expect("a request");
            let response = router(metrics.clone()).oneshot(request).await.expect("an answer");
            assert_eq!(response.status(), status, "{path}");
            let headers = response.headers().clone();
            assert_eq!(headers["x-request-id"], "given-1");
            assert_eq!(headers["content-type"], problem::PROBLEM_JSON);
            assert_eq!(headers["x-content-type-options"], "nosniff");
            assert_eq!(headers.contains_key("retry-after"), status == 503);
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            let document: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(document["code"], code);
            assert_eq!(document["request_id"], "given-1");
        }
        let text = metrics.encode(&Sample::default());
        for line in [
            r#"josoor_auth_http_requests_total{method="GET",route="/panic",status="500"} 1"#,
            r#"josoor_auth_http_requests_total{method="GET",route="unmatched",status="404"} 1"#,
            "josoor_auth_http_requests_in_flight 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[tokio::test]
    async fn an_unacceptable_request_id_is_replaced() {
        let request = Request::get("/no/such").header("x-request-id", "<script>");
        let request = request.body(Body::empty()).expect("a request");
        let response = router(Metrics::new()).oneshot(request).await.expect("an answer");
        assert_eq!(response.headers()["x-request-id"].len(), 32);
    }
}
