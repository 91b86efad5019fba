//! `/auth/activity`: what happened to one's own account, and answering for it.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::account::activity;
use crate::app::App;
use crate::audit;
use crate::domain::{SessionId, Timestamp, UserId, device_label};
use crate::error::Result;
use crate::http::request::body::QueryString;
use crate::http::request::caller::SignedIn;
use crate::http::request::page::PageQuery;
use crate::http::request::path::RowIdPath;
use crate::http::response::document::ProblemDocument;
use crate::store::AuditRow;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_activity))
        .routes(routes!(confirm_activity))
        .routes(routes!(report_activity))
}

/// Something that happened to one's own account.
#[derive(Serialize, ToSchema)]
pub struct ActivityResponse {
    /// The number in the audit trail. Grows with the order of writing, and has gaps.
    pub id: i64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What: `sign_in`, `password_reset`, …
    pub action: String,
    /// `success` or `failure`.
    pub outcome: String,
    /// The reason, if there is one.
    #[schema(required)]
    pub reason: Option<String>,
    /// Whether an administrator or an operator did it.
    pub by_other: bool,
    /// The session concerned.
    #[schema(required)]
    pub session_id: Option<uuid::Uuid>,
    /// Whether that is the session of the request.
    pub current: bool,
    /// The network address that it came from, unless another user did it.
    #[schema(required)]
    pub ip: Option<String>,
    /// What the client called itself, unless another user did it.
    #[schema(required)]
    pub user_agent: Option<String>,
    /// A short name for the client, such as "Firefox on Windows"; empty where it is not known, null where another user did it.
    #[schema(required)]
    pub device: Option<String>,
    /// Whether the row is in the sealed chain already.
    pub sealed: bool,
}

impl ActivityResponse {
    /// A row of the trail, as the user sees it whom it is about.
    /// `current` is the session of the request.
    pub(super) fn new(row: AuditRow, user: UserId, current: SessionId) -> Self {
        // A failed sign-in has no actor: it was a stranger, or the owner with a typing error. Both may see from where.
        let by_other = match row.actor_id {
            Some(actor) => actor != user.0,
            None => row.ip.is_none() && row.ip_commitment.is_none(),
        };
        let user_agent = row.user_agent.filter(|_| !by_other);
        Self {
            id: row.id,
            at: row.at,
            action: row.action,
            outcome: row.outcome,
            reason: row.reason,
            by_other,
            session_id: row.session_id,
            current: row.session_id == Some(current.0),
            ip: row.ip.filter(|_| !by_other),
            device: (!by_other).then(|| user_agent.as_deref().map_or_else(String::new, device_label)),
            user_agent,
            sealed: row.seq.is_some(),
        }
    }
}

/// A page of what happened to one's own account, the latest first.
#[derive(Serialize, ToSchema)]
pub struct ActivityList {
    /// What happened.
    pub items: Vec<ActivityResponse>,
    /// How many rows there are, up to 1,000.
    pub total: i64,
    /// Whether there are more than `total`.
    pub total_is_capped: bool,
    /// From 1.
    pub page: i64,
    /// The most items on a page.
    pub page_size: i64,
    /// The latest row in which the user confirmed, or reported, what came before it, if it is among the latest 1,000.
    #[schema(required)]
    pub answered_id: Option<i64>,
}

/// The receipt of a report.
#[derive(Serialize, ToSchema)]
pub struct ReportReceipt {
    /// Its number in the audit trail.
    pub receipt: i64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// How many other sessions were revoked.
    #[schema(minimum = 0)]
    pub revoked: usize,
    /// How many devices were forgotten.
    #[schema(minimum = 0)]
    pub forgotten: u64,
}

/// Lists what happened to one's own account, the latest first
#[utoipa::path(
    get, path = "/auth/activity", tag = "account", operation_id = "list_activity", security(("bearer" = [])),
    params(PageQuery),
    responses((status = 200, description = "A page", body = ActivityList))
)]
async fn list_activity(
    signed_in: SignedIn,
    State(app): State<App>,
    QueryString(page): QueryString<PageQuery>,
) -> Result<Json<ActivityList>> {
    let (user, current) = (signed_in.caller.id(), signed_in.caller.session);
    let found = audit::activity(&app, user, page.size(), page.offset()).await?;
    let items = found.rows.into_iter();
    Ok(Json(ActivityList {
        items: items
            .map(|row| ActivityResponse::new(row, user, current))
            .collect(),
        total: found.total,
        total_is_capped: found.total_is_capped,
        page: page.page(),
        page_size: page.size(),
        answered_id: found.answered,
    }))
}

/// Confirms that one did everything oneself until now
///
/// `id` is the latest row of the list. The confirmation is a row of its own.
#[utoipa::path(
    post, path = "/auth/activity/{id}/confirm", tag = "account", operation_id = "confirm_activity", security(("bearer" = [])),
    params(("id" = i64, Path, minimum = 1, description = "The latest row")),
    responses(
        (status = 204, description = "It is recorded"),
        (status = 404, description = "`not_found`: something has happened since; load the list again", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn confirm_activity(
    signed_in: SignedIn,
    State(app): State<App>,
    RowIdPath(id): RowIdPath,
) -> Result<StatusCode> {
    activity::confirm(&app, &signed_in.caller, id, &signed_in.client).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reports that somebody else has used one's account
///
/// Revokes all other sessions, forgets all devices, ends the open links of the account, and mails the link that sets a new
/// password. This session goes on, so that the password can be changed at once.
#[utoipa::path(
    post, path = "/auth/activity/report", tag = "account", operation_id = "report_activity", security(("bearer" = [])),
    responses(
        (status = 200, description = "It is done; the receipt", body = ReportReceipt),
        (status = 401, description = "`step_up_required`: an account with a second factor, verified too long ago", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn report_activity(signed_in: SignedIn, State(app): State<App>) -> Result<Json<ReportReceipt>> {
    let receipt = activity::report(&app, &signed_in.caller, &signed_in.client).await?;
    Ok(Json(ReportReceipt {
        receipt: receipt.number,
        at: receipt.at,
        revoked: receipt.revoked,
        forgotten: receipt.forgotten,
    }))
}
