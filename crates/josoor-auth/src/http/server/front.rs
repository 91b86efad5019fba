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
use http::{HeaderValue, Method, StatusCode, Version, header};
use tower::ServiceExt;

use crate::app::App;
use crate::http::request::caller;
use crate::http::request::passage::Passage;
use crate::http::response::problem::{self, Problem};
use crate::http::server::stack::{self, Stack};
use crate::http::{auth, check};
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
    unmatched: RouteFigures,
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
    pub(in crate::http) fn new(router: Router, stack: Arc<Stack>, app: &App) -> Self {
        let checks = Checks {
            app: app.clone(),
            me: app.metrics.route("/auth/me"),
            check: app.metrics.route("/auth/check"),
            unmatched: app.metrics.route("unmatched"),
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
        if !has_one_host(&request) {
            return Ok(match &self.0.checks {
                Some(checks) => checks.refuse_host(request, peer).await,
                None => StatusCode::BAD_REQUEST.into_response(),
            });
        }
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

    async fn refuse_host(&self, request: Request, peer: SocketAddr) -> Response {
        let passage = Passage::begin(&self.stack.settings, &request, Some(peer));
        let refuse = async |_| {
            let detail = "A request of HTTP/1.1 has exactly one well-formed Host header (RFC 9112, 3.2).";
            Problem::new(&problem::BAD_REQUEST, detail).into_response()
        };
        let answer = stack::pass(&self.stack, &self.unmatched, &passage, request, refuse);
        telemetry::in_request(passage.id, answer).await
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

/// Whether a request says once and well-formed which host it is for (RFC 9112, 3.2). Below HTTP/1.1 and above it, `Host` may be
/// missing, but not be there twice.
fn has_one_host(request: &Request) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => is_host(host.as_bytes()),
        (None, _) => request.version() != Version::HTTP_11,
        (Some(_), Some(_)) => false,
    }
}

/// `uri-host [ ":" port ]` (RFC 9110, 7.2), with a host that is not empty, as `http` has it (4.2.1).
fn is_host(text: &[u8]) -> bool {
    let (host, rest) = if text.first() == Some(&b'[') {
        let Some(end) = text.iter().position(|byte| *byte == b']') else {
            return false;
        };
        let (address, rest) = (&text[1..end], &text[end + 1..]);
        let is_address =
            std::str::from_utf8(address).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok());
        if !is_address {
            return false;
        }
        (address, rest)
    } else {
        let end = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
        text.split_at(end)
    };
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:".contains(byte);
    let port_is_number = match rest {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    !host.is_empty() && host.iter().all(is_name) && port_is_number
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::Request;
    use http::Version;

    use super::has_one_host;

    #[test]
    fn a_request_names_one_host() {
        let judge = |version: Version, hosts: &[&str]| {
            let mut request = Request::builder().version(version);
            for host in hosts {
                request = request.header("host", *host);
            }
            has_one_host(&request.body(Body::empty()).expect("a request"))
        };
        for good in [
            "a",
            "a.example",
            "A-1.example:80",
            "127.0.0.1:",
            "[::1]",
            "[2001:db8::1]:8080",
            "a_b",
            "x%41",
        ] {
            assert!(judge(Version::HTTP_11, &[good]), "{good}");
        }
        for bad in [
            "", " ", "a b", "a/b", "user@a", "a:b", "a:80:80", ":80", "[::1", "::1", "[a]", "[::1]x",
            "a,b@c", "a\\b", "a:999999", "http://a", "a?b", "a#b", "\u{e9}",
        ] {
            assert!(!judge(Version::HTTP_11, &[bad]), "{bad}");
            assert!(!judge(Version::HTTP_10, &[bad]), "{bad}");
        }
        assert!(!judge(Version::HTTP_11, &[]));
        assert!(!judge(Version::HTTP_11, &["a", "a"]));
        assert!(!judge(Version::HTTP_2, &["a", "b"]));
        assert!(judge(Version::HTTP_10, &[]) && judge(Version::HTTP_2, &[]));
    }
}
