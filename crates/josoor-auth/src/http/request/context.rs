//! The context of a request: its id, the settings, the client's address, the user; and its line in the access log.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::Request;
use http::{Extensions, HeaderName, HeaderValue, Method, StatusCode};

use crate::domain::{RequestId, UserId};
use crate::http::request::client_address::client_address;
use crate::http::server::settings::HttpSettings;

/// `X-Request-Id`.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// `X-Client-Request-Id`: the id that the client sent as `X-Request-Id`.
pub const X_CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-client-request-id");

/// The target of the access log's lines, for filters such as `josoor_auth::access=off`.
const ACCESS: &str = "josoor_auth::access";

/// What handlers and layers need of a request. The stack puts it, as an `Arc<RequestContext>`, into the extensions of a request
/// that goes through the router.
#[derive(Debug)]
pub struct RequestContext {
    /// The settings of the HTTP side.
    pub settings: Arc<HttpSettings>,
    /// The request's id: ours, so that no client can give two requests the same.
    pub id: RequestId,
    /// The id that the client gave it, if that is a single harmless one.
    pub client_id: Option<RequestId>,
    /// The address of the client; `None` for a request from inside the process.
    pub client: Option<IpAddr>,
    /// The user that the access log names, set as soon as the token is verified, so that rejected requests name their user as
    /// well.
    user: OnceLock<UserId>,
}

impl RequestContext {
    /// The context of a request from `peer`.
    pub fn begin(settings: &Arc<HttpSettings>, request: &Request, peer: Option<SocketAddr>) -> Self {
        let mut given = request.headers().get_all(&X_REQUEST_ID).iter();
        let client_id = match (given.next(), given.next()) {
            (Some(only), None) => only.to_str().ok().and_then(RequestId::parse),
            _ => None,
        };
        let client = |peer: SocketAddr| {
            let (trusted, header) = (&settings.trusted_proxies, settings.forwarded_header);
            client_address(peer.ip(), request.headers(), trusted, header)
        };
        Self {
            settings: Arc::clone(settings),
            id: RequestId::random(),
            client_id,
            client: peer.map(client),
            user: OnceLock::new(),
        }
    }

    /// The context in these extensions; one with default settings where no stack is around the route.
    pub fn of(extensions: &Extensions) -> Arc<Self> {
        extensions.get::<Arc<Self>>().cloned().unwrap_or_else(|| {
            Arc::new(Self {
                settings: Arc::default(),
                id: RequestId::random(),
                client_id: None,
                client: None,
                user: OnceLock::new(),
            })
        })
    }

    /// Notes that `user` makes the request.
    pub fn note_user(&self, user: UserId) {
        // A request has one token, so one user.
        let _ = self.user.set(user);
    }

    /// The user who makes the request, once the token is verified.
    pub fn user(&self) -> Option<UserId> {
        self.user.get().copied()
    }

    /// The settings that the stack put into these extensions, else the defaults.
    pub fn settings_of(extensions: &Extensions) -> Arc<HttpSettings> {
        let context = extensions.get::<Arc<Self>>();
        context
            .map(|context| Arc::clone(&context.settings))
            .unwrap_or_default()
    }

    /// The id as a header's value.
    pub fn id_header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.id.as_str()).ok()
    }

    /// The id that the client gave, as a header's value.
    pub fn client_id_header(&self) -> Option<HeaderValue> {
        let id = self.client_id.as_ref()?;
        HeaderValue::from_str(id.as_str()).ok()
    }

    /// Writes the line of an answered request. It has the route's pattern, never the raw path or the query, which may carry
    /// addresses or tokens.
    pub fn log(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        let method = method.as_str();
        let duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let user_id = self.user.get().map(|user| user.0);
        let client = self.client.map(tracing::field::display);
        let client_request_id = self.client_id.as_ref().map(RequestId::as_str);
        let is_success = status.is_success();
        let status = status.as_u16();
        if is_probe(route) || is_success && is_check(route, method) {
            tracing::debug!(target: ACCESS, method, route, status, duration_us, client, user_id, client_request_id, "request");
        } else {
            tracing::info!(target: ACCESS, method, route, status, duration_us, client, user_id, client_request_id, "request");
        }
    }
}

/// Routes that monitoring calls every few seconds.
pub fn is_probe(route: &str) -> bool {
    matches!(route, "/healthz" | "/readyz" | "/metrics")
}

/// Routes that are called once for each request of every other service, which has a log of its own. A line for each success
/// would cost as much as the rest of the answer.
pub fn is_check(route: &str, method: &str) -> bool {
    matches!(route, "/auth/check" | "/auth/check/" | "/auth/check/{*path}")
        || (route == "/auth/me" && method == "GET")
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use axum::Router;
    use axum::body::Body;
    use axum::extract::ConnectInfo;
    use axum::routing::get;
    use tower::ServiceExt;
    use tracing::instrument::WithSubscriber;

    use super::*;
    use crate::http::server::stack::Stack;
    use crate::telemetry::{LogFormat, Metrics};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("unpoisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn the_log_names_route_and_user_and_nothing_that_the_client_chose() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_writer(move || writer.clone())
            .event_format(LogFormat::Json)
            .finish();
        let router = Router::new()
            .route(
                "/users/{id}",
                get(async |request: Request| RequestContext::of(request.extensions()).note_user(UserId(7))),
            )
            .route("/healthz", get(async || ()))
            .route("/auth/me", get(async || ()).patch(async || ()))
            .route("/auth/check", get(async || StatusCode::UNAUTHORIZED));
        let router = Stack::new(Arc::default(), Metrics::new(), None).wrap(router);
        let ask = async |method: &str, path: &str| {
            let request = Request::builder().method(method).uri(path);
            let request = request.header("x-request-id", "given-1");
            let mut request = request.body(Body::empty()).expect("a request");
            let peer: SocketAddr = "203.0.113.9:1".parse().expect("an address");
            request.extensions_mut().insert(ConnectInfo(peer));
            router.clone().oneshot(request).await.expect("an answer");
        };
        async {
            ask("GET", "/users/12345?token=hunter2").await;
            // No news: a probe, and a token that was let in.
            ask("GET", "/healthz").await;
            ask("GET", "/auth/me").await;
            ask("PATCH", "/auth/me").await;
            ask("GET", "/auth/check").await;
        }
        .with_subscriber(subscriber)
        .await;
        let text = String::from_utf8(lines.0.lock().expect("unpoisoned").clone()).expect("UTF-8");
        assert!(!text.contains("12345") && !text.contains("hunter2"), "{text}");
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let routes: Vec<_> = lines.iter().map(|line| &line["fields"]["route"]).collect();
        assert_eq!(routes, ["/users/{id}", "/auth/me", "/auth/check"]);
        let line = &lines[0];
        assert_ne!(line["request_id"], "given-1");
        assert_eq!(line["fields"]["client_request_id"], "given-1");
        for (field, value) in [
            ("method", "GET"),
            ("route", "/users/{id}"),
            ("client", "203.0.113.9"),
        ] {
            assert_eq!(line["fields"][field], value);
        }
        assert_eq!(
            (&line["fields"]["user_id"], &line["fields"]["status"]),
            (&7.into(), &200.into())
        );
    }
}
