//! The answer to a sign-in.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::app::App;
use crate::http::request::cookies;
use crate::http::request::transport::Transport;
use crate::http::response::representation::TokenResponse;
use crate::sessions::Issued;

/// The tokens, in the transport that was asked for, and the mark of the device.
pub fn signed_in(
    app: &App,
    status: StatusCode,
    mut issued: Issued,
    transport: Transport,
    headers: &HeaderMap,
) -> Response {
    let mut all = Vec::new();
    if transport == Transport::Cookie {
        all = cookies::set_refresh(app, headers, &issued);
        issued.refresh_token = None;
    }
    all.extend(cookies::set_device(app, headers, &issued));
    with_cookies((status, Json(TokenResponse::from(&issued))), all)
}

/// An answer that sets cookies.
pub fn with_cookies(answer: impl IntoResponse, cookies: Vec<HeaderValue>) -> Response {
    let mut response = answer.into_response();
    let headers = response.headers_mut();
    for cookie in cookies {
        headers.append(header::SET_COOKIE, cookie);
    }
    response
}
