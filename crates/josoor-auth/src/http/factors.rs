//! `/auth/factors`: one's own second factors. `/admin/users/{id}/factors`: those of a user.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::passkeys::PasskeyResponse;
use crate::account::factors::{self, ENROLMENT_LIFE, Summary};
use crate::app::App;
use crate::domain::{FactorCode, Password, RecoveryCode, Timestamp};
use crate::error::Result;
use crate::http::request::body::Body;
use crate::http::request::caller::{Administrator, Enrolling, SignedIn};
use crate::http::request::definition::request_fields;
use crate::http::request::path::UserIdPath;
use crate::http::response::document::ProblemDocument;
use crate::http::response::qr;
use crate::http::response::representation::TokenResponse;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(show_factors))
        .routes(routes!(begin_totp, remove_totp))
        .routes(routes!(confirm_totp))
        .routes(routes!(replace_recovery_codes))
        .routes(routes!(show_user_factors, reset_factors))
}

request_fields! {
    /// The JSON body that begins to enrol an authenticator app.
    pub struct BeginTotpRequest {
        /// The account's password, once more.
        password: Password,
    }
}

request_fields! {
    /// The JSON body that confirms an authenticator app.
    pub struct ConfirmTotpRequest {
        /// The six digits that the app shows.
        code: FactorCode,
    }
}

/// What an account has besides its password.
#[derive(Debug, Serialize, ToSchema)]
pub struct FactorsResponse {
    /// The authenticator app; null when there is none.
    #[schema(required)]
    pub totp: Option<TotpResponse>,
    /// The passkeys, in the order in which they were added.
    pub passkeys: Vec<PasskeyResponse>,
    /// How many recovery codes were not used.
    #[schema(minimum = 0)]
    pub recovery_codes_left: usize,
    /// How many devices spare the second factor; `/auth/devices` lists them.
    #[schema(minimum = 0)]
    pub trusted_devices: usize,
}

/// An authenticator app.
#[derive(Debug, Serialize, ToSchema)]
pub struct TotpResponse {
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When a code of it was last accepted.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
}

impl FactorsResponse {
    fn new(app: &App, summary: &Summary) -> Self {
        let passkeys = summary.passkeys.iter();
        Self {
            passkeys: passkeys
                .map(|passkey| PasskeyResponse::new(app, passkey))
                .collect(),
            totp: summary.totp.map(|(created_at, last_used_at)| TotpResponse {
                created_at,
                last_used_at,
            }),
            recovery_codes_left: summary.recovery_codes_left,
            trusted_devices: summary.trusted_devices,
        }
    }
}

/// What an authenticator app is set up with. Shown once.
#[derive(Serialize, ToSchema)]
pub struct TotpSetupResponse {
    /// The secret in base 32, to type in.
    pub secret: String,
    /// The address that the QR code has (`otpauth://totp/…`).
    pub uri: String,
    /// The QR code, an SVG image.
    pub qr_svg: String,
    /// How long the app can be confirmed, in seconds.
    #[schema(minimum = 0)]
    pub expires_in: u64,
}

/// A confirmed authenticator app.
#[derive(Serialize, ToSchema)]
pub struct TotpConfirmedResponse {
    /// An access token of the same session, which has both factors now. No refresh token: it stays as it is.
    #[serde(flatten)]
    pub tokens: TokenResponse,
    /// The recovery codes, where the account had none. Shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub recovery_codes: Option<Vec<String>>,
}

/// A set of recovery codes. Shown once.
#[derive(Serialize, ToSchema)]
pub struct RecoveryCodesResponse {
    /// Each is accepted once, however it is spelled.
    pub recovery_codes: Vec<String>,
}

fn spelled(codes: &[RecoveryCode]) -> Vec<String> {
    codes.iter().map(RecoveryCode::spelled).collect()
}

/// Shows one's own second factors
#[utoipa::path(
    get, path = "/auth/factors", tag = "account", operation_id = "show_factors", security(("bearer" = [])),
    responses((status = 200, description = "What the account has", body = FactorsResponse))
)]
async fn show_factors(
    Enrolling(signed_in): Enrolling,
    State(app): State<App>,
) -> Result<Json<FactorsResponse>> {
    let summary = factors::summary(&app, &signed_in.caller).await?;
    Ok(Json(FactorsResponse::new(&app, &summary)))
}

