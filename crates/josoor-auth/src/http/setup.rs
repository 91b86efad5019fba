//! `POST /setup`: creates the first administrator, with the token of the link that the first start printed. Its page is in
//! [`web`](super::web).

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use http::{HeaderMap, StatusCode};

use super::auth::RegisterRequest;
use crate::account::setup;
use crate::app::App;
use crate::domain::Secret;
use crate::error::Result;
use crate::http::request::body::Body;
use crate::http::request::client_info::ClientInfo;
use crate::http::request::definition::request_fields;
use crate::http::response::signed_in::signed_in;

/// The route of this file. It is not part of the documented API: it works once.
pub fn routes() -> Router<App> {
    Router::new().route("/setup", post(set_up))
}

request_fields! {
    /// The JSON body that creates the first administrator.
    pub struct SetUpRequest {
        /// The part after `token=` in the link.
        token: Secret,
        /// The account.
        account: RegisterRequest,
    }
}

async fn set_up(
    State(app): State<App>,
    ClientInfo(client): ClientInfo,
    headers: HeaderMap,
    Body(request): Body<SetUpRequest>,
) -> Result<Response> {
    let (registration, transport) = request.account.into_registration(&app, &headers);
    transport.require_origin(&app, &headers)?;
    let with = transport.sign_in_with(&app, &headers, None);
    let issued = setup::set_up(&app, request.token.expose(), registration, with, &client).await?;
    Ok(signed_in(&app, StatusCode::CREATED, issued, transport, &headers))
}
