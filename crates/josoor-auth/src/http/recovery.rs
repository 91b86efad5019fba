//! `/auth/password` and `/auth/email`: links that set a password or verify an address, and changing both.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::account::{Shown, email, password, requests, secure, undo, verification};
use crate::app::App;
use crate::domain::{Email, Locale, Password, Secret, Timestamp};
use crate::error::{Error, Invalid, Result};
use crate::http::request::body::{Body, OptionalBody};
use crate::http::request::caller::{MaybeSignedIn, SignedIn};
use crate::http::request::client_info::ClientInfo;
use crate::http::request::cookies;
use crate::http::request::definition::request_fields;
use crate::http::request::field_types::PasswordToSet;
use crate::http::request::language::accepted_locale;
use crate::http::response::document::ProblemDocument;
use crate::http::response::representation::{BaseResponse, TokenResponse};
use crate::http::response::signed_in::with_cookies;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(forgot_password))
        .routes(routes!(reset_password))
        .routes(routes!(change_password))
        .routes(routes!(verify_email))
        .routes(routes!(resend_verification))
        .routes(routes!(change_email))
        .routes(routes!(undo_change))
        .routes(routes!(secure_account))
}

request_fields! {
    /// The JSON body that names an address.
    pub struct ForgotPasswordRequest {
        /// The account's address, in any letter case.
        email: Email,
    }
}

request_fields! {
    /// The JSON body that sets a password by a link.
    pub struct ResetPasswordRequest {
        /// The part after `token=` in the link.
        token: Secret,
        /// The password to set.
        new_password: PasswordToSet,
        /// A password from before the account's address was changed. Only to recover an account after such a change was undone
        /// (`recovery_blocked`); ignored otherwise.
        previous_password: Option<Password>,
    }
}

request_fields! {
    /// The JSON body that undoes a change of address, or a deletion.
    pub struct UndoRequest {
        /// The part after `token=` in the link.
        token: Secret,
    }
}

request_fields! {
    /// The JSON body that revokes all that can sign in to an account.
    pub struct SecureAccountRequest {
        /// The part after `token=` in the link.
        token: Secret,
        /// The address that the mail with the link went to, typed in by its owner.
        email: Email,
    }
}

request_fields! {
    /// The JSON body of a change of one's own password.
    pub struct ChangePasswordRequest {
        /// The password until now.
        current_password: Password,
        /// The password to set.
        new_password: PasswordToSet,
    }
}

request_fields! {
    /// The JSON body that verifies an address.
    pub struct VerifyEmailRequest {
        /// The part after `token=` in the link.
        token: Secret,
        /// The account's password. Not needed with an access token of the account, nor to undo a change.
        password: Option<Password>,
    }
}

request_fields! {
    /// The JSON body that asks for another mail.
    pub struct ResendVerificationRequest {
        /// The address to verify. Without it, that of the caller's account.
        email: Option<Email>,
    }
}

request_fields! {
    /// The JSON body of a change of one's own address.
    pub struct ChangeEmailRequest {
        /// The address to change to.
        new_email: Email,
        /// The account's password.
        password: Password,
    }
}

/// What was undone.
#[derive(Debug, Serialize, ToSchema)]
pub struct UndoneResponse {
    /// Always true.
    pub success: bool,
    /// One English sentence.
    pub message: &'static str,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// Whether a password has to be set next, with the link of a second mail and with something from before the change.
    pub recovery_required: bool,
}

fn done(app: &App, status: StatusCode, message: &'static str) -> Response {
    (status, Json(BaseResponse::done(app, message))).into_response()
}

fn locale_for(app: &App, headers: &HeaderMap) -> Locale {
    accepted_locale(headers).unwrap_or(app.config.mail.locale)
}

/// Asks for a link that sets a new password
///
/// The answer and its time are the same for every address, whether it has an account or not.
#[utoipa::path(
    post, path = "/auth/password/forgot", tag = "account", operation_id = "forgot_password",
    request_body = ForgotPasswordRequest,
    responses((status = 202, description = "If there is such an account, a mail is on its way", body = BaseResponse))
)]
async fn forgot_password(
    State(app): State<App>,
    ClientInfo(client): ClientInfo,
    headers: HeaderMap,
    Body(ForgotPasswordRequest { email }): Body<ForgotPasswordRequest>,
) -> Result<Response> {
    requests::forgot_password(&app, &email, locale_for(&app, &headers), &client).await?;
    Ok(done(
        &app,
        StatusCode::ACCEPTED,
        "If there is an account with this address, a link to set a new password is on its way.",
    ))
}