/// Begins to enrol an authenticator app
///
/// The app counts once its first code is confirmed in the same session, within ten minutes; an earlier app counts until then. The
/// address of the account must be verified. The password is asked for here and now, whatever the access token says; an account that
/// has a second factor also needs a session with a fresh one.
#[utoipa::path(
    post, path = "/auth/factors/totp", tag = "account", operation_id = "begin_totp", security(("bearer" = [])),
    request_body = BeginTotpRequest,
    responses(
        (status = 200, description = "What the app is set up with; shown once", body = TotpSetupResponse),
        (status = 401, description = "`invalid_credentials`: not the account's password; `step_up_required`: the account has a second factor, verified too long ago", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "`email_not_verified`", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn begin_totp(
    Enrolling(signed_in): Enrolling,
    State(app): State<App>,
    Body(BeginTotpRequest { password }): Body<BeginTotpRequest>,
) -> Result<Json<TotpSetupResponse>> {
    let setup = factors::begin_totp(&app, &signed_in.caller, password, &signed_in.client).await?;
    Ok(Json(TotpSetupResponse {
        qr_svg: qr::svg(setup.uri.expose())?,
        secret: setup.secret.expose().to_owned(),
        uri: setup.uri.expose().to_owned(),
        expires_in: ENROLMENT_LIFE.as_secs(),
    }))
}

/// Confirms an authenticator app
///
/// From now on each sign-in takes a code. The answer has an access token of the same session with both factors, and the recovery
/// codes where there were none.
#[utoipa::path(
    post, path = "/auth/factors/totp/confirm", tag = "account", operation_id = "confirm_totp", security(("bearer" = [])),
    request_body = ConfirmTotpRequest,
    responses(
        (status = 200, description = "The app counts", body = TotpConfirmedResponse),
        (status = 400, description = "`flow_expired`: no enrolment of this session waits, or five codes were wrong", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, description = "`mfa_code_invalid`", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn confirm_totp(
    Enrolling(signed_in): Enrolling,
    State(app): State<App>,
    Body(ConfirmTotpRequest { code }): Body<ConfirmTotpRequest>,
) -> Result<Json<TotpConfirmedResponse>> {
    let confirmed = factors::confirm_totp(&app, &signed_in.caller, &code, &signed_in.client).await?;
    Ok(Json(TotpConfirmedResponse {
        tokens: TokenResponse::from(&confirmed.issued),
        recovery_codes: confirmed.recovery_codes.as_deref().map(spelled),
    }))
}

/// Removes one's own authenticator app
///
/// With it goes the trust in devices. With the last second factor go the recovery codes, and a sign-in takes the password alone.
#[utoipa::path(
    delete, path = "/auth/factors/totp", tag = "account", operation_id = "remove_totp", security(("bearer" = [])),
    responses(
        (status = 204, description = "The app is removed"),
        (status = 401, description = "`step_up_required`: verified too long ago", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "`mfa_enrollment_required`: there is no app", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn remove_totp(signed_in: SignedIn, State(app): State<App>) -> Result<StatusCode> {
    factors::remove_totp(&app, &signed_in.caller, &signed_in.client).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Replaces one's own recovery codes
///
/// Ten codes, each accepted once in place of a code of the app. The earlier ones end.
#[utoipa::path(
    post, path = "/auth/factors/recovery-codes", tag = "account", operation_id = "replace_recovery_codes", security(("bearer" = [])),
    responses(
        (status = 200, description = "The codes; shown once", body = RecoveryCodesResponse),
        (status = 401, description = "`step_up_required`: verified too long ago", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "`mfa_enrollment_required`: there is no authenticator app yet", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn replace_recovery_codes(signed_in: SignedIn, State(app): State<App>) -> Result<Response> {
    let codes = factors::replace_recovery_codes(&app, &signed_in.caller, &signed_in.client).await?;
    let recovery_codes = spelled(&codes);
    Ok(Json(RecoveryCodesResponse { recovery_codes }).into_response())
}

/// Shows a user's second factors
#[utoipa::path(
    get, path = "/admin/users/{id}/factors", tag = "admin", operation_id = "show_user_factors", security(("bearer" = [])),
    params(("id" = i64, Path, minimum = 1, description = "The user")),
    responses(
        (status = 200, description = "What the account has", body = FactorsResponse),
        (status = 404, description = "`not_found`", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn show_user_factors(
    _: Administrator,
    State(app): State<App>,
    UserIdPath(id): UserIdPath,
) -> Result<Json<FactorsResponse>> {
    let summary = factors::summary_of(&app, id).await?;
    Ok(Json(FactorsResponse::new(&app, &summary)))
}

/// Removes all second factors of a user
///
/// For a user who has lost them: verify first who asks. The user is notified by mail. Sessions go on.
#[utoipa::path(
    delete, path = "/admin/users/{id}/factors", tag = "admin", operation_id = "reset_factors", security(("bearer" = [])),
    params(("id" = i64, Path, minimum = 1, description = "The user")),
    responses(
        (status = 204, description = "The user has no second factor"),
        (status = 401, description = "`step_up_required`: one's own factors, verified too long ago", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn reset_factors(
    Administrator(admin): Administrator,
    State(app): State<App>,
    UserIdPath(id): UserIdPath,
) -> Result<StatusCode> {
    factors::reset_by(&app, &admin.caller, id, &admin.client).await?;
    Ok(StatusCode::NO_CONTENT)
}
