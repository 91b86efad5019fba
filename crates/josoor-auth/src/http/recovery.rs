//! `/auth/password` and `/auth/email`: links that set a password or prove an address, and changing both.

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use josoor_auth_verify::bearer_token;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{any_text, with_cookies};
use crate::account::{Shown, email, password, requests, secure, undo, verification};
use crate::app::App;
use crate::domain::{Email, Locale, Password, Timestamp};
use crate::error::{Error, Invalid, Result};
use crate::http::request::caller::{From, SignedIn};
use crate::http::request::cookies;
use crate::http::request::extract::{JsonBody, OptionalJsonBody};
use crate::http::request::language::accepted_locale;
use crate::http::response::problem::ProblemDocument;
use crate::http::response::representation::{
    BaseResponse, TokenResponse, email_schema, new_password_schema, optional_email_schema,
    optional_password_schema, password_schema,
};

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

/// The JSON body that names an address.
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "documents what `Fields` reads")]
pub struct ForgotPasswordRequest {
    /// In any letter case.
    #[schema(schema_with = email_schema)]
    email: String,
}

/// The JSON body that sets a password by a link.
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "documents what `Fields` reads")]
pub struct ResetPasswordRequest {
    /// What stands after `token=` in the link.
    token: String,
    /// The password to set.
    #[schema(schema_with = new_password_schema)]
    new_password: String,
    /// A password from before the account's address was changed. Only to recover an account after such a change was taken back
    /// (`recovery_blocked`); ignored otherwise.
    #[schema(schema_with = optional_password_schema)]
    previous_password: Option<String>,
}

/// The JSON body that takes a change of address, or a deletion, back.
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "documents what `Fields` reads")]
pub struct UndoRequest {
    /// What stands after `token=` in the link.
    token: String,
}

/// The JSON body that ends all that can sign in to an account.
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "documents what `Fields` reads")]
pub struct SecureAccountRequest {
    /// What stands after `token=` in the link.
    token: String,
    /// The address that the mail with the link went to, typed in by its owner.
    #[schema(schema_with = email_schema)]
    email: String,
}

/// What was taken back.
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

/// The JSON body of a change of one's own password.
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "documents what `Fields` reads")]
pub struct ChangePasswordRequest {
    /// The password until now.
    #[schema(schema_with = password_schema)]
    current_password: String,
    /// The password to set.
    #[schema(schema_with = new_password_schema)]
    new_password: String,
}

/// The JSON body of a proof of an address.
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "documents what `Fields` reads")]
pub struct VerifyEmailRequest {
    /// What stands after `token=` in the link.
    token: String,
    /// The account's password. Not needed with an access token of the account, nor to take a change back.
    #[schema(schema_with = optional_password_schema)]
    password: Option<String>,
}

/// The JSON body that asks for another mail.
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "documents what `Fields` reads")]
pub struct ResendVerificationRequest {
    /// Without it, the address of the caller's account.
    #[schema(schema_with = optional_email_schema)]
    email: Option<String>,
}

/// The JSON body of a change of one's own address.
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "documents what `Fields` reads")]
pub struct ChangeEmailRequest {
    /// The address to prove.
    #[schema(schema_with = email_schema)]
    new_email: String,
    /// The account's password.
    #[schema(schema_with = password_schema)]
    password: String,
}

fn done(app: &App, status: StatusCode, message: &'static str) -> Response {
    let body = BaseResponse {
        success: true,
        message,
        timestamp: app.clock.now(),
    };
    (status, Json(body)).into_response()
}

fn locale_for(app: &App, headers: &HeaderMap) -> Locale {
    accepted_locale(headers).unwrap_or(app.config.mail.locale)
}

