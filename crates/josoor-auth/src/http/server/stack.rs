//! What every request passes on its way in and out, in one place and in one order.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::Route;
use futures_util::FutureExt;
use http::{HeaderMap, Method};
use tokio::time::timeout;
use tower::layer::layer_fn;
use tower::{ServiceExt, service_fn};

use crate::error::Error;
use crate::http::request::client_address::is_trusted;
use crate::http::request::context::{RequestContext, X_CLIENT_REQUEST_ID, X_REQUEST_ID, is_check, is_probe};
use crate::http::response::document;
use crate::http::server::drain_body;
use crate::http::server::headers::SecurityHeaders;
use crate::http::server::settings::HttpSettings;
use crate::telemetry::{Metrics, RequestStart, RouteFigures, Scope, Trace, Traces, codes, steps};

/// What lies around every handler. From the outside in:
///
/// 1. the request's id and trace, so that everything below is logged and traced under them, and its line in the log, which has the
///    status that the client sees;
/// 2. the metrics, for the same status;
/// 3. the draining of bodies that the handler has not read;
/// 4. the security headers, so that problem documents have them too;
/// 5. the problem documents, which also catch panics of everything below;
/// 6. the time limit, whose refusal is a problem as well;
/// 7. whatever layers the router brings, such as CORS.
pub struct Stack {
    /// The settings of the HTTP side.
    pub settings: Arc<HttpSettings>,
    headers: SecurityHeaders,
    metrics: Metrics,
    traces: Option<Traces>,
}

impl Stack {
    /// With these settings, counting in `metrics` and beginning `traces`.
    pub fn new(settings: Arc<HttpSettings>, metrics: Metrics, traces: Option<Traces>) -> Arc<Self> {
        Arc::new(Self {
            headers: SecurityHeaders::new(&settings.public_url),
            settings,
            metrics,
            traces,
        })
    }

    /// Begins the trace of a request to a route. `None` where none is wanted.
    pub fn begin_trace(
        &self,
        context: &RequestContext,
        request: &Request,
        peer: Option<SocketAddr>,
        route: &str,
    ) -> Option<Trace> {
        let traces = self.traces.as_ref()?;
        let is_check = is_check(route, request.method().as_str());
        if is_probe(route) || is_check && !traces.has_checks() {
            return None;
        }
        let is_trusted = peer.is_some_and(|peer| is_trusted(peer.ip(), &self.settings.trusted_proxies));
        let parent = only_value(request.headers(), "traceparent").filter(|_| is_trusted);
        traces.begin_request(RequestStart {
            method: method_label(request.method()),
            route: (route != UNMATCHED).then_some(route),
            id: context.id.as_str(),
            is_check,
            parent: parent.map(|parent| (parent, only_value(request.headers(), "tracestate"))),
        })
    }

    /// Wraps a finished router (state and fallback included). One layer for all of it: each layer of a router is a few
    /// allocations for every request.
    pub fn wrap(self: &Arc<Self>, router: Router) -> Router {
        let stack = Arc::clone(self);
        router.layer(layer_fn(move |route: Route| {
            let stack = Arc::clone(&stack);
            // A layered route stands for one pattern.
            let figures: Arc<OnceLock<Arc<RouteFigures>>> = Arc::default();
            service_fn(move |mut request: Request| {
                let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
                let peer = peer.map(|peer| peer.0);
                let context = Arc::new(RequestContext::begin(&stack.settings, &request, peer));
                request.extensions_mut().insert(Arc::clone(&context));
                let figures = Arc::clone(figures.get_or_init(|| {
                    let pattern = request.extensions().get::<MatchedPath>();
                    let pattern = pattern.map_or(UNMATCHED, MatchedPath::as_str);
                    Arc::new(stack.metrics.route(pattern))
                }));
                let (stack, route) = (Arc::clone(&stack), route.clone());
                let trace = stack.begin_trace(&context, &request, peer, figures.route());
                Scope::of_request(context.id, trace).run(async move {
                    let handle = async |request| match route.oneshot(request).await {
                        Ok(response) => response,
                    };
                    Ok::<_, Infallible>(pass(&stack, &figures, &context, request, handle).await)
                })
            })
        }))
    }
}

