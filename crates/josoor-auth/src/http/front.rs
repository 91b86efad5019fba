//! The door of the service.
//!
//! Two questions are asked once for each request of the whole platform: who is this (`GET /auth/me`), and may this one pass
//! (`/auth/check`). They are recognised here and answered without the router, whose matching and boxes would cost more than
//! the answer. Everything else, and everything unusual about these two, goes through the router; both ways lead through the
//! same stack and the same handlers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, header};
use tower::ServiceExt;

use super::passage::Passage;
use super::stack::{self, Stack};
use super::{auth, caller, check};
use crate::app::App;
use crate::telemetry::{self, RouteFigures};

/// What the layer for CORS says of its answers.
const VARY: HeaderValue =
    HeaderValue::from_static("origin, access-control-request-method, access-control-request-headers");

/// What answers the requests of the service. Clones share it.
#[derive(Clone)]
pub struct Front(Arc<Parts>);

struct Parts {
    router: Router,
    checks: Option<Checks>,
}

/// The questions that are answered at the door.
struct Checks {
    app: App,
    stack: Arc<Stack>,
    me: RouteFigures,
    check: RouteFigures,
    has_cors: bool,
}

#[derive(Clone, Copy)]
enum Question {
    Me,
    Check,
}

impl From<Router> for Front {
    /// The router answers everything.
    fn from(router: Router) -> Self {
        Self(Arc::new(Parts { router, checks: None }))
    }
}

impl Front {
    /// Before a router that has this stack around it.
    pub(super) fn new(router: Router, stack: Arc<Stack>, app: &App) -> Self {
        let checks = Checks {
            app: app.clone(),
            me: app.metrics.route("/auth/me"),
            check: app.metrics.route("/auth/check"),
            stack,
            has_cors: !app.config.server.cors_origins.is_empty(),
        };
        Self(Arc::new(Parts {
            router,
            checks: Some(checks),
        }))
    }

    /// Answers a request that came over a connection with `peer`.
    pub async fn answer(&self, mut request: Request, peer: SocketAddr) -> Result<Response, Infallible> {
        if let Some(checks) = &self.0.checks
            && let Some(question) = checks.recognise(&request)
        {
            return Ok(checks.answer(question, request, peer).await);
        }
        request.extensions_mut().insert(ConnectInfo(peer));
        self.0.router.clone().oneshot(request).await
    }
}

impl Checks {
    fn recognise(&self, request: &Request) -> Option<Question> {
        match request.uri().path() {
            // Another origin's request is the business of the layer for CORS.
            "/auth/me" if request.method() == Method::GET => {
                let is_of_another = self.has_cors && request.headers().contains_key(header::ORIGIN);
                (!is_of_another).then_some(Question::Me)
            }
            // For gateways, which CORS does not concern; for every method.
            "/auth/check" => Some(Question::Check),
            _ => None,
        }
    }

    async fn answer(&self, question: Question, request: Request, peer: SocketAddr) -> Response {
        let passage = Passage::begin(&self.stack.settings, &request, Some(peer));
        let figures = match question {
            Question::Me => &self.me,
            Question::Check => &self.check,
        };
        let handle = async |request: Request| {
            let caller = caller::authenticate(&self.app, request.headers(), &passage).await;
            match question {
                Question::Check => check::answer(&self.app, caller, request.uri(), request.headers()).await,
                Question::Me => {
                    let mut response =
                        caller.map_or_else(IntoResponse::into_response, |caller| auth::show(&caller));
                    if self.has_cors {
                        response.headers_mut().insert(header::VARY, VARY);
                    }
                    response
                }
            }
        };
        telemetry::in_request(
            passage.id,
            stack::pass(&self.stack, figures, &passage, request, handle),
        )
        .await
    }
}
