//! `/auth/sessions`: one's own sessions.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::error::Result;
use crate::http::request::body::QueryString;
use crate::http::request::caller::SignedIn;
use crate::http::request::page::PageQuery;
use crate::http::request::path::SessionIdPath;
use crate::http::response::document::ProblemDocument;
use crate::http::response::representation::{RevokedResponse, SessionList};
use crate::sessions;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_sessions, revoke_other_sessions))
        .routes(routes!(revoke_session))
}

/// Lists one's own live sessions, the latest first
#[utoipa::path(
    get, path = "/auth/sessions", tag = "account", operation_id = "list_sessions", security(("bearer" = [])),
    params(PageQuery),
    responses((status = 200, description = "A page of the sessions", body = SessionList))
)]
async fn list_sessions(
    signed_in: SignedIn,
    State(app): State<App>,
    QueryString(page): QueryString<PageQuery>,
) -> Result<Json<SessionList>> {
    let (caller, role) = (&signed_in.caller, signed_in.caller.user.role);
    let found = sessions::list_page(&app, caller.id(), role, page.size(), page.offset()).await?;
    Ok(Json(SessionList::new(
        &app,
        &found,
        role,
        caller.session,
        page.page(),
        page.size(),
    )))
}

/// Revokes all of one's own sessions but the current one
#[utoipa::path(
    delete, path = "/auth/sessions", tag = "account", operation_id = "revoke_other_sessions", security(("bearer" = [])),
    responses(
        (status = 200, description = "How many were revoked", body = RevokedResponse),
        (status = 401, description = "`step_up_required`: an account with a second factor, verified too long ago", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn revoke_other_sessions(signed_in: SignedIn, State(app): State<App>) -> Result<Json<RevokedResponse>> {
    let revoked = sessions::revoke_others(&app, &signed_in.caller, &signed_in.client).await?;
    Ok(Json(RevokedResponse { revoked }))
}

/// Revokes one of one's own sessions
#[utoipa::path(
    delete, path = "/auth/sessions/{id}", tag = "account", operation_id = "revoke_session", security(("bearer" = [])),
    params(("id" = String, Path, format = Uuid, description = "The session")),
    responses(
        (status = 204, description = "The session is revoked"),
        (status = 404, description = "`not_found`: no live session of this user", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn revoke_session(
    signed_in: SignedIn,
    State(app): State<App>,
    SessionIdPath(id): SessionIdPath,
) -> Result<StatusCode> {
    sessions::revoke(&app, signed_in.caller.id(), id, &signed_in.client).await?;
    Ok(StatusCode::NO_CONTENT)
}
