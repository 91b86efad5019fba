//! The HTTP side: routes, what they take and give, and the layers around them.
//!
//! A handler reads its input into the house's types, calls one use case and shapes the answer. What goes wrong is an
//! [`Error`](crate::error::Error), which `response::problem` alone turns into a status and a document.

pub mod activity;
pub mod admin;
pub mod audit;
pub mod auth;
pub mod branding;
pub mod bulk;
pub mod check;
pub mod dev_mail;
pub mod devices;
pub mod docs;
pub mod export;
pub mod factors;
mod fast_path;
pub mod files;
pub mod health;
pub mod keys;
#[cfg(test)]
pub(crate) mod limited_requests;
pub mod mail_code;
pub mod openapi;
pub mod outbox;
pub mod pages;
pub mod passkeys;
pub mod recovery;
pub mod request;
pub mod response;
pub mod second_factor;
pub mod server;
pub mod sessions;
pub mod setup;
pub mod stats;
#[cfg(test)]
pub(crate) mod verified_requests;
pub mod web;

use std::sync::Arc;
use std::time::Duration;

use axum::routing::get;
use axum::{Extension, Json, Router};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use fast_path::FastPath;
use request::context::{X_CLIENT_REQUEST_ID, X_REQUEST_ID};
use server::service::Service;
use server::settings::HttpSettings;
use server::stack::Stack;

/// The documented API: the routes, and the OpenAPI document that is generated from them.
fn api() -> (Router<App>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(openapi::head())
        .merge(auth::routes())
        .merge(second_factor::routes())
        .merge(mail_code::routes())
        .merge(recovery::routes())
        .merge(sessions::routes())
        .merge(devices::routes())
        .merge(factors::routes())
        .merge(passkeys::routes())
        .merge(activity::routes())
        .merge(export::routes())
        .merge(admin::routes())
        .merge(bulk::routes())
        .merge(audit::routes())
        .merge(stats::routes())
        .merge(outbox::routes())
        .merge(keys::routes())
        .merge(check::routes())
        .merge(health::routes())
        .split_for_parts()
}

/// The OpenAPI document, without a running service.
pub fn openapi_document() -> utoipa::openapi::OpenApi {
    openapi::complete(api().1)
}

/// The service: all routes inside the stack, the two most frequent ones without the router.
pub fn service(app: &App) -> impl Service + use<> {
    let stack = Stack::new(
        Arc::new(settings_of(app)),
        app.metrics.clone(),
        app.traces.clone(),
    );
    FastPath::new(stack.wrap(router(app)), stack, app)
}

/// All routes of the service.
fn router(app: &App) -> Router {
    let (api, _) = api();
    let frame = pages::frame::Frame::new(app.config.server.public_url.path(), &app.config.branding);
    let routes = api
        .merge(setup::routes())
        .merge(web::routes())
        .merge(branding::routes())
        .merge(docs::routes())
        .merge(pages::routes(Arc::clone(&frame)))
        .route("/openapi.json", get(async || Json(openapi_document())));
    // Elsewhere than on a developer's own machine there is nothing at these paths.
    let routes = if app.config.dev {
        routes.merge(dev_mail::routes()).merge(health::dev_routes())
    } else {
        routes
    };
    let routes = routes.with_state(app.clone());
    // The gateways' endpoint answers for every method, so it stands outside of CORS, which would answer OPTIONS
    // before the token is verified.
    let routes = match cors(app) {
        Some(cors) => routes.layer(cors),
        None => routes,
    };
    routes
        .merge(check::any_method().with_state(app.clone()))
        .fallback_service(
            Router::new()
                .fallback(web::nothing)
                .layer(Extension(frame))
                .with_state(app.clone()),
        )
}

fn settings_of(app: &App) -> HttpSettings {
    let config = &app.config;
    HttpSettings {
        public_url: config.server.public_url.to_string(),
        origins: std::iter::once(config.server.public_url.origin())
            .chain(config.server.cors_origins.iter().map(ToString::to_string))
            .collect(),
        trusted_proxies: config.server.trusted_proxies.clone(),
        forwarded_header: config.server.forwarded_header,
        body_timeout: config.server.body_timeout,
        request_timeout: config.server.request_timeout,
        missing_token_status: StatusCode::from_u16(config.auth.missing_token_status.as_u16())
            .unwrap_or(StatusCode::FORBIDDEN),
        ..HttpSettings::default()
    }
}

/// Request headers that pages of other origins may send besides Authorization, Content-Type and X-Request-Id: what request
/// libraries and tracing in browsers (W3C Trace Context, Baggage, Sentry) add to every request.
const TRACING_HEADERS: [HeaderName; 5] = [
    HeaderName::from_static("x-requested-with"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("baggage"),
    HeaderName::from_static("sentry-trace"),
];

fn allowed_headers(app: &App) -> Vec<HeaderName> {
    let configured = app.config.server.cors_headers.iter();
    let configured = configured.filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok());
    [header::AUTHORIZATION, header::CONTENT_TYPE, X_REQUEST_ID]
        .into_iter()
        .chain(TRACING_HEADERS)
        .chain(configured)
        .collect()
}

/// CORS (Fetch, 3.2) for the configured origins; without any, browsers keep other origins out by themselves.
fn cors(app: &App) -> Option<CorsLayer> {
    let origins: Vec<HeaderValue> = app
        .config
        .server
        .cors_origins
        .iter()
        .filter_map(|origin| HeaderValue::from_str(&origin.to_string()).ok())
        .collect();
    (!origins.is_empty()).then(|| {
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins))
            .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
            .allow_headers(allowed_headers(app))
            .expose_headers([
                X_REQUEST_ID,
                X_CLIENT_REQUEST_ID,
                header::RETRY_AFTER,
                HeaderName::from_static("ratelimit"),
                HeaderName::from_static("ratelimit-policy"),
            ])
            .allow_credentials(true)
            .max_age(Duration::from_mins(10))
    })
}
