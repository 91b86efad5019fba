//! What answers the requests of a connection.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tower::ServiceExt;

use crate::http::server::host::has_one_host;

/// Answers requests. Clones share their state.
pub trait Service: Clone + Send + Sync + 'static {
    /// Answers a request that came over a connection with `peer`.
    fn answer(&self, request: Request, peer: SocketAddr) -> impl Future<Output = Response> + Send;
}

impl Service for Router {
    async fn answer(&self, mut request: Request, peer: SocketAddr) -> Response {
        if !has_one_host(&request) {
            return StatusCode::BAD_REQUEST.into_response();
        }
        request.extensions_mut().insert(ConnectInfo(peer));
        match self.clone().oneshot(request).await {
            Ok(response) => response,
        }
    }
}
