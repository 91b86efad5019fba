use std::collections::BTreeSet;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::routing::{get, post};
use http::Method;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;
use crate::error::{Acr, Error, RateLimitPolicy, Refusal};
use crate::http::response::codes::{CODES, CodeEntry};
use crate::http::response::problem::BARE_CHALLENGE;
use crate::http::server::settings::HttpSettings;
use crate::http::server::stack::Stack;
use crate::telemetry::Metrics;

fn every_error() -> Vec<Error> {
    let field = || vec![crate::error::Invalid::new("required", "This field is required.").in_field("email")];
    let cause = || anyhow::anyhow!("a secret cause");
    let mut errors = vec![
        Error::Invalid(field()),
        Error::UnknownFields(field()),
        Error::EmailTaken,
        Error::InvalidCredentials,
        Error::AccountInactive,
        Error::RecoveryBlocked,
        Error::EmailNotVerified,
        Error::RegistrationClosed,
        Error::StepUpRequired {
            acr: Some(Acr::Two),
            max_age: Some(600),
        },
        Error::LastAdmin,
        Error::KeyNotRotated("The key waits.".to_owned()),
        Error::MailNotRetryable(crate::error::NotRetryable::Sent),
        Error::RefreshTokenRequired,
        Error::SessionLimit,
        Error::NotFound,
        Error::LinkInvalid,
        Error::LinkExpired,
        Error::LinkUsed,
        Error::OriginNotAllowed,
        Error::RateLimited {
            retry_after: Duration::from_millis(41_001),
            policy: RateLimitPolicy {
                name: "login_account",
                quota: 10,
                window: Duration::from_mins(1),
                message: "Too many sign-ins to this account. Wait a little, then try again.",
            },
        },
        Error::Overloaded {
            retry_after: Duration::from_millis(1),
        },
        Error::unavailable(cause()),
        Error::Internal(cause()),
    ];
    errors.extend(Refusal::ALL.map(Error::Refused));
    errors
}

async fn answer(router: Router, request: Request) -> (http::response::Parts, serde_json::Value) {
    let settings = Arc::new(HttpSettings {
        public_url: "https://auth.example".to_owned(),
        ..HttpSettings::default()
    });
    let response = Stack::new(settings, Metrics::new(), None)
        .wrap(router)
        .oneshot(request)
        .await
        .expect("an answer");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    (parts, serde_json::from_slice(&body).unwrap_or_default())
}

fn request(method: Method, path: &str) -> Request {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().expect("a path");
    request
}

#[tokio::test]
async fn every_error_becomes_a_whole_document() {
    for error in every_error() {
        let what = format!("{error:?}");
        let cell = Arc::new(std::sync::Mutex::new(Some(error)));
        let take = move || {
            let error = cell.lock().expect("unpoisoned").take();
            async move { error.expect("asked once") }
        };
        let router = Router::new().route("/", get(take));
        let (parts, document) = answer(router, request(Method::GET, "/")).await;
        let header = |name: &str| {
            parts
                .headers
                .get(name)
                .map(|value| value.to_str().expect("ASCII").to_owned())
        };
        let code = document["code"].as_str().expect("a code");
        assert!(CodeEntry::find(code).is_some(), "{what}");
        assert_eq!(document["status"], parts.status.as_u16(), "{what}");
        assert_eq!(document["type"], format!("https://auth.example/errors/{code}"));
        assert_eq!(header("x-request-id").as_deref(), document["request_id"].as_str());
        assert_eq!(header("content-type").as_deref(), Some(PROBLEM_JSON));
        assert_eq!(header("cache-control").as_deref(), Some("no-store"));
        assert!(!document["detail"].as_str().expect("a text").is_empty());
        assert!(!document.to_string().contains("secret"), "{document}");
        let is_challenged = parts.status == StatusCode::UNAUTHORIZED || code == "missing_token";
        if is_challenged {
            assert!(header("www-authenticate").is_some(), "{what}");
        }
        if parts.status == StatusCode::SERVICE_UNAVAILABLE {
            assert!(header("retry-after").is_some(), "{what}");
        }
        if parts.status == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(header("retry-after").as_deref(), Some("42"));
            assert_eq!(
                header("ratelimit-policy").as_deref(),
                Some("\"login_account\";q=10;w=60")
            );
            assert_eq!(header("ratelimit").as_deref(), Some("\"login_account\";r=0;t=42"));
        }
        let has_errors = document.get("errors").is_some();
        assert_eq!(
            has_errors,
            parts.status == StatusCode::UNPROCESSABLE_ENTITY,
            "{what}"
        );
    }
}

