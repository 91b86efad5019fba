//! The token by which a request refreshes or ends its session.

use axum::extract::{FromRequest, Request};
use josoor_auth_verify::bearer_token;

use crate::app::App;
use crate::domain::Secret;
use crate::error::Refusal;
use crate::http::request::body::OptionalBody;
use crate::http::request::cookies;
use crate::http::request::definition::request_fields;
use crate::http::response::problem::Problem;

request_fields! {
    /// The JSON body of a refresh or a sign-out.
    pub struct RefreshRequest {
        /// Without it the cookie counts, and without that the bearer token.
        refresh_token: Option<Secret>,
    }
}

/// A refresh token from the body, else from the cookie, else the bearer token.
pub enum SessionToken {
    /// A refresh token in the body.
    Body(Secret),
    /// A refresh token in the cookie, from an origin that may send it.
    Cookie(Secret),
    /// An access token, or why there is none.
    Bearer(Result<Secret, Refusal>),
}

impl FromRequest<App> for SessionToken {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let headers = request.headers().clone();
        let OptionalBody(RefreshRequest { refresh_token }) = OptionalBody::from_request(request, app).await?;
        if let Some(token) = refresh_token {
            return Ok(Self::Body(token));
        }
        if let Some(token) = cookies::refresh_token(app, &headers) {
            cookies::require_origin(app, &headers)?;
            return Ok(Self::Cookie(Secret::new(token)));
        }
        let token = bearer_token(&headers).and_then(|token| token.ok_or(Refusal::MissingToken));
        Ok(Self::Bearer(token.map(Secret::new)))
    }
}
