//! `/auth/login/code`: signing in with a code that is sent to the account's address.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::account::mail_code as sign_in_by_mail;
use crate::app::App;
use crate::auth::mail_code::{self, Shown};
use crate::domain::{Email, MailCode, Secret};
use crate::error::Result;
use crate::http::request::body::Body;
use crate::http::request::client_info::ClientInfo;
use crate::http::request::cookies;
use crate::http::request::definition::request_fields;
use crate::http::request::language::accepted_locale;
use crate::http::request::transport::Transport;
use crate::http::response::document::ProblemDocument;
use crate::http::response::representation::TokenResponse;
use crate::http::response::signed_in::{signed_in, with_cookies};
use crate::http::second_factor::factor_needed;
use crate::sessions::LogIn;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(request_mail_code))
        .routes(routes!(verify_mail_code))
}

request_fields! {
    /// The JSON body that asks for a code by mail.
    pub struct MailCodeRequest {
        /// The account's address, in any letter case.
        email: Email,
        /// Where the refresh token goes once the code was given.
        transport: Option<Transport>,
    }
}

request_fields! {
    /// The JSON body that signs in with a code from a mail.
    pub struct VerifyMailCodeRequest {
        /// The member `flow` of the answer to the request.
        flow: Secret,
        /// The code.
        code: MailCode,
    }
}

/// A sign-in that waits for the code of a mail.
#[derive(Serialize, ToSchema)]
pub struct MailCodeResponse {
    /// Names the sign-in at `/auth/login/code/verify`.
    pub flow: String,
    /// For how many seconds a code is taken. The code itself is good for ten minutes from when its mail was sent.
    pub expires_in: u64,
}

/// Asks for a code to sign in with
///
/// Only with the setting `login.mail_code`. The answer and its time are the same for every address, whether it has an account or
/// not. No account is created. The mail has a code of eight digits and a link; only the newest mail's work.
#[utoipa::path(
    post, path = "/auth/login/code", tag = "auth", operation_id = "request_mail_code",
    request_body = MailCodeRequest,
    responses(
        (status = 202, description = "If there is an account that may sign in with a code, a mail is on its way", body = MailCodeResponse, headers(("Set-Cookie" = String, description = "In cookie transport what binds the browser to the sign-in"))),
        (status = 403, description = "`origin_not_allowed`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: `login.mail_code` is off", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn request_mail_code(
    State(app): State<App>,
    ClientInfo(client): ClientInfo,
    headers: HeaderMap,
    Body(request): Body<MailCodeRequest>,
) -> Result<Response> {
    let transport = request.transport.unwrap_or_default();
    transport.require_origin(&app, &headers)?;
    let locale = accepted_locale(&headers).unwrap_or(app.config.mail.locale);
    let begun =
        sign_in_by_mail::request(&app, &request.email, transport.into(), None, locale, &client).await?;
    let cookies = cookies::set_flow(&app, &headers, begun.binding.as_ref(), begun.expires_in);
    let body = MailCodeResponse {
        flow: begun.flow.expose().to_owned(),
        expires_in: begun.expires_in.as_secs(),
    };
    Ok(with_cookies((StatusCode::ACCEPTED, Json(body)), cookies))
}

/// Signs in with a code from a mail
///
/// For the client that asked for it; in cookie transport the browser must send the cookie that came with the answer. The session has
/// `amr` `mail` and `acr` 1. An address that was not verified is verified by it; a password that was set before is removed then. The
/// fifth wrong code ends the sign-in.
#[utoipa::path(
    post, path = "/auth/login/code/verify", tag = "auth", operation_id = "verify_mail_code",
    request_body = VerifyMailCodeRequest,
    responses(
        (status = 200, description = "Signed in, in the transport that was asked for", body = TokenResponse, headers(("Set-Cookie" = String, description = "`josoor_device`, and in cookie transport the refresh token"))),
        (status = 400, description = "`flow_expired`: ask for another code", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, description = "`mail_code_invalid`: wrong, too old, used, or replaced by a newer mail", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "`mfa_required` with `flow`, `methods` and `expires_in` for `/auth/login/mfa`; or `origin_not_allowed`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: `login.mail_code` is off", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "`session_limit`: as many sessions as there may be, all in use on known devices", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn verify_mail_code(
    State(app): State<App>,
    ClientInfo(client): ClientInfo,
    headers: HeaderMap,
    Body(VerifyMailCodeRequest { flow, code }): Body<VerifyMailCodeRequest>,
) -> Result<Response> {
    sign_in_by_mail::require_enabled(&app)?;
    let binding = cookies::flow_binding(&app, &headers);
    let waiting = mail_code::resume(&app, flow.expose(), binding, &client).await?;
    let transport = Transport::from(waiting.transport);
    transport.require_origin(&app, &headers)?;
    let mark = cookies::device_mark(&app, waiting.email.key(), &headers);
    let with = transport.sign_in_with(&app, &headers, mark);
    let done = sign_in_by_mail::finish(&app, &waiting, Shown::Code(&code), with, &client).await?;
    Ok(match done {
        LogIn::Opened(issued) => {
            let answer = signed_in(&app, StatusCode::OK, *issued, transport, &headers);
            with_cookies(answer, cookies::clear_flow(&app, &headers))
        }
        LogIn::FactorNeeded(needed) => factor_needed(&app, &headers, &needed),
    })
}
