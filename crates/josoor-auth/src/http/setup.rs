//! `POST /setup`: makes the first administrator, with the token of the link that the first start printed. Its page is in
//! [`web`](super::web).

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use http::{HeaderMap, StatusCode};

use super::auth::{Transport, any_text, read_registration, require_origin_for, signed_in};
use crate::account::setup;
use crate::app::App;
use crate::error::Result;
use crate::http::request::caller::From;
use crate::http::request::extract::JsonBody;

/// The route of this file. It is not part of the documented API: it works once.
pub fn routes() -> Router<App> {
    Router::new().route("/setup", post(set_up))
}

async fn set_up(
    State(app): State<App>,
    From(client): From,
    headers: HeaderMap,
    JsonBody(mut fields): JsonBody,
) -> Result<Response> {
    let token = fields.required("token", any_text);
    let registration = read_registration(&mut fields, &headers, &app);
    let transport = Transport::read(&mut fields);
    let (token, registration) = fields.finish_with(|| Some((token?, registration()?)))?;
    require_origin_for(transport, &app, &headers)?;
    let issued = setup::set_up(
        &app,
        token.expose(),
        registration,
        transport.with(&app, &headers, None),
        &client,
    )
    .await?;
    Ok(signed_in(&app, StatusCode::CREATED, issued, transport, &headers))
}
