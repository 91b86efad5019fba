//! `/auth`: registering, signing in, refreshing, signing out, and one's own account.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::account::register::{self, Registration};
use crate::account::{deletion, profile};
use crate::app::App;
use crate::auth::caller::Caller;
use crate::domain::{Change, Email, FullName, Locale, Password};
use crate::error::{Error, Result};
use crate::http::request::body::Body;
use crate::http::request::caller::SignedIn;
use crate::http::request::client_info::ClientInfo;
use crate::http::request::cookies;
use crate::http::request::definition::request_fields;
use crate::http::request::field_types::PasswordToSet;
use crate::http::request::language::accepted_locale;
use crate::http::request::session_token::{RefreshRequest, SessionToken};
use crate::http::request::transport::Transport;
use crate::http::response::document::ProblemDocument;
use crate::http::response::representation::{BaseResponse, PreparedUser, TokenResponse, UserResponse};
use crate::http::response::signed_in::{signed_in, with_cookies};
use crate::http::second_factor::factor_needed;
use crate::sessions::{self, LogIn, LogOut};
use crate::store::UserPatch;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(register))
        .routes(routes!(log_in))
        .routes(routes!(refresh))
        .routes(routes!(log_out))
        .routes(routes!(show_me, update_me, delete_me))
}

request_fields! {
    /// The JSON body of a registration.
    pub struct RegisterRequest {
        /// The account's address, kept as typed.
        email: Email,
        /// The password to set.
        password: PasswordToSet,
        /// The name to show.
        full_name: Option<FullName>,
        /// The language of pages and mails. Without it, that of the request, else the configured one.
        locale: Option<Locale>,
        /// Where the refresh token goes.
        transport: Option<Transport>,
    }
}

request_fields! {
    /// The JSON body of a sign-in.
    pub struct LoginRequest {
        /// The account's address, in any letter case.
        email: Email,
        /// The account's password.
        password: Password,
        /// Where the refresh token goes.
        transport: Option<Transport>,
    }
}

request_fields! {
    /// The JSON body of a change of one's own profile. What is left out stays.
    pub struct UpdateMeRequest {
        /// The name to show.
        full_name: Change<FullName>,
        /// The language of pages and mails.
        locale: Option<Locale>,
    }
}

request_fields! {
    /// The JSON body of the deletion of one's own account.
    pub struct DeleteMeRequest {
        /// The account's password, once more.
        password: Password,
    }
}

impl RegisterRequest {
    /// The registration, in the language of the request unless it names one, and where the refresh token goes.
    pub(super) fn into_registration(self, app: &App, headers: &HeaderMap) -> (Registration, Transport) {
        let locale = self
            .locale
            .or(accepted_locale(headers))
            .unwrap_or(app.config.mail.locale);
        let registration = Registration {
            email: self.email,
            password: self.password.0,
            full_name: self.full_name,
            locale,
        };
        (registration, self.transport.unwrap_or_default())
    }
}

