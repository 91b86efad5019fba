//! `/auth/passkeys` and `/auth/login/passkey`: one's own passkeys, and signing in with one. `/.well-known/webauthn`: whose pages may use
//! them.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::account::passkeys::{self, Added, CreationOptions};
use crate::app::App;
use crate::auth::factors::passkeys::{ALGORITHMS, challenge, encoded, sign_in_options};
use crate::domain::{PasskeyAssertion, PasskeyName, PasskeyRegistration, Password, RecoveryCode, Timestamp};
use crate::error::Result;
use crate::http::request::body::Body;
use crate::http::request::caller::{Enrolling, SignedIn};
use crate::http::request::client_info::ClientInfo;
use crate::http::request::cookies;
use crate::http::request::definition::{NotNull, request_fields};
use crate::http::request::passkey_fields::NewPasskeyName;
use crate::http::request::path::PasskeyIdPath;
use crate::http::request::transport::Transport;
use crate::http::response::document::ProblemDocument;
use crate::http::response::passkey::{PasskeyDescriptor, PasskeyRequestOptions};
use crate::http::response::representation::TokenResponse;
use crate::http::response::signed_in::signed_in;
use crate::sessions;
use crate::store::Passkey;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(begin_passkey))
        .routes(routes!(add_passkey))
        .routes(routes!(rename_passkey, remove_passkey))
        .routes(routes!(begin_passkey_log_in))
        .routes(routes!(passkey_log_in))
        .routes(routes!(begin_passkey_step_up))
        .routes(routes!(show_related_origins))
}

request_fields! {
    /// The JSON body that begins to add a passkey.
    pub struct BeginPasskeyRequest {
        /// The account's password, once more.
        password: Password,
    }
}

request_fields! {
    /// The JSON body that adds a passkey.
    pub struct AddPasskeyRequest {
        /// The new passkey.
        credential: PasskeyRegistration,
        /// What to call it; without one, its provider or the device.
        name: Option<PasskeyName>,
    }
}

request_fields! {
    /// The JSON body that renames a passkey.
    pub struct RenamePasskeyRequest {
        /// What to call it.
        name: NewPasskeyName,
    }
}

request_fields! {
    /// The JSON body of a sign-in with a passkey.
    pub struct PasskeyLoginRequest {
        /// The passkey, as the answer to the options.
        assertion: PasskeyAssertion,
        /// Where the refresh token goes: into the body, or into a cookie that scripts cannot read.
        transport: NotNull<Transport>,
    }
}

/// A passkey.
#[derive(Debug, Serialize, ToSchema)]
pub struct PasskeyResponse {
    /// Names it in this API.
    #[schema(value_type = String, format = Uuid)]
    pub id: String,
    /// The credential's id in base64url, as browsers know it.
    pub credential_id: String,
    /// What its owner calls it.
    pub name: String,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last used.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
    /// Whether it can be copied to other devices of its owner.
    pub can_be_backed_up: bool,
    /// Whether it is.
    pub is_backed_up: bool,
    /// Whether it is for this host or domain; others are of no use any more.
    pub is_usable: bool,
}

impl PasskeyResponse {
    /// Of a passkey, for this service.
    pub fn new(app: &App, passkey: &Passkey) -> Self {
        Self {
            id: passkey.id.to_string(),
            credential_id: encoded(&passkey.external_id),
            name: passkey.label.clone().unwrap_or_default(),
            created_at: passkey.created_at,
            last_used_at: passkey.last_used_at,
            can_be_backed_up: passkey.is_backup_eligible,
            is_backed_up: passkey.is_backed_up,
            is_usable: passkey.rp_id.as_deref() == Some(&app.config.passkeys.rp_id),
        }
    }
}

/// The service, as authenticators show it.
#[derive(Debug, Serialize, ToSchema)]
pub struct PasskeyService {
    /// The host or domain.
    id: String,
    /// The host.
    name: String,
}

/// The account, as authenticators show it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasskeyUser {
    /// The user handle in base64url: the user's `uid`.
    id: String,
    /// The address.
    name: String,
    /// The full name, or the address.
    display_name: String,
}

/// A signature algorithm that is accepted.
#[derive(Debug, Serialize, ToSchema)]
pub struct PasskeyAlgorithm {
    /// Always `public-key`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Its number in IANA's registry of COSE algorithms.
    alg: i64,
}

/// What an authenticator has to be capable of.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasskeySelection {
    /// Always `required`.
    resident_key: &'static str,
    /// Always true.
    require_resident_key: bool,
    /// Always `preferred`.
    user_verification: &'static str,
}

/// What `PublicKeyCredential.parseCreationOptionsFromJSON()` takes (WebAuthn level 3, 5.1.9).
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasskeyCreationOptions {
    rp: PasskeyService,
    user: PasskeyUser,
    /// In base64url. Answered once.
    challenge: String,
    /// The algorithms, the preferred one first.
    pub_key_cred_params: Vec<PasskeyAlgorithm>,
    /// For how long the challenge is answered, in milliseconds.
    #[schema(minimum = 0)]
    timeout: u64,
    /// The passkeys that the account has.
    exclude_credentials: Vec<PasskeyDescriptor>,
    authenticator_selection: PasskeySelection,
    /// Always `none`.
    attestation: &'static str,
}

