//! The request's id, its span and its line in the log.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{Extensions, HeaderName, HeaderValue};
use tracing::Instrument;

use super::extract::client_address;
use super::settings::HttpSettings;
use crate::crypto;
use crate::types::UserId;

/// `X-Request-Id`.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The target of the access log's lines, for filters such as `josoor_auth::access=off`.
const ACCESS: &str = "josoor_auth::access";

/// Longest id that is taken over from a client.
const MAX_LENGTH: usize = 128;

/// What joins a response, its problem document and its lines in the log. Not a secret and not unique by force: a
/// client or a gateway may choose it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// 128 random bits in hexadecimal.
    pub fn random() -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(crypto::random_bytes())).into())
    }

    /// Takes over a client's id of 1 to 128 characters out of `A-Z a-z 0-9 . _ - : = / +`, which covers UUIDs and
    /// the trace ids of the common gateways and is harmless in a log, a header and JSON.
    pub fn parse(text: &str) -> Option<Self> {
        let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:=/+".contains(&byte);
        (!text.is_empty() && text.len() <= MAX_LENGTH && text.bytes().all(harmless))
            .then(|| Self(text.into()))
    }

    /// The id that [`track`] gave the request; a fresh one where it did not run.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_else(Self::random)
    }

    /// The id itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The user that the access log names. [`track`] puts an empty one into the request, and whoever finds out who is calling
/// fills it, so that refused requests name their user as well.
#[derive(Clone, Debug, Default)]
pub struct LoggedUser(Arc<OnceLock<UserId>>);

impl LoggedUser {
    /// Notes that `user` makes the request with these extensions.
    pub fn note(extensions: &Extensions, user: UserId) {
        if let Some(Self(slot)) = extensions.get() {
            // Nobody is called by two users; the first to say so was right.
            let _ = slot.set(user);
        }
    }
}

/// Middleware: gives the request its id and its span, writes one line about it, and puts the id on the response.
///
/// The line has the route's pattern, never the raw path or the query, which may carry addresses or tokens.
pub async fn track(State(settings): State<Arc<HttpSettings>>, mut request: Request, next: Next) -> Response {
    let mut given = request.headers().get_all(&X_REQUEST_ID).iter();
    let id = match (given.next(), given.next()) {
        (Some(only), None) => only.to_str().ok().and_then(RequestId::parse),
        _ => None,
    }
    .unwrap_or_else(RequestId::random);
    request.extensions_mut().insert(id.clone());
    let user = LoggedUser::default();
    request.extensions_mut().insert(user.clone());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let client = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|peer| client_address(peer.0.ip(), request.headers(), &settings.trusted_proxies));
    // At the level `error`, so that no filter takes the id from the lines that need it most.
    let span = tracing::error_span!("request", request_id = id.as_str());
    async move {
        let begun = Instant::now();
        let mut response = next.run(request).await;
        let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
        let status = response.status().as_u16();
        let duration_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let user_id = user.0.get().map(|user| user.0);
        let client = client.map(tracing::field::display);
        let method = method.as_str();
        if is_probe(route) {
            tracing::debug!(target: ACCESS, method, route, status, duration_us, client, user_id, "request");
        } else {
            tracing::info!(target: ACCESS, method, route, status, duration_us, client, user_id, "request");
        }
        if let Ok(value) = HeaderValue::from_str(id.as_str()) {
            response.headers_mut().insert(X_REQUEST_ID, value);
        }
        response
    }
    .instrument(span)
    .await
}

/// Routes that machines ask every few seconds.
fn is_probe(route: &str) -> bool {
    matches!(route, "/healthz" | "/readyz" | "/metrics")
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tower::ServiceExt;
    use tracing::instrument::WithSubscriber;

    use super::*;
    use crate::telemetry::LogFormat;

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
            .fmt_fields(LogFormat::Json)
            .event_format(LogFormat::Json)
            .finish();
        let router = Router::new()
            .route(
                "/users/{id}",
                get(async |request: Request| LoggedUser::note(request.extensions(), UserId(7))),
            )
            .route("/healthz", get(async || ()))
            .layer(from_fn_with_state(Arc::new(HttpSettings::default()), track));
        let ask = async |path: &str| {
            let request = Request::get(path).header("x-request-id", "given-1");
            let mut request = request.body(Body::empty()).expect("a request");
            let peer: SocketAddr = "203.0.113.9:1".parse().expect("an address");
            request.extensions_mut().insert(ConnectInfo(peer));
            router.clone().oneshot(request).await.expect("an answer");
        };
        async {
            ask("/users/12345?token=hunter2").await;
            ask("/healthz").await;
        }
        .with_subscriber(subscriber)
        .await;
        let text = String::from_utf8(lines.0.lock().expect("unpoisoned").clone()).expect("UTF-8");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains("12345") && !text.contains("hunter2"), "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(line["request_id"], "given-1");
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

    #[test]
    fn only_harmless_ids_are_taken_over() {
        for good in [
            "a",
            "0191f2d4-7c1e-7a33-9f5e-0242ac120002",
            "Root=1-67891233-abcdef",
            &"x".repeat(128),
        ] {
            assert_eq!(RequestId::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "a b",
            "a\r\nSet-Cookie: x",
            "\u{1b}[31m",
            "é",
            "\"",
            "<b>",
            &"x".repeat(129),
        ] {
            assert_eq!(RequestId::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn fresh_ids_differ_and_are_well_formed() {
        let id = RequestId::random();
        assert_ne!(id, RequestId::random());
        assert_eq!(RequestId::parse(id.as_str()), Some(id));
    }
}
