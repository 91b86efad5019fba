//! `/auth/login/mfa` and `/auth/step-up`: finishing a sign-in, and verifying the user of a session once more.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::pending::{self, FactorNeeded};
use crate::auth::step_up_code;
use crate::domain::{FactorAnswer, FactorCode, FactorMethod, PasskeyAssertion, Password, Secret};
use crate::error::{Error, Invalid, Result};
use crate::http::request::body::Body;
use crate::http::request::caller::Enrolling;
use crate::http::request::client_info::ClientInfo;
use crate::http::request::cookies;
use crate::http::request::definition::{NotNull, request_fields};
use crate::http::request::transport::Transport;
use crate::http::response::document::ProblemDocument;
use crate::http::response::problem::Problem;
use crate::http::response::representation::{BaseResponse, TokenResponse};
use crate::http::response::signed_in::{signed_in, with_cookies};
use crate::sessions::{self, Presented};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(finish_log_in))
        .routes(routes!(step_up))
        .routes(routes!(request_step_up_code))
}

request_fields! {
    /// The JSON body that finishes a sign-in.
    pub struct FinishLoginRequest {
        /// The member `flow` of the answer `mfa_required`.
        flow: Secret,
        /// One of its `methods`.
        method: FactorMethod,
        /// A code of this method. Not with `passkey`.
        code: Option<FactorCode>,
        /// With `passkey`: the passkey, as the answer to the member `passkey` of the same answer.
        assertion: Option<PasskeyAssertion>,
        /// Whether this device spares the second factor for 30 days. Has no effect for roles in `mfa.no_trust`.
        trust_device: NotNull<bool>,
    }
}

request_fields! {
    /// The JSON body that verifies the user of a session: one of the three.
    pub struct StepUpRequest {
        /// The account's password, where the account has no second factor.
        password: Option<Password>,
        /// A code of the account's second factor; or, where the account has neither that nor a password, one from a mail.
        code: Option<FactorCode>,
        /// A passkey of the account, as the answer to `/auth/step-up/options`.
        assertion: Option<PasskeyAssertion>,
    }
}

/// The answer to a right password of an account with a second factor.
pub(super) fn factor_needed(app: &App, headers: &HeaderMap, needed: &FactorNeeded) -> Response {
    let cookies = cookies::set_flow(app, headers, needed.binding.as_ref(), needed.expires_in);
    with_cookies(Problem::mfa_required(needed), cookies)
}

/// Finishes a sign-in with its second factor
///
/// For the client that got `mfa_required`, within ten minutes. In cookie transport the browser must send the cookie that came with
/// it. The fifth wrong code ends the sign-in: it begins again with the password.
#[utoipa::path(
    post, path = "/auth/login/mfa", tag = "auth", operation_id = "finish_log_in",
    request_body = FinishLoginRequest,
    responses(
        (status = 200, description = "Signed in, in the transport that the sign-in was begun with", body = TokenResponse, headers(("Set-Cookie" = String, description = "`josoor_device`, and in cookie transport the refresh token"))),
        (status = 400, description = "`flow_expired`: begin again with the password", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, description = "`mfa_code_invalid`: a wrong code, or one that was used; `passkey_invalid` or `passkey_unknown`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "`account_inactive` or `origin_not_allowed`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "`session_limit`: as many sessions as there may be, all in use on known devices", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn finish_log_in(
    State(app): State<App>,
    ClientInfo(client): ClientInfo,
    headers: HeaderMap,
    Body(request): Body<FinishLoginRequest>,
) -> Result<Response> {
    let binding = cookies::flow_binding(&app, &headers);
    let answer = answer_of(request.method, request.code, request.assertion)?;
    let pending = pending::resume(&app, request.flow.expose(), binding, &client).await?;
    if answer.method() != request.method {
        let reason = Invalid::new(
            "invalid_code",
            "This is no code of the method that `method` names.",
        );
        return Err(Error::invalid("code", reason));
    }
    let transport = Transport::from(pending.transport);
    transport.require_origin(&app, &headers)?;
    let mark = cookies::device_mark(&app, &pending.user.email_key, &headers);
    let with = transport.sign_in_with(&app, &headers, mark);
    let trust = request.trust_device.0.unwrap_or(false);
    let issued = sessions::finish_log_in(&app, pending, &answer, trust, with, &client).await?;
    let answer = signed_in(&app, StatusCode::OK, issued, transport, &headers);
    Ok(with_cookies(answer, cookies::clear_flow(&app, &headers)))
}

/// What belongs to a method.
fn answer_of(
    method: FactorMethod,
    code: Option<FactorCode>,
    assertion: Option<PasskeyAssertion>,
) -> Result<FactorAnswer> {
    let (given, missing, other) = if method.is_code() {
        (code.map(FactorAnswer::from), "code", assertion.is_some())
    } else {
        (assertion.map(FactorAnswer::from), "assertion", code.is_some())
    };
    if other {
        let reason = Invalid::new("conflict", "Give what `method` names, and nothing besides.");
        return Err(Error::invalid("method", reason));
    }
    given.ok_or_else(|| Error::invalid(missing, Invalid::new("required", "This field is required.")))
}

/// Verifies the user of the session once more
///
/// With a code of the second factor or a passkey, where the account has one, else with the password. What was refused with `step_up_required`
/// is then done with the access token of the answer.
#[utoipa::path(
    post, path = "/auth/step-up", tag = "auth", operation_id = "step_up", security(("bearer" = [])),
    request_body = StepUpRequest,
    responses(
        (status = 200, description = "An access token of the same session with another `auth_time`, `amr` and `acr`. No refresh token: it stays as it is", body = TokenResponse),
        (status = 400, description = "`flow_expired`: the challenge of the passkey is too old, or was answered before", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, description = "`invalid_credentials`, `mfa_code_invalid`, `passkey_invalid` or `passkey_unknown`", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn step_up(
    Enrolling(signed_in): Enrolling,
    State(app): State<App>,
    Body(request): Body<StepUpRequest>,
) -> Result<Json<TokenResponse>> {
    let with = match (request.password, request.code, request.assertion) {
        (Some(password), None, None) => Presented::Password(password),
        (None, Some(code), None) => Presented::Factor(code.into()),
        (None, None, Some(assertion)) => Presented::Factor(assertion.into()),
        (None, None, None) => {
            let reason = Invalid::new(
                "required",
                "Give a code of the second factor, a passkey, or the password.",
            );
            return Err(Error::invalid("code", reason));
        }
        _ => {
            let reason = Invalid::new(
                "conflict",
                "Give the password, a code or a passkey, and one of them only.",
            );
            return Err(Error::invalid("code", reason));
        }
    };
    let issued = sessions::step_up(&app, &signed_in.caller, with, &signed_in.client).await?;
    Ok(Json(TokenResponse::from(&issued)))
}

/// Sends a code to verify the user of the session once more
///
/// Only with the setting `login.mail_code`, and only where the account has neither a password nor a second factor. The code is given at
/// `/auth/step-up`; it raises no level.
#[utoipa::path(
    post, path = "/auth/step-up/code", tag = "auth", operation_id = "request_step_up_code", security(("bearer" = [])),
    responses(
        (status = 202, description = "A mail is on its way to the account's address", body = BaseResponse),
        (status = 404, description = "`not_found`: `login.mail_code` is off", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "`validation_failed`: the account has a password or a second factor", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn request_step_up_code(Enrolling(signed_in): Enrolling, State(app): State<App>) -> Result<Response> {
    step_up_code::request(&app, &signed_in.caller, &signed_in.client).await?;
    let body = BaseResponse::done(&app, "A code is on its way to the address of your account.");
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
}
