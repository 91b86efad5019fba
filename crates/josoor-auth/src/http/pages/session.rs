//! `GET /auth/pages/session`: whether this browser is signed in. The script of the sign-in asks it: the refresh cookie is
//! `SameSite=Strict`, so that the page itself does not get it where a link of another site leads to it.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderMap, Uri};
use serde::Serialize;

use super::frame::Frame;
use super::visit::Visit;
use crate::app::App;
use crate::http::request::client_info::ClientInfo;

/// The route of this file.
pub fn routes() -> Router<App> {
    Router::new().route("/auth/pages/session", get(show))
}

/// Where a signed-in user goes on.
#[derive(Debug, Serialize)]
struct SessionResponse {
    /// The address; `None` for a browser that is not signed in.
    to: Option<String>,
}

async fn show(
    State(app): State<App>,
    Extension(frame): Extension<Arc<Frame>>,
    ClientInfo(client): ClientInfo,
    uri: Uri,
    headers: HeaderMap,
) -> Json<SessionResponse> {
    let visit = Visit::new(app, frame, "session", client, uri, headers);
    let holder = visit.holder().await;
    Json(SessionResponse {
        to: holder.map(|holder| visit.destination(holder.user.role)),
    })
}
