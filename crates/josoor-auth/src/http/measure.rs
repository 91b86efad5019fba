//! Counts requests.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::Method;

use crate::telemetry::Metrics;

/// Middleware: counts the request by method, route and status, and its time by route. The route is its pattern, or
/// `unmatched`.
pub async fn measure(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = method_label(request.method());
    let begun = Instant::now();
    let in_flight = metrics.request_begins();
    let response = next.run(request).await;
    drop(in_flight);
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    metrics.request_ends(method, route, response.status().as_u16(), begun.elapsed());
    response
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

    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;
    use crate::telemetry::{RefreshOutcome, Sample, SignIn};

    #[tokio::test]
    async fn requests_are_counted_by_pattern_and_never_by_path() {
        let metrics = Metrics::new();
        let router = Router::new()
            .route("/users/{id}", get(async || ()))
            .layer(from_fn_with_state(metrics.clone(), measure));
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