/// A password that is to be set.
fn new_password(app: &App) -> impl FnOnce(&str) -> Result<Password, Invalid> + '_ {
    |text| {
        let password = Password::parse(text)?;
        app.passwords.check_alone(&password)?;
        Ok(password)
    }
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
    From(client): From,
    headers: HeaderMap,
    JsonBody(mut fields): JsonBody,
) -> Result<Response> {
    let email = fields.required("email", Email::parse);
    let email = fields.finish_with(|| email)?;
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
    From(client): From,
    headers: HeaderMap,
    JsonBody(mut fields): JsonBody,
) -> Result<Response> {
    let token = fields.required("token", any_text);
    let new = fields.required("new_password", new_password(&app));
    let previous_password = fields.optional("previous_password", Password::parse);
    let (token, new) = fields.finish_with(|| Some((token?, new?)))?;
    let mark_for = |email_key: &str| cookies::device_mark(&app, email_key, &headers);
    let shown = Shown {
        previous_password,
        mark_for: &mark_for,
    };
    password::reset(&app, token.expose(), new, shown, &client).await?;
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
    JsonBody(mut fields): JsonBody,
) -> Result<Response> {
    let current = fields.required("current_password", Password::parse);
    let new = fields.required("new_password", new_password(&app));
    let (current, new) = fields.finish_with(|| Some((current?, new?)))?;
    // A cookie of another session is left alone. One of this session must not stay behind with a dead token.
    let by_cookie = cookies::refresh_token(&app, &headers)
        .and_then(|token| app.keys.refresh.read(token).ok())
        .is_some_and(|claims| claims.session() == signed_in.caller.session);
    if by_cookie {
        cookies::require_origin(&app, &headers)?;
    }
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

/// Proves an address with the link of a mail
///
/// Also finishes a registration under `verify_first`, makes a new address the account's, and takes such a change
/// back. A click alone proves too little: it takes the account's password, or an access token of the account.
#[utoipa::path(
    post, path = "/auth/email/verify", tag = "account", operation_id = "verify_email",
    request_body = VerifyEmailRequest,
    security((), ("bearer" = [])),
    responses(
        (status = 200, description = "The address is proved", body = BaseResponse),
        (status = 400, description = "`link_invalid`, `link_expired` (also: replaced by a newer one) or `link_used`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, description = "`invalid_credentials`: not the account's password", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "`account_inactive`", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn verify_email(
    State(app): State<App>,
    From(client): From,
    MaybeSignedIn(signed_in): MaybeSignedIn,
    JsonBody(mut fields): JsonBody,
) -> Result<Response> {
    let token = fields.required("token", any_text);
    let password = fields.optional("password", Password::parse);
    let token = fields.finish_with(|| token)?;
    // A token that is not good says nothing: the password may be there, or not be needed.
    let caller = signed_in.as_ref().ok().map(|signed_in| &signed_in.caller);
    verification::verify_email(&app, token.expose(), password, caller, &client).await?;
    Ok(done(&app, StatusCode::OK, "Done: the address is confirmed."))
}

/// Asks for the mail that proves an address once more
///
/// The answer and its time are the same for every address.
#[utoipa::path(
    post, path = "/auth/email/verify/resend", tag = "account", operation_id = "resend_verification",
    request_body(content = Option<ResendVerificationRequest>),
    security((), ("bearer" = [])),
    responses(
        (status = 202, description = "If there is something to prove, a mail is on its way", body = BaseResponse),
        (status = 401, description = "No address, and an access token that is not good", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn resend_verification(
    State(app): State<App>,
    From(client): From,
    MaybeSignedIn(signed_in): MaybeSignedIn,
    headers: HeaderMap,
    OptionalJsonBody(mut fields): OptionalJsonBody,
) -> Result<Response> {
    let email = fields.optional("email", Email::parse);
    fields.finish()?;
    match (email, signed_in) {
        (Some(email), _) => {
            requests::resend_verification(&app, &email, locale_for(&app, &headers), &client).await?;
        }
        (None, Ok(signed_in)) => {
            email::resend_own(&app, &signed_in.caller, &signed_in.client).await?;
        }
        // Who sent a token, which has expired perhaps, means that account.
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
/// It takes effect when the new address is proved. The old one is told, and can take the change back for 72 hours.
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
    JsonBody(mut fields): JsonBody,
) -> Result<Response> {
    let new = fields.required("new_email", Email::parse);
    let password = fields.required("password", Password::parse);
    let (new, password) = fields.finish_with(|| Some((new?, password?)))?;
    email::request_change(&app, &signed_in.caller, &new, password, &signed_in.client).await?;
    Ok(done(
        &app,
        StatusCode::ACCEPTED,
        "A link to confirm the new address is on its way to it.",
    ))
}

/// Takes back what a mail told of: a change of address, or a deletion
///
/// With the link's token alone. All sessions of the account stay ended. An account that comes back to an earlier verified
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
    From(client): From,
    JsonBody(mut fields): JsonBody,
) -> Result<Response> {
    let token = fields.required("token", any_text);
    let token = fields.finish_with(|| token)?;
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
    From(client): From,
    JsonBody(mut fields): JsonBody,
) -> Result<Response> {
    let token = fields.required("token", any_text);
    let email = fields.required("email", Email::parse);
    let (token, email) = fields.finish_with(|| Some((token?, email?)))?;
    secure::secure(&app, token.expose(), &email, &client).await?;
    Ok(done(
        &app,
        StatusCode::OK,
        "The account is secured. A mail has a link to set a new password.",
    ))
}

/// The caller, where a valid access token says who; otherwise what is wrong with the token, if there is one.
struct MaybeSignedIn(Result<SignedIn, Option<Error>>);

impl FromRequestParts<App> for MaybeSignedIn {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        if !matches!(bearer_token(&parts.headers), Ok(Some(_))) {
            return Ok(Self(Err(None)));
        }
        match SignedIn::from_request_parts(parts, app).await {
            Ok(signed_in) => Ok(Self(Ok(signed_in))),
            Err(error @ Error::Refused(_)) => Ok(Self(Err(Some(error)))),
            Err(error) => Err(error),
        }
    }
}