/// Sets a password with the link of a mail
///
/// For "forgot password" and for invitations. All sessions of the account end; sign in with the new password. An account whose
/// change of address was taken back also wants a password from before that change.
#[utoipa::path(
    post, path = "/auth/password/reset", tag = "account", operation_id = "reset_password",
    request_body = ResetPasswordRequest,
    responses(
        (status = 200, description = "The password is set", body = BaseResponse),
        (status = 400, description = "`link_invalid`, `link_expired` (also: replaced by a newer one) or `link_used`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, description = "`invalid_credentials`: `previous_password` was not good before the change of address", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "`account_inactive`; `recovery_blocked`: the account's change of address was taken back, and the link alone is not enough", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn reset_password(
    State(app): State<App>,
    ClientInfo(client): ClientInfo,
    headers: HeaderMap,
    Body(request): Body<ResetPasswordRequest>,
) -> Result<Response> {
    let mark_for = |email_key: &str| cookies::device_mark(&app, email_key, &headers);
    let shown = Shown {
        previous_password: request.previous_password,
        mark_for: &mark_for,
    };
    password::reset(
        &app,
        request.token.expose(),
        request.new_password.0,
        shown,
        &client,
    )
    .await?;
    Ok(done(
        &app,
        StatusCode::OK,
        "The password is set. Sign in with it.",
    ))
}

/// Changes one's own password
///
/// All other sessions end. This one goes on with the tokens of the answer; its earlier refresh tokens are dead.
#[utoipa::path(
    post, path = "/auth/password/change", tag = "account", operation_id = "change_password", security(("bearer" = [])),
    request_body = ChangePasswordRequest,
    responses(
        (status = 200, description = "The password is changed", body = TokenResponse, headers(("Set-Cookie" = String, description = "In cookie transport the next refresh token"))),
        (status = 401, description = "`invalid_credentials`: not the current password", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "`origin_not_allowed`: the session's refresh cookie from a page that may not", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn change_password(
    signed_in: SignedIn,
    State(app): State<App>,
    headers: HeaderMap,
    Body(request): Body<ChangePasswordRequest>,
) -> Result<Response> {
    // A cookie of another session is left alone. One of this session must not stay behind with a dead token.
    let by_cookie = cookies::refresh_token(&app, &headers)
        .and_then(|token| app.keys.refresh.read(token).ok())
        .is_some_and(|claims| claims.session() == signed_in.caller.session);
    if by_cookie {
        cookies::require_origin(&app, &headers)?;
    }
    let (current, new) = (request.current_password, request.new_password.0);
    let mut issued = password::change(&app, &signed_in.caller, current, new, &signed_in.client).await?;
    let cookie = if by_cookie {
        let cookie = cookies::set_refresh(&app, &headers, &issued);
        issued.refresh_token = None;
        cookie
    } else {
        Vec::new()
    };
    Ok(with_cookies(Json(TokenResponse::from(&issued)), cookie))
}

/// Verifies an address with the link of a mail
///
/// Also finishes a registration under `verify_first`, completes a change of address, and undoes one. A click alone is not
/// enough: it takes the account's password, or an access token of the account.
#[utoipa::path(
    post, path = "/auth/email/verify", tag = "account", operation_id = "verify_email",
    request_body = VerifyEmailRequest,
    security((), ("bearer" = [])),
    responses(
        (status = 200, description = "The address is verified", body = BaseResponse),
        (status = 400, description = "`link_invalid`, `link_expired` (also: replaced by a newer one) or `link_used`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, description = "`invalid_credentials`: not the account's password", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "`account_inactive`", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn verify_email(
    State(app): State<App>,
    ClientInfo(client): ClientInfo,
    MaybeSignedIn(signed_in): MaybeSignedIn,
    Body(VerifyEmailRequest { token, password }): Body<VerifyEmailRequest>,
) -> Result<Response> {
    // A token that is not good says nothing: the password may be there, or not be needed.
    let caller = signed_in.as_ref().ok().map(|signed_in| &signed_in.caller);
    verification::verify_email(&app, token.expose(), password, caller, &client).await?;
    Ok(done(&app, StatusCode::OK, "Done: the address is confirmed."))
}

/// Asks for another mail that verifies an address
///
/// The answer and its time are the same for every address.
#[utoipa::path(
    post, path = "/auth/email/verify/resend", tag = "account", operation_id = "resend_verification",
    request_body(content = Option<ResendVerificationRequest>),
    security((), ("bearer" = [])),
    responses(
        (status = 202, description = "If the address is to be verified, a mail is on its way", body = BaseResponse),
        (status = 401, description = "No address, and an access token that is not good", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn resend_verification(
    State(app): State<App>,
    ClientInfo(client): ClientInfo,
    MaybeSignedIn(signed_in): MaybeSignedIn,
    headers: HeaderMap,
    OptionalBody(ResendVerificationRequest { email }): OptionalBody<ResendVerificationRequest>,
) -> Result<Response> {
    match (email, signed_in) {
        (Some(email), _) => {
            requests::resend_verification(&app, &email, locale_for(&app, &headers), &client).await?;
        }
        (None, Ok(signed_in)) => {
            email::resend_own(&app, &signed_in.caller, &signed_in.client).await?;
        }
        // A token was sent, so the request is about its account.
        (None, Err(Some(refused))) => return Err(refused),
        (None, Err(None)) => {
            let reason = Invalid::new(
                "required",
                "Name the address, or send the access token of the account that it belongs to.",
            );
            return Err(Error::invalid("email", reason));
        }
    }
    Ok(done(
        &app,
        StatusCode::ACCEPTED,
        "If this address is still to be confirmed, a mail is on its way.",
    ))
}

/// Asks for another address for one's own account
///
/// It takes effect when the new address is verified. A mail to the old one can undo the change for 72 hours.
#[utoipa::path(
    post, path = "/auth/email/change", tag = "account", operation_id = "change_email", security(("bearer" = [])),
    request_body = ChangeEmailRequest,
    responses(
        (status = 202, description = "A mail to the new address is on its way", body = BaseResponse),
        (status = 401, description = "`invalid_credentials`: not the account's password", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn change_email(
    signed_in: SignedIn,
    State(app): State<App>,
    Body(request): Body<ChangeEmailRequest>,
) -> Result<Response> {
    let (caller, client) = (&signed_in.caller, &signed_in.client);
    email::request_change(&app, caller, &request.new_email, request.password, client).await?;
    Ok(done(
        &app,
        StatusCode::ACCEPTED,
        "A link to confirm the new address is on its way to it.",
    ))
}

/// Undoes a change of address or a deletion with the link of a mail
///
/// With the link's token alone. All sessions of the account stay revoked. An account that comes back to an earlier verified
/// address has no password until its owner recovers it: a second mail has the link, and `/auth/password/reset` then also
/// wants a password from before the change (`recovery_blocked`).
#[utoipa::path(
    post, path = "/auth/account/undo", tag = "account", operation_id = "undo_change",
    request_body = UndoRequest,
    responses(
        (status = 200, description = "Taken back", body = UndoneResponse),
        (status = 400, description = "`link_invalid`, `link_expired` or `link_used`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "`account_inactive`: an administrator has deactivated the account; the link stays good", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn undo_change(
    State(app): State<App>,
    ClientInfo(client): ClientInfo,
    Body(UndoRequest { token }): Body<UndoRequest>,
) -> Result<Response> {
    let undone = undo::undo(&app, token.expose(), &client).await?;
    let message = if undone.frozen {
        "Taken back. A second mail has a link to set a new password."
    } else {
        "Taken back. Sign in as before."
    };
    let body = UndoneResponse {
        success: true,
        message,
        timestamp: app.clock.now(),
        recovery_required: undone.frozen,
    };
    Ok(Json(body).into_response())
}

/// Secures an account after a sign-in that was not its owner's
///
/// With the link of the mail about a new device, and the address that the mail went to. All sessions end, the devices are
/// forgotten, other open links and the password end, and a mail has the link that sets another password. No session begins.
#[utoipa::path(
    post, path = "/auth/account/secure", tag = "account", operation_id = "secure_account",
    request_body = SecureAccountRequest,
    responses(
        (status = 200, description = "The account is secured, and a mail is on its way", body = BaseResponse),
        (status = 400, description = "`link_invalid` (also: not the address that the mail went to), `link_expired` or `link_used`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "`account_inactive`", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn secure_account(
    State(app): State<App>,
    ClientInfo(client): ClientInfo,
    Body(SecureAccountRequest { token, email }): Body<SecureAccountRequest>,
) -> Result<Response> {
    secure::secure(&app, token.expose(), &email, &client).await?;
    Ok(done(
        &app,
        StatusCode::OK,
        "The account is secured. A mail has a link to set a new password.",
    ))
}
