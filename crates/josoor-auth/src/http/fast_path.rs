//! Answers `GET /auth/me` and `/auth/check` without the router.
//!
//! Both are called once for each request of the whole platform, and the router's matching and allocations cost more than the
//! answer; docs/adr/0018 has the figure. All other requests, and those that need CORS, go through the router. Both ways use the
//! same stack and the same handlers.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, header};

use crate::app::App;
use crate::http::request::caller;
use crate::http::request::context::RequestContext;
use crate::http::response::codes;
use crate::http::response::problem::Problem;
use crate::http::server::host::has_one_host;
use crate::http::server::service::Service;
use crate::http::server::stack::{self, Stack, UNMATCHED};
use crate::http::{auth, check};
use crate::telemetry::{RouteFigures, Scope};

/// The header that the CORS layer adds to its answers.
const VARY: HeaderValue =
    HeaderValue::from_static("origin, access-control-request-method, access-control-request-headers");

/// The router, and before it the two routes that are answered without it. Clones share it.
#[derive(Clone)]
pub(super) struct FastPath(Arc<Parts>);

struct Parts {
    router: Router,
    app: App,
    stack: Arc<Stack>,
    me: RouteFigures,
    check: RouteFigures,
    unmatched: RouteFigures,
    has_cors: bool,
}

#[derive(Clone, Copy)]
enum FrequentRoute {
    Me,
    Check,
}

impl FastPath {
    /// Before a router that has this stack around it.
    pub(super) fn new(router: Router, stack: Arc<Stack>, app: &App) -> Self {
        Self(Arc::new(Parts {
            router,
            app: app.clone(),
            me: app.metrics.route("/auth/me"),
            check: app.metrics.route("/auth/check"),
            unmatched: app.metrics.route(UNMATCHED),
            stack,
            has_cors: !app.config.server.cors_origins.is_empty(),
        }))
    }
}

impl Service for FastPath {
    async fn answer(&self, request: Request, peer: SocketAddr) -> Response {
        if !has_one_host(&request) {
            return self.0.reject_host(request, peer).await;
        }
        if let Some(route) = self.0.recognise(&request) {
            return self.0.answer(route, request, peer).await;
        }
        self.0.stack.settings.note_origin(request.headers());
        self.0.router.answer(request, peer).await
    }
}

impl Parts {
    fn recognise(&self, request: &Request) -> Option<FrequentRoute> {
        match request.uri().path() {
            // A request of another origin needs the CORS layer.
            "/auth/me" if request.method() == Method::GET => {
                let needs_cors = self.has_cors && request.headers().contains_key(header::ORIGIN);
                (!needs_cors).then_some(FrequentRoute::Me)
            }
            // For gateways, which CORS does not concern; for every method.
            "/auth/check" => Some(FrequentRoute::Check),
            _ => None,
        }
    }

    async fn reject_host(&self, request: Request, peer: SocketAddr) -> Response {
        let context = RequestContext::begin(&self.stack.settings, &request, Some(peer));
        let reject = async |_| {
            let detail = "A request of HTTP/1.1 has exactly one well-formed Host header (RFC 9112, 3.2).";
            Problem::new(&codes::BAD_REQUEST, detail).into_response()
        };
        let answer = stack::pass(&self.stack, &self.unmatched, &context, request, reject);
        Scope::of_request(context.id, None).run(answer).await
    }

    async fn answer(&self, route: FrequentRoute, request: Request, peer: SocketAddr) -> Response {
        let context = RequestContext::begin(&self.stack.settings, &request, Some(peer));
        let figures = match route {
            FrequentRoute::Me => &self.me,
            FrequentRoute::Check => &self.check,
        };
        let handle = async |request: Request| {
            let caller = caller::authenticate(&self.app, request.headers(), &context).await;
            match route {
                FrequentRoute::Check => check::answer(&self.app, caller, request.uri(), request.headers()),
                FrequentRoute::Me => {
                    let mut response =
                        caller.map_or_else(IntoResponse::into_response, |caller| auth::show(&caller));
                    if self.has_cors {
                        response.headers_mut().insert(header::VARY, VARY);
                    }
                    response
                }
            }
        };
        let trace = self
            .stack
            .begin_trace(&context, &request, Some(peer), figures.route());
        let answer = stack::pass(&self.stack, figures, &context, request, handle);
        Scope::of_request(context.id, trace).run(answer).await
    }
}
