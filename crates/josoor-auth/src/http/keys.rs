//! `/admin/keys`: the keys that sign access tokens.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::keys::{self, AccessKey, How, KeyState};
use crate::app::App;
use crate::domain::Timestamp;
use crate::error::Result;
use crate::http::request::body::Body;
use crate::http::request::caller::Administrator;
use crate::http::request::definition::{NotNull, request_fields};
use crate::http::response::document::ProblemDocument;
use crate::keys::AccessTokens;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_keys))
        .routes(routes!(rotate_key))
}

/// A key for access tokens, without the key itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyResponse {
    /// Its name in token headers (`kid`).
    pub kid: String,
    /// What it is a key of, such as `EdDSA`.
    pub algorithm: &'static str,
    /// What it does now.
    pub state: KeyState,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it begins to sign, or has begun.
    #[schema(value_type = String, format = DateTime)]
    pub signs_from: Timestamp,
    /// When what it has signed is no longer accepted; null while that is not known.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub verifies_until: Option<Timestamp>,
}

impl From<AccessKey> for KeyResponse {
    fn from(key: AccessKey) -> Self {
        Self {
            kid: key.kid,
            algorithm: key.algorithm.as_str(),
            state: key.state,
            created_at: key.created_at,
            signs_from: key.signs_from,
            verifies_until: key.verifies_until,
        }
    }
}

/// The keys for access tokens, and how they are replaced.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyList {
    /// The stored keys, the latest first.
    pub items: Vec<KeyResponse>,
    /// The algorithm of new tokens.
    pub algorithm: &'static str,
    /// Whether `JWT_SECRET` signs. It is in the hands of the operator, and no stored key signs.
    pub signs_with_setting: bool,
    /// How long the next key is published before it signs, in seconds.
    #[schema(minimum = 1)]
    pub publish_for: u64,
    /// After how many seconds a key is replaced by itself; null: never.
    #[schema(required, minimum = 1)]
    pub rotate_every: Option<u64>,
}

request_fields! {
    /// The JSON body that replaces the signing key.
    pub struct RotateKeyRequest {
        /// Whether the new key signs at once. Services that keep the list of keys refuse its tokens until they read it again. Without it,
        /// false: the key is published first.
        now: NotNull<bool>,
    }
}

/// A key that was made.
#[derive(Debug, Serialize, ToSchema)]
pub struct RotatedKeyResponse {
    /// Its name in token headers (`kid`).
    pub kid: String,
    /// When it begins to sign.
    #[schema(value_type = String, format = DateTime)]
    pub signs_from: Timestamp,
}

/// Lists the keys for access tokens
#[utoipa::path(
    get, path = "/admin/keys", tag = "admin", operation_id = "list_keys", security(("bearer" = [])),
    responses((status = 200, description = "The keys, without the keys themselves", body = KeyList))
)]
async fn list_keys(_: Administrator, State(app): State<App>) -> Result<Json<KeyList>> {
    let items = keys::list(&app).await?;
    let config = &app.config;
    Ok(Json(KeyList {
        items: items.into_iter().map(KeyResponse::from).collect(),
        algorithm: config.auth.algorithm.as_str(),
        signs_with_setting: AccessTokens::signs_with_setting(config),
        publish_for: config.keys.publish_for.as_secs(),
        rotate_every: config.keys.rotate_every.map(|every| every.as_secs()),
    }))
}

/// Replaces the key that signs access tokens
///
/// The next key is published now and signs after `publish_for`; the one before is accepted until its last token has expired. No token
/// is refused and no session ends.
#[utoipa::path(
    post, path = "/admin/keys/rotate", tag = "admin", operation_id = "rotate_key", security(("bearer" = [])),
    request_body = RotateKeyRequest,
    responses(
        (status = 200, description = "The next key", body = RotatedKeyResponse),
        (status = 409, description = "`key_not_rotated`: a key waits already, or `JWT_SECRET` signs", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn rotate_key(
    Administrator(admin): Administrator,
    State(app): State<App>,
    Body(request): Body<RotateKeyRequest>,
) -> Result<Json<RotatedKeyResponse>> {
    let how = if request.now.0 == Some(true) {
        How::Now
    } else {
        How::Planned
    };
    let made = keys::rotate(&app, None, how, &admin.client).await?;
    Ok(Json(RotatedKeyResponse {
        kid: made.kid,
        signs_from: made.signs_from,
    }))
}