impl From<&CreationOptions> for PasskeyCreationOptions {
    fn from(options: &CreationOptions) -> Self {
        Self {
            rp: PasskeyService {
                id: options.rp_id.clone(),
                name: options.service.clone(),
            },
            user: PasskeyUser {
                id: encoded(options.user.as_bytes()),
                name: options.email.clone(),
                display_name: options.display_name.clone(),
            },
            challenge: encoded(&options.challenge),
            pub_key_cred_params: ALGORITHMS
                .iter()
                .map(|alg| PasskeyAlgorithm {
                    kind: "public-key",
                    alg: *alg,
                })
                .collect(),
            timeout: challenge::LIFE.as_secs() * 1000,
            exclude_credentials: options.excluded.iter().map(PasskeyDescriptor::from).collect(),
            authenticator_selection: PasskeySelection {
                resident_key: "required",
                require_resident_key: true,
                user_verification: "preferred",
            },
            attestation: "none",
        }
    }
}

/// A passkey that was added.
#[derive(Serialize, ToSchema)]
pub struct PasskeyAddedResponse {
    /// An access token of the same session, which has both factors now. No refresh token: it stays as it is.
    #[serde(flatten)]
    pub tokens: TokenResponse,
    /// The passkey.
    pub passkey: PasskeyResponse,
    /// The recovery codes, where the account had none. Shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub recovery_codes: Option<Vec<String>>,
}

impl PasskeyAddedResponse {
    fn new(app: &App, added: &Added) -> Self {
        let spelled = |codes: &Vec<RecoveryCode>| codes.iter().map(RecoveryCode::spelled).collect();
        Self {
            tokens: TokenResponse::from(&added.issued),
            passkey: PasskeyResponse::new(app, &added.passkey),
            recovery_codes: added.recovery_codes.as_ref().map(spelled),
        }
    }
}

/// Whose pages may use the passkeys (Related Origin Requests; WebAuthn level 3, 5.11).
#[derive(Debug, Serialize, ToSchema)]
pub struct RelatedOrigins {
    /// That of the public URL, and those of `passkeys.origins`.
    pub origins: Vec<String>,
}