#[test]
fn the_statuses_that_depend_on_the_door() {
    let status = |error: Error| Problem::from(error).status.as_u16();
    assert_eq!(status(Error::AccountInactive), 403);
    assert_eq!(status(Error::Refused(Refusal::AccountInactive)), 401);
    assert_eq!(status(Error::EmailTaken), 400);
    assert_eq!(status(Error::LastAdmin), 409);
}

#[tokio::test]
async fn the_status_of_a_missing_token_is_a_setting() {
    for wanted in [StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED] {
        let settings = Arc::new(HttpSettings {
            missing_token_status: wanted,
            ..HttpSettings::default()
        });
        let router = Router::new()
            .route("/", get(async || Error::Refused(Refusal::MissingToken)))
            .route(
                "/check",
                get(async || Problem::from(Refusal::MissingToken).always(StatusCode::UNAUTHORIZED)),
            );
        let router = Stack::new(settings, Metrics::new(), None).wrap(router);
        for (path, wanted) in [("/", wanted), ("/check", StatusCode::UNAUTHORIZED)] {
            let answer = router.clone().oneshot(request(Method::GET, path)).await;
            let response = answer.expect("an answer");
            assert_eq!(response.status(), wanted);
            assert_eq!(response.headers()["www-authenticate"], BARE_CHALLENGE);
        }
    }
}

#[tokio::test]
async fn what_axum_answers_itself_becomes_a_document() {
    async fn panics() {
        panic!("on purpose");
    }
    let router = || {
        Router::new()
            .route("/", post(async || ()))
            .route("/panic", get(panics))
            .route(
                "/{id}",
                get(async |axum::extract::Path(_): axum::extract::Path<i64>| ()),
            )
            .route(
                "/readyz/now",
                get(async || (StatusCode::SERVICE_UNAVAILABLE, axum::Json("parts"))),
            )
    };
    for (method, path, status, code) in [
        (Method::GET, "/no/such", 404, "not_found"),
        (Method::GET, "/", 405, "method_not_allowed"),
        (Method::GET, "/panic", 500, "internal"),
        (Method::GET, "/x", 400, "bad_request"),
    ] {
        let (parts, document) = answer(router(), request(method, path)).await;
        assert_eq!(
            (parts.status.as_u16(), document["code"].as_str()),
            (status, Some(code)),
            "{path}"
        );
        assert_eq!(document["status"], status);
        if status == 405 {
            assert_eq!(parts.headers["allow"], "POST");
        }
    }
    let (parts, body) = answer(router(), request(Method::GET, "/readyz/now")).await;
    assert_eq!(body, "parts", "a body of our own stays");
    assert_eq!(parts.headers["retry-after"], "1");
    let (parts, body) = answer(router(), request(Method::HEAD, "/no/such")).await;
    assert_eq!(parts.status, StatusCode::NOT_FOUND);
    assert!(body.is_null(), "HEAD has no body");
    let (parts, _) = answer(
        router().layer(from_fn(async |_: Request, _: Next| StatusCode::PAYLOAD_TOO_LARGE)),
        request(Method::GET, "/"),
    )
    .await;
    assert_eq!(parts.headers["content-type"], PROBLEM_JSON);
}

#[test]
fn the_table_is_whole() {
    let codes: BTreeSet<_> = CODES.iter().map(|entry| entry.code).collect();
    assert_eq!(codes.len(), CODES.len(), "no code twice");
    for entry in CODES {
        assert!(
            entry
                .code
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        );
        assert!(
            entry.meaning.ends_with('.') && entry.meaning_ar.ends_with('.'),
            "{}",
            entry.code
        );
        assert!(entry.title.is_ascii() && !entry.title_ar.is_ascii());
        assert!(entry.status.is_client_error() || entry.status.is_server_error());
    }
    for refusal in Refusal::ALL {
        assert_eq!(Problem::from(refusal).code.code, refusal.code());
    }
    for error in every_error() {
        assert!(CodeEntry::find(Problem::from(error).code.code).is_some());
    }
}
