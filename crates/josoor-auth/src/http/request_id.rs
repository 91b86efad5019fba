//! The request's id, its span and its line in the log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{Extensions, HeaderName, HeaderValue};
use tracing::Instrument;

use super::extract::client_address;
use super::settings::HttpSettings;
use crate::crypto;

/// `X-Request-Id`.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

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

/// A handler that knows the user puts this into its response's extensions, and the access log names the user.
#[derive(Clone, Copy, Debug)]
pub struct LoggedUser(pub i64);

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
        let duration_ms = begun.elapsed().as_secs_f64() * 1000.0;
        let user_id = response.extensions().get::<LoggedUser>().map(|user| user.0);
        let client = client.map(tracing::field::display);
        let method = method.as_str();
        if is_probe(route) {
            tracing::debug!(method, route, status, duration_ms, client, user_id, "request");
        } else {
            tracing::info!(method, route, status, duration_ms, client, user_id, "request");
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
    use super::RequestId;

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