/// Begins to add a passkey
///
/// For `navigator.credentials.create()`; the same session finishes it within ten minutes. The address of the account must be verified.
/// The password is asked for here and now, whatever the access token says; an account that has a second factor also needs a session with
/// a fresh one.
#[utoipa::path(
    post, path = "/auth/passkeys/options", tag = "account", operation_id = "begin_passkey", security(("bearer" = [])),
    request_body = BeginPasskeyRequest,
    responses(
        (status = 200, description = "What the browser is asked for", body = PasskeyCreationOptions),
        (status = 401, description = "`invalid_credentials`: not the account's password; `step_up_required`: the account has a second factor, verified too long ago", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "`email_not_verified`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "`passkey_limit`: the account has 20", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn begin_passkey(
    Enrolling(signed_in): Enrolling,
    State(app): State<App>,
    Body(BeginPasskeyRequest { password }): Body<BeginPasskeyRequest>,
) -> Result<Json<PasskeyCreationOptions>> {
    let options = passkeys::begin(&app, &signed_in.caller, password, &signed_in.client).await?;
    Ok(Json(PasskeyCreationOptions::from(&options)))
}

/// Adds a passkey
///
/// From now on it signs in without the password, and a sign-in with the password takes a second factor. The answer has an access token of
/// the same session with both factors, and the recovery codes where there were none.
#[utoipa::path(
    post, path = "/auth/passkeys", tag = "account", operation_id = "add_passkey", security(("bearer" = [])),
    request_body = AddPasskeyRequest,
    responses(
        (status = 201, description = "The passkey counts", body = PasskeyAddedResponse),
        (status = 400, description = "`flow_expired`: this session has begun nothing that this passkey answers", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "`passkey_limit`: the account has 20", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn add_passkey(
    Enrolling(signed_in): Enrolling,
    State(app): State<App>,
    Body(AddPasskeyRequest { credential, name }): Body<AddPasskeyRequest>,
) -> Result<Response> {
    let (caller, client) = (&signed_in.caller, &signed_in.client);
    let added = passkeys::add(&app, caller, &credential, name.as_ref(), client).await?;
    let added = PasskeyAddedResponse::new(&app, &added);
    Ok((StatusCode::CREATED, Json(added)).into_response())
}

/// Renames one's own passkey
#[utoipa::path(
    patch, path = "/auth/passkeys/{id}", tag = "account", operation_id = "rename_passkey", security(("bearer" = [])),
    params(("id" = String, Path, format = Uuid, description = "The passkey")),
    request_body = RenamePasskeyRequest,
    responses(
        (status = 200, description = "The passkey", body = PasskeyResponse),
        (status = 401, description = "`step_up_required`: verified too long ago", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn rename_passkey(
    signed_in: SignedIn,
    State(app): State<App>,
    PasskeyIdPath(id): PasskeyIdPath,
    Body(RenamePasskeyRequest { name }): Body<RenamePasskeyRequest>,
) -> Result<Json<PasskeyResponse>> {
    let renamed = passkeys::rename(&app, &signed_in.caller, id, &name.0, &signed_in.client).await?;
    Ok(Json(PasskeyResponse::new(&app, &renamed)))
}

/// Removes one's own passkey
///
/// With it goes the trust in devices. With the last second factor go the recovery codes, and a sign-in takes the password alone.
#[utoipa::path(
    delete, path = "/auth/passkeys/{id}", tag = "account", operation_id = "remove_passkey", security(("bearer" = [])),
    params(("id" = String, Path, format = Uuid, description = "The passkey")),
    responses(
        (status = 204, description = "The passkey is removed"),
        (status = 401, description = "`step_up_required`: verified too long ago", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn remove_passkey(
    signed_in: SignedIn,
    State(app): State<App>,
    PasskeyIdPath(id): PasskeyIdPath,
) -> Result<StatusCode> {
    passkeys::remove(&app, &signed_in.caller, id, &signed_in.client).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Begins a sign-in with a passkey
///
/// For `navigator.credentials.get()`, also with conditional mediation. Of anybody the same: no address is asked for, and nothing is
/// stored. The challenge is answered within ten minutes, once.
#[utoipa::path(
    post, path = "/auth/login/passkey/options", tag = "auth", operation_id = "begin_passkey_log_in",
    responses((status = 200, description = "What the browser is asked for", body = PasskeyRequestOptions))
)]
async fn begin_passkey_log_in(State(app): State<App>) -> Json<PasskeyRequestOptions> {
    Json(PasskeyRequestOptions::from(&sign_in_options(&app)))
}

/// Signs in with a passkey
///
/// Where the authenticator has verified its user, that is both factors (`acr` 2) and no code is asked for.
#[utoipa::path(
    post, path = "/auth/login/passkey", tag = "auth", operation_id = "passkey_log_in",
    request_body = PasskeyLoginRequest,
    responses(
        (status = 200, description = "Signed in", body = TokenResponse, headers(("Set-Cookie" = String, description = "`josoor_device`, and in cookie transport the refresh token"))),
        (status = 400, description = "`flow_expired`: the challenge is too old, or was answered before; ask for new options", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, description = "`passkey_unknown`, `passkey_invalid`, or `passkey_unverified`: used without verification of its user", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "`account_inactive`, `email_not_verified` or `origin_not_allowed`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "`session_limit`: as many sessions as there may be, all in use on known devices", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn passkey_log_in(
    State(app): State<App>,
    ClientInfo(client): ClientInfo,
    headers: HeaderMap,
    Body(PasskeyLoginRequest { assertion, transport }): Body<PasskeyLoginRequest>,
) -> Result<Response> {
    let transport = transport.0.unwrap_or_default();
    transport.require_origin(&app, &headers)?;
    let presented = sessions::present_passkey(&app, &assertion, &client).await?;
    let mark = cookies::device_mark(&app, &presented.user.email_key, &headers);
    let with = transport.sign_in_with(&app, &headers, mark);
    let issued = sessions::log_in_with_passkey(&app, presented, with, &client).await?;
    Ok(signed_in(&app, StatusCode::OK, issued, transport, &headers))
}

/// Begins a step-up with a passkey
///
/// For `navigator.credentials.get()`; `POST /auth/step-up` of the same session takes the answer as `assertion` within ten minutes, once.
#[utoipa::path(
    post, path = "/auth/step-up/options", tag = "auth", operation_id = "begin_passkey_step_up", security(("bearer" = [])),
    responses(
        (status = 200, description = "What the browser is asked for", body = PasskeyRequestOptions),
        (status = 404, description = "`not_found`: the account has no passkey for this host or domain", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn begin_passkey_step_up(
    Enrolling(signed_in): Enrolling,
    State(app): State<App>,
) -> Result<Json<PasskeyRequestOptions>> {
    let options = passkeys::step_up_options(&app, &signed_in.caller).await?;
    Ok(Json(PasskeyRequestOptions::from(&options)))
}

/// Lists the origins whose pages may use the passkeys
///
/// Browsers read it at the host or domain of the passkeys when a page of another domain asks for one (Related Origin Requests).
#[utoipa::path(
    get, path = "/.well-known/webauthn", tag = "gateway", operation_id = "show_related_origins",
    responses((status = 200, description = "The origins", body = RelatedOrigins))
)]
async fn show_related_origins(State(app): State<App>) -> Json<RelatedOrigins> {
    Json(RelatedOrigins {
        origins: app.config.passkeys.origins.clone(),
    })
}
