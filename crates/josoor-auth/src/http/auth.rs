//! `/auth`: registering, signing in, refreshing, signing out, and one's own account.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use josoor_auth_verify::bearer_token;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::account::register::{self, Registration};
use crate::account::{deletion, profile};
use crate::app::App;
use crate::auth::caller::Caller;
use crate::domain::{Change, Email, FullName, Locale, Password, Secret};
use crate::error::{Error, Invalid, Refusal, Result};
use crate::http::request::caller::{From, SignedIn};
use crate::http::request::cookies;
use crate::http::request::extract::{Fields, JsonBody, OptionalJsonBody};
use crate::http::request::language::accepted_locale;
use crate::http::response::problem::ProblemDocument;
use crate::http::response::representation::{
    BaseResponse, LocaleName, Shown, TokenResponse, UserResponse, email_schema, full_name_schema,
    new_password_schema, password_schema,
};
use crate::keys::DeviceMark;
use crate::sessions::{self, Issued, LogOut, SignInWith};
use crate::store::{self, UserPatch};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(register))
        .routes(routes!(log_in))
        .routes(routes!(refresh))
        .routes(routes!(log_out))
        .routes(routes!(show_me, update_me, delete_me))
}

/// Where a client wants its refresh token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ToSchema, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// In the body of the answer.
    #[default]
    Body,
    /// In a cookie that scripts cannot read. The request must come from an allowed origin.
    Cookie,
}

impl Transport {
    /// What a sign-in in this transport comes with. In cookie transport the request's origin has been verified.
    pub(super) fn with(self, app: &App, headers: &HeaderMap, mark: Option<DeviceMark>) -> SignInWith {
        let (transport, replaces) = match self {
            Self::Body => (store::Transport::Body, None),
            Self::Cookie => (store::Transport::Cookie, cookies::held_session(app, headers)),
        };
        SignInWith {
            mark,
            transport,
            replaces,
        }
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "body" => Ok(Self::Body),
            "cookie" => Ok(Self::Cookie),
            _ => Err(Invalid::new(
                "unknown_transport",
                "A transport is body or cookie.",
            )),
        }
    }

    pub(super) fn read(fields: &mut Fields) -> Self {
        fields.optional("transport", Self::parse).unwrap_or_default()
    }
}

/// The JSON body of a registration.
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "documents what `Fields` reads")]
pub struct RegisterRequest {
    /// Kept as typed; unique whatever its letter case.
    #[schema(schema_with = email_schema)]
    email: String,
    /// The password to set.
    #[schema(schema_with = new_password_schema)]
    password: String,
    /// The name to show.
    #[schema(schema_with = full_name_schema)]
    full_name: Option<String>,
    /// The language of pages and mails. Without it, that of the request, else the configured one.
    #[schema(nullable)]
    locale: Option<LocaleName>,
    /// Where the refresh token goes.
    #[schema(nullable)]
    transport: Option<Transport>,
}

/// The JSON body of a sign-in.
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "documents what `Fields` reads")]
pub struct LoginRequest {
    /// In any letter case.
    #[schema(schema_with = email_schema)]
    email: String,
    /// The account's password.
    #[schema(schema_with = password_schema)]
    password: String,
    /// Where the refresh token goes.
    #[schema(nullable)]
    transport: Option<Transport>,
}

/// The JSON body of a refresh or a sign-out.
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "documents what `Fields` reads")]
pub struct RefreshRequest {
    /// Without it the cookie counts, and without that the bearer token.
    #[schema(nullable)]
    refresh_token: Option<String>,
}

/// The JSON body of a change of one's own profile. What is left out stays.
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "documents what `Fields` reads")]
pub struct UpdateMeRequest {
    /// The name to show; null takes it away.
    #[schema(schema_with = full_name_schema)]
    full_name: Option<String>,
    /// The language of pages and mails.
    locale: Option<LocaleName>,
}

/// The JSON body of the deletion of one's own account.
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "documents what `Fields` reads")]
pub struct DeleteMeRequest {
    /// The account's password, once more.
    #[schema(schema_with = password_schema)]
    password: String,
}

