use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use http::StatusCode;
use tower::ServiceExt;

use super::*;
use crate::http::server::settings::HttpSettings;
use crate::http::server::stack::Stack;
use crate::telemetry::Metrics;

async fn answer(request: http::request::Builder, body: Body) -> StatusCode {
    let settings = HttpSettings {
        body_timeout: Duration::from_millis(50),
        ..HttpSettings::default()
    };
    let router = Router::new()
        .route("/", post(async |JsonBody(_): JsonBody| ()))
        .route(
            "/optional",
            post(async |OptionalJsonBody(_): OptionalJsonBody| ()),
        );
    let router = Stack::new(std::sync::Arc::new(settings), Metrics::new(), None).wrap(router);
    let request = request.body(body).expect("a request");
    router.oneshot(request).await.expect("an answer").status()
}

#[tokio::test]
async fn the_media_type_has_to_be_json() {
    for good in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=\"UTF-8\"",
        "application/json; version=1",
    ] {
        let request = Request::post("/").header("content-type", good);
        assert_eq!(answer(request, Body::from("{}")).await, StatusCode::OK, "{good}");
    }
    for bad in [
        "text/plain",
        "application/jsonp",
        "application/json; charset=latin1",
        "application/json; charset=utf-16",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
    ] {
        let request = Request::post("/").header("content-type", bad);
        let status = answer(request, Body::from("{}")).await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{bad}");
    }
    assert_eq!(
        answer(Request::post("/"), Body::from("{}")).await,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    let packed = Request::post("/")
        .header("content-type", "application/json")
        .header("content-encoding", "gzip");
    assert_eq!(
        answer(packed, Body::from("{}")).await,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
}

#[tokio::test]
async fn an_optional_body_may_be_empty_but_not_untyped() {
    assert_eq!(
        answer(Request::post("/optional"), Body::empty()).await,
        StatusCode::OK
    );
    assert_eq!(
        answer(Request::post("/optional"), Body::from("{}")).await,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
}

#[tokio::test]
async fn long_and_slow_bodies_are_cut() {
    let json = || Request::post("/").header("content-type", "application/json");
    let longest = format!("{{\"a\":\"{}\"}}", "x".repeat(64 * 1024 - 8));
    assert_eq!(longest.len(), 64 * 1024);
    assert_eq!(answer(json(), Body::from(longest)).await, StatusCode::OK);
    let declared = json().header("content-length", "65537");
    assert_eq!(
        answer(declared, Body::from_stream(never())).await,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    let endless = futures_util::stream::repeat(Ok::<_, Infallible>(bytes::Bytes::from_static(&[b' '; 1000])));
    assert_eq!(
        answer(json(), Body::from_stream(endless)).await,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(
        answer(json(), Body::from_stream(never())).await,
        StatusCode::REQUEST_TIMEOUT
    );
}

fn never() -> futures_util::stream::Pending<Result<bytes::Bytes, std::io::Error>> {
    futures_util::stream::pending()
}