/// Has `handle` answer a request, inside the stack. Log lines have the request's id only within
/// the request's [`Scope`].
pub(crate) async fn pass(
    stack: &Stack,
    figures: &RouteFigures,
    context: &RequestContext,
    request: Request,
    handle: impl AsyncFnOnce(Request) -> Response,
) -> Response {
    let begun = Instant::now();
    let in_flight = stack.metrics.request_begins();
    let method = request.method().clone();
    let answer = async |request| {
        // Whatever a panic left half done is dropped with the future; what outlives it (pools, caches) guards itself.
        let answer = AssertUnwindSafe(handle(request)).catch_unwind();
        let answer = answer_in_time(stack.settings.request_timeout, answer).await;
        let mut response = document::finish(answer, context, method == Method::HEAD);
        stack.headers.add_to(response.headers_mut());
        response
    };
    let mut response = drain_body::drain(request, answer).await;
    let (status, took) = (response.status(), begun.elapsed());
    drop(in_flight);
    figures.request_ends(method_label(&method), status.as_u16(), took);
    context.log(&method, figures.route(), status, took);
    steps::end_request(status.as_u16(), context.user());
    if let Some(id) = context.id_header() {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    if let Some(id) = context.client_id_header() {
        response.headers_mut().insert(X_CLIENT_REQUEST_ID, id);
    }
    response
}

/// Gives up an answer that has not begun in time, with 503 `overloaded`. What it was doing is dropped; a transaction that was
/// open is rolled back.
async fn answer_in_time(
    longest: Duration,
    answer: impl Future<Output = thread::Result<Response>>,
) -> thread::Result<Response> {
    timeout(longest, answer).await.unwrap_or_else(|_| {
        tracing::warn!(
            code = codes::ANSWER_TIMEOUT,
            "a request took longer than the request timeout"
        );
        let error = Error::Overloaded {
            retry_after: Duration::from_secs(5),
        };
        Ok(error.into_response())
    })
}

/// The label of requests to no route.
pub const UNMATCHED: &str = "unmatched";

/// The value of a header that comes once and is ASCII.
fn only_value<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(only), None) => only.to_str().ok(),
        _ => None,
    }
}

/// A client may invent methods; a label may not grow with them.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
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
    use crate::http::request::body::JsonBody;
    use crate::telemetry::{RefreshOutcome, Sample, SignIn};

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
        Stack::new(Arc::new(settings), metrics, None).wrap(router)
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
            assert_eq!(headers["x-request-id"].len(), 32);
            assert_eq!(headers["x-client-request-id"], "given-1");
            assert_eq!(headers["content-type"], document::PROBLEM_JSON);
            assert_eq!(headers["x-content-type-options"], "nosniff");
            assert_eq!(headers.contains_key("retry-after"), status == 503);
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            let document: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(document["code"], code);
            assert_eq!(
                document["request_id"],
                headers["x-request-id"].to_str().expect("ASCII")
            );
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
    async fn an_unacceptable_request_id_is_left_out() {
        let request = Request::get("/no/such").header("x-request-id", "<script>");
        let request = request.body(Body::empty()).expect("a request");
        let response = router(Metrics::new()).oneshot(request).await.expect("an answer");
        assert_eq!(response.headers()["x-request-id"].len(), 32);
        assert!(!response.headers().contains_key("x-client-request-id"));
    }

    #[tokio::test]
    async fn requests_are_counted_by_pattern_and_never_by_path() {
        let metrics = Metrics::new();
        let router = Router::new().route("/users/{id}", get(async || ()));
        let router = Stack::new(Arc::default(), metrics.clone(), None).wrap(router);
        for (method, path) in [
            ("GET", "/users/7"),
            ("GET", "/users/8"),
            ("BREW", "/users/8"),
            ("GET", "/secret"),
        ] {
            let request = Request::builder().method(method).uri(path);
            let request = request.body(Body::empty()).expect("a request");
            router.clone().oneshot(request).await.expect("an answer");
        }
        metrics.sign_in(SignIn::Success);
        metrics.sessions_revoked("signed_out", 3);
        metrics.refresh(RefreshOutcome::Repeated);
        metrics.cache("near", "session").hits.inc();
        metrics.password_hashed(Duration::from_millis(200));
        let text = metrics.encode(&Sample {
            hash_queued: 2,
            hash_shed_total: 5,
            hash_done_total: 7,
            hash_busy_total: Duration::from_millis(1500),
            redis_up: Some(true),
            ..Sample::default()
        });
        for line in [
            r#"josoor_auth_http_requests_total{method="GET",route="/users/{id}",status="200"} 2"#,
            r#"josoor_auth_http_requests_total{method="other",route="/users/{id}",status="405"} 1"#,
            r#"josoor_auth_http_requests_total{method="GET",route="unmatched",status="404"} 1"#,
            r#"josoor_auth_http_request_duration_seconds_count{route="/users/{id}"} 3"#,
            "josoor_auth_http_requests_in_flight 0",
            r#"josoor_auth_sign_ins_total{result="success"} 1"#,
            r#"josoor_auth_sessions_revoked_total{reason="signed_out"} 3"#,
            r#"josoor_auth_refreshes_total{outcome="repeated"} 1"#,
            r#"josoor_auth_cache_lookups_total{tier="near",kind="session",result="hit"} 1"#,
            "josoor_auth_password_hash_duration_seconds_count 1",
            "josoor_auth_password_hashes_total 7",
            "josoor_auth_password_hash_busy_seconds_total 1.5",
            "josoor_auth_password_hash_queued 2",
            "josoor_auth_password_hash_shed_total 5",
            "josoor_auth_redis_up 1",
        ] {
            assert!(
                text.lines().any(|other| other == line),
                "{line} is not in\n{text}"
            );
        }
        assert!(!text.contains("secret") && text.ends_with("# EOF\n"));
    }
}