/// Registers a new account and signs it in
///
/// The account begins with the role `user`, whatever the request says. With the setting `registration.mode` at
/// `verify_first` the answer is always 202 and opens no session: a mail says how to go on.
#[utoipa::path(
    post, path = "/auth/register", tag = "auth", operation_id = "register",
    request_body = inline(RegisterRequest),
    responses(
        (status = 201, description = "The account was created and is signed in", body = TokenResponse, headers(("Set-Cookie" = String, description = "`josoor_device`, and in cookie transport the refresh token"))),
        (status = 202, description = "Under `verify_first`: a mail is on its way, for any address alike. Under `require_verified`: the account was created, and can be signed in to once its address is verified", body = BaseResponse),
        (status = 400, description = "`email_taken` or `malformed_json`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "`registration_closed` or `origin_not_allowed`", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn register(
    State(app): State<App>,
    ClientInfo(client): ClientInfo,
    headers: HeaderMap,
    Body(request): Body<RegisterRequest>,
) -> Result<Response> {
    let (registration, transport) = request.into_registration(&app, &headers);
    transport.require_origin(&app, &headers)?;
    let with = transport.sign_in_with(&app, &headers, None);
    let Some(issued) = register::register(&app, registration, with, &client).await? else {
        let body = BaseResponse::done(&app, "A mail to this address says how to go on.");
        return Ok((StatusCode::ACCEPTED, Json(body)).into_response());
    };
    Ok(signed_in(&app, StatusCode::CREATED, issued, transport, &headers))
}

/// Signs in with address and password
#[utoipa::path(
    post, path = "/auth/login", tag = "auth", operation_id = "log_in",
    request_body = LoginRequest,
    responses(
        (status = 200, description = "Signed in", body = TokenResponse, headers(("Set-Cookie" = String, description = "`josoor_device`, and in cookie transport the refresh token"))),
        (status = 401, description = "`invalid_credentials`: unknown address or wrong password", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "After the right password `account_inactive`, `email_not_verified`, or `mfa_required` with `flow`, `methods` and `expires_in` for `/auth/login/mfa`; or `origin_not_allowed`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "`session_limit`: as many sessions as there may be, all in use on known devices", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn log_in(
    State(app): State<App>,
    ClientInfo(client): ClientInfo,
    headers: HeaderMap,
    Body(request): Body<LoginRequest>,
) -> Result<Response> {
    let transport = request.transport.unwrap_or_default();
    transport.require_origin(&app, &headers)?;
    let mark = cookies::device_mark(&app, request.email.key(), &headers);
    let with = transport.sign_in_with(&app, &headers, mark);
    Ok(
        match sessions::log_in(&app, &request.email, request.password, with, &client).await? {
            LogIn::Opened(issued) => signed_in(&app, StatusCode::OK, *issued, transport, &headers),
            LogIn::FactorNeeded(needed) => factor_needed(&app, &headers, &needed),
        },
    )
}

/// Exchanges a refresh token for new tokens
///
/// The token comes from the body, else from the cookie; a bearer token beside them is ignored. With neither, a valid bearer token
/// gets a new access token of the same session, without rotation: only where the session's refresh token was never used and lies in
/// no cookie, only for the current token, and for `auth.bearer_renewal_max` after the sign-in.
#[utoipa::path(
    post, path = "/auth/refresh", tag = "auth", operation_id = "refresh",
    request_body(content = Option<RefreshRequest>),
    security((), ("bearer" = [])),
    responses(
        (status = 200, description = "New tokens", body = TokenResponse, headers(("Set-Cookie" = String, description = "In cookie transport the next refresh token"))),
        (status = 401, description = "Why there are none: `token_invalid`, `token_expired`, `session_expired`, `session_revoked`, `password_changed`, `account_inactive`, `refresh_token_reused`, `refresh_token_required`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "`missing_token` or `origin_not_allowed`", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn refresh(
    State(app): State<App>,
    ClientInfo(client): ClientInfo,
    headers: HeaderMap,
    token: SessionToken,
) -> Result<Response> {
    let mut cookie = Vec::new();
    let issued = match token {
        SessionToken::Body(token) => sessions::refresh(&app, token.expose(), &client).await?,
        SessionToken::Bearer(token) => sessions::renew_access(&app, token?.expose()).await?,
        SessionToken::Cookie(token) => {
            let mut issued = match sessions::refresh(&app, token.expose(), &client).await {
                Ok(issued) => issued,
                // A token that will never be valid again must not stand in the way of the next sign-in.
                Err(refused @ Error::Refused(_)) => {
                    let clear = cookies::clear_refresh(&app, &headers);
                    return Ok(with_cookies(refused, clear));
                }
                Err(error) => return Err(error),
            };
            cookie = cookies::set_refresh(&app, &headers, &issued);
            issued.refresh_token = None;
            issued
        }
    };
    Ok(with_cookies(Json(TokenResponse::from(&issued)), cookie))
}

/// Revokes the session of a token
///
/// By the refresh token in the body, else by the cookie, else by the bearer token. A session that was revoked before is
/// no failure. A token from before a change of the password revokes nothing.
#[utoipa::path(
    post, path = "/auth/logout", tag = "auth", operation_id = "log_out",
    request_body(content = Option<RefreshRequest>),
    security((), ("bearer" = [])),
    responses(
        (status = 200, description = "The session is revoked, if there was one: also without a token and with one that is not valid", body = BaseResponse, headers(("Set-Cookie" = String, description = "Clears the cookie of a cookie session"))),
        (status = 403, description = "`origin_not_allowed`", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn log_out(
    State(app): State<App>,
    ClientInfo(client): ClientInfo,
    headers: HeaderMap,
    token: SessionToken,
) -> Result<Response> {
    let revoked = match &token {
        SessionToken::Body(token) | SessionToken::Cookie(token) => {
            sessions::log_out(&app, LogOut::Refresh(token.expose()), &client).await
        }
        SessionToken::Bearer(Ok(token)) => {
            sessions::log_out(&app, LogOut::Access(token.expose()), &client).await
        }
        SessionToken::Bearer(Err(_)) => Ok(()),
    };
    match revoked {
        Ok(()) => {}
        // With a token that is not valid there is no session to revoke, and the client is signed out.
        Err(Error::Refused(refusal)) if refusal.status() == StatusCode::UNAUTHORIZED => {}
        Err(error) => return Err(error),
    }
    let clear = cookies::clear_refresh_if_allowed(&app, &headers);
    Ok(with_cookies(Json(BaseResponse::done(&app, "Signed out.")), clear))
}

/// Shows one's own account
#[utoipa::path(
    get, path = "/auth/me", tag = "account", operation_id = "show_me", security(("bearer" = [])),
    responses((status = 200, description = "The account", body = UserResponse))
)]
async fn show_me(caller: Caller) -> Response {
    show(&caller)
}

/// The answer of [`show_me`].
pub(super) fn show(caller: &Caller) -> Response {
    let body = PreparedUser::of(&caller.user).body.clone();
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], body).into_response()
}

/// Changes one's own name or language
#[utoipa::path(
    patch, path = "/auth/me", tag = "account", operation_id = "update_me", security(("bearer" = [])),
    request_body = UpdateMeRequest,
    responses((status = 200, description = "The account as it is now", body = UserResponse))
)]
async fn update_me(
    signed_in: SignedIn,
    State(app): State<App>,
    Body(request): Body<UpdateMeRequest>,
) -> Result<Response> {
    let patch = UserPatch {
        full_name: request.full_name,
        locale: request.locale,
        ..UserPatch::default()
    };
    let user = profile::update_own(&app, &signed_in.caller, patch, &signed_in.client).await?;
    Ok(Json(UserResponse::from(&user)).into_response())
}

/// Deletes one's own account
///
/// All sessions end, and nothing signs in to it any more. For `account.deletion_grace` (72 hours) the link of a mail restores it,
/// which goes to every address that was verified for the account in that time; then it is removed for good.
#[utoipa::path(
    delete, path = "/auth/me", tag = "account", operation_id = "delete_me", security(("bearer" = [])),
    request_body = DeleteMeRequest,
    responses(
        (status = 204, description = "The account is deleted"),
        (status = 409, description = "`last_admin`: the service needs an administrator", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn delete_me(
    signed_in: SignedIn,
    State(app): State<App>,
    headers: HeaderMap,
    Body(DeleteMeRequest { password }): Body<DeleteMeRequest>,
) -> Result<Response> {
    deletion::delete_own(&app, &signed_in.caller, password, &signed_in.client).await?;
    let clear = cookies::clear_refresh_if_allowed(&app, &headers);
    Ok(with_cookies(StatusCode::NO_CONTENT, clear))
}