/// Reads what a registration and the making of the first administrator have in common.
pub(super) fn read_registration(
    fields: &mut Fields,
    headers: &HeaderMap,
    app: &App,
) -> impl FnOnce() -> Option<Registration> + use<> {
    let email = fields.required("email", Email::parse);
    let password = fields.required("password", |text| {
        let password = Password::parse(text)?;
        app.passwords.check_alone(&password)?;
        Ok(password)
    });
    let full_name = fields.optional("full_name", FullName::parse).flatten();
    let locale = fields.optional("locale", str::parse::<Locale>);
    let locale = locale
        .or(accepted_locale(headers))
        .unwrap_or(app.config.mail.locale);
    move || {
        Some(Registration {
            email: email?,
            password: password?,
            full_name,
            locale,
        })
    }
}

/// Registers a new account and signs it in
///
/// The account begins with the role `user`, whatever the request says. With the setting `registration.mode` at
/// `verify_first` the answer is always 202 and nobody is signed in: a mail says how to go on.
#[utoipa::path(
    post, path = "/auth/register", tag = "auth", operation_id = "register",
    request_body = inline(RegisterRequest),
    responses(
        (status = 201, description = "The account was made and is signed in", body = TokenResponse, headers(("Set-Cookie" = String, description = "`josoor_device`, and in cookie transport the refresh token"))),
        (status = 202, description = "Under `verify_first`: a mail is on its way, for any address alike. Under `require_verified`: the account was made, and can be signed in to once its address is verified", body = BaseResponse),
        (status = 400, description = "`email_taken` or `malformed_json`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "`registration_closed` or `origin_not_allowed`", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn register(
    State(app): State<App>,
    From(client): From,
    headers: HeaderMap,
    JsonBody(mut fields): JsonBody,
) -> Result<Response> {
    let registration = read_registration(&mut fields, &headers, &app);
    let transport = Transport::read(&mut fields);
    let registration = fields.finish_with(registration)?;
    require_origin_for(transport, &app, &headers)?;
    let Some(issued) =
        register::register(&app, registration, transport.with(&app, &headers, None), &client).await?
    else {
        let body = BaseResponse {
            success: true,
            message: "A mail to this address says how to go on.",
            timestamp: app.clock.now(),
        };
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
        (status = 403, description = "`account_inactive` or `email_not_verified` after the right password, or `origin_not_allowed`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "`session_limit`: as many sessions as there may be, all in use on known devices", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn log_in(
    State(app): State<App>,
    From(client): From,
    headers: HeaderMap,
    JsonBody(mut fields): JsonBody,
) -> Result<Response> {
    let email = fields.required("email", Email::parse);
    let password = fields.required("password", Password::parse);
    let transport = Transport::read(&mut fields);
    let (email, password) = fields.finish_with(|| Some((email?, password?)))?;
    require_origin_for(transport, &app, &headers)?;
    let with = transport.with(&app, &headers, cookies::device_mark(&app, email.key(), &headers));
    let issued = sessions::log_in(&app, &email, password, with, &client).await?;
    Ok(signed_in(&app, StatusCode::OK, issued, transport, &headers))
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
    From(client): From,
    headers: HeaderMap,
    OptionalJsonBody(mut fields): OptionalJsonBody,
) -> Result<Response> {
    let given = fields.optional("refresh_token", any_text);
    fields.finish()?;
    if let Some(token) = given {
        let issued = sessions::refresh(&app, token.expose(), &client).await?;
        return Ok(Json(TokenResponse::from(&issued)).into_response());
    }
    if let Some(token) = cookies::refresh_token(&app, &headers) {
        cookies::require_origin(&app, &headers)?;
        let mut issued = match sessions::refresh(&app, token, &client).await {
            Ok(issued) => issued,
            // What will never be good again must not stand in the way of the next sign-in.
            Err(Error::Refused(refusal)) => {
                return Ok(with_cookies(
                    Error::Refused(refusal),
                    cookies::clear_refresh(&app, &headers),
                ));
            }
            Err(error) => return Err(error),
        };
        let cookie = cookies::set_refresh(&app, &headers, &issued);
        issued.refresh_token = None;
        return Ok(with_cookies(Json(TokenResponse::from(&issued)), cookie));
    }
    let token = bearer_token(&headers)?.ok_or(Refusal::MissingToken)?;
    let issued = sessions::renew_access(&app, token).await?;
    Ok(Json(TokenResponse::from(&issued)).into_response())
}

/// Ends the session of a token
///
/// By the refresh token in the body, else by the cookie, else by the bearer token. A session that is over already is
/// no failure. A token from before a change of the password ends nothing.
#[utoipa::path(
    post, path = "/auth/logout", tag = "auth", operation_id = "log_out",
    request_body(content = Option<RefreshRequest>),
    security((), ("bearer" = [])),
    responses(
        (status = 200, description = "The session is over, if there was one: also without a token and with one that is not good", body = BaseResponse, headers(("Set-Cookie" = String, description = "Clears the cookie of a cookie session"))),
        (status = 403, description = "`origin_not_allowed`", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn log_out(
    State(app): State<App>,
    From(client): From,
    headers: HeaderMap,
    OptionalJsonBody(mut fields): OptionalJsonBody,
) -> Result<Response> {
    let given = fields.optional("refresh_token", any_text);
    fields.finish()?;
    let cookie = cookies::refresh_token(&app, &headers);
    let ended = if let Some(token) = &given {
        sessions::log_out(&app, LogOut::Refresh(token.expose()), &client).await
    } else if let Some(token) = cookie {
        cookies::require_origin(&app, &headers)?;
        sessions::log_out(&app, LogOut::Refresh(token), &client).await
    } else if let Ok(Some(token)) = bearer_token(&headers) {
        sessions::log_out(&app, LogOut::Access(token), &client).await
    } else {
        Ok(())
    };
    match ended {
        Ok(()) => {}
        // Nothing is left to end with a token that is not good, and who signs out wants no more.
        Err(Error::Refused(refusal)) if refusal.status() == StatusCode::UNAUTHORIZED => {}
        Err(error) => return Err(error),
    }
    let done = BaseResponse {
        success: true,
        message: "Signed out.",
        timestamp: app.clock.now(),
    };
    let clear = cookies::clear_refresh_if_allowed(&app, &headers);
    Ok(with_cookies(Json(done), clear))
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
    let body = Shown::of(&caller.user).body.clone();
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
    JsonBody(mut fields): JsonBody,
) -> Result<Response> {
    let full_name = read_full_name(&mut fields);
    let locale = fields.optional("locale", str::parse::<Locale>);
    fields.finish()?;
    let patch = UserPatch {
        full_name,
        locale,
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
        (status = 409, description = "`last_admin`: somebody has to manage the users", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn delete_me(
    signed_in: SignedIn,
    State(app): State<App>,
    headers: HeaderMap,
    JsonBody(mut fields): JsonBody,
) -> Result<Response> {
    let password = fields.required("password", Password::parse);
    let password = fields.finish_with(|| password)?;
    deletion::delete_own(&app, &signed_in.caller, password, &signed_in.client).await?;
    let clear = cookies::clear_refresh_if_allowed(&app, &headers);
    Ok(with_cookies(StatusCode::NO_CONTENT, clear))
}

/// Reads the name of a PATCH: left out, taken away (null or blank), or set.
pub(super) fn read_full_name(fields: &mut Fields) -> Change<FullName> {
    match fields.optional_nullable("full_name", FullName::parse) {
        Change::Keep => Change::Keep,
        Change::Clear | Change::Set(None) => Change::Clear,
        Change::Set(Some(name)) => Change::Set(name),
    }
}

/// Reads a token's text; what it is worth is for its reader to say.
#[expect(clippy::unnecessary_wraps, reason = "the shape of every field's parser")]
pub(super) fn any_text(text: &str) -> Result<Secret, Invalid> {
    Ok(Secret::new(text))
}

pub(super) fn require_origin_for(transport: Transport, app: &App, headers: &HeaderMap) -> Result<()> {
    match transport {
        Transport::Body => Ok(()),
        Transport::Cookie => cookies::require_origin(app, headers),
    }
}

/// The answer to a sign-in, in the transport that was asked for.
pub(super) fn signed_in(
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

pub(super) fn with_cookies(answer: impl IntoResponse, cookies: Vec<HeaderValue>) -> Response {
    let mut response = answer.into_response();
    let headers = response.headers_mut();
    for cookie in cookies {
        headers.append(header::SET_COOKIE, cookie);
    }
    response
}
