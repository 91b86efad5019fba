//! `/admin/users/bulk`: one change of many users.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::bulk::{self, BulkChange, Outcome, USERS_AT_MOST};
use crate::app::App;
use crate::domain::{Role, UserId};
use crate::error::Result;
use crate::http::request::body::Body;
use crate::http::request::caller::Administrator;
use crate::http::request::definition::{Nested, NotNull, request_fields};
use crate::http::request::field_types::UserIds;
use crate::http::response::problem::Problem;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(update_users))
}

request_fields! {
    /// What is changed of each user: at least one of these. What is left out stays.
    pub struct BulkChangeRequest {
        /// What the users may do.
        role: NotNull<Role>,
        /// Whether the users may sign in. False revokes their sessions.
        is_active: NotNull<bool>,
    }
}

request_fields! {
    /// The JSON body of a change of many users.
    pub struct UpdateUsersRequest {
        /// The users.
        ids: UserIds<USERS_AT_MOST>,
        /// What is changed of each of them.
        change: Nested<BulkChangeRequest>,
        /// Whether one's own account is changed too where it is among `ids`: last, after all others. Without it, it stays as it is.
        include_self: NotNull<bool>,
    }
}

/// What became of one user of a bulk change.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BulkOutcome {
    /// The user was changed.
    Changed,
    /// The user was so before.
    Unchanged,
    /// One's own account, which stays as it is without `include_self`.
    OwnAccount,
    /// The change was rejected; `code` says why.
    Failed,
}

/// The result for one user of a bulk change.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkResult {
    /// The user.
    #[schema(minimum = 1)]
    pub id: i64,
    /// What became of it.
    pub outcome: BulkOutcome,
    /// The code of the failure: `not_found`, `last_admin`, and where the rest was not tried `store_unavailable` or why the
    /// caller's session ended. Null where there is none.
    #[schema(required)]
    pub code: Option<&'static str>,
    /// The failure in one English sentence.
    #[schema(required)]
    pub detail: Option<String>,
}

impl BulkResult {
    fn new(id: UserId, outcome: Outcome) -> Self {
        let (outcome, problem) = match outcome {
            Outcome::Changed => (BulkOutcome::Changed, None),
            Outcome::Unchanged => (BulkOutcome::Unchanged, None),
            Outcome::OwnAccount => (BulkOutcome::OwnAccount, None),
            Outcome::Failed(error) => (BulkOutcome::Failed, Some(Problem::from(error))),
        };
        Self {
            id: id.0,
            outcome,
            code: problem.as_ref().map(|problem| problem.code.code),
            detail: problem.map(|problem| problem.detail.into()),
        }
    }
}

/// The result of a change of many users.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkResponse {
    /// One for each user, in the order of `ids`; an id that was given more than once has one.
    pub items: Vec<BulkResult>,
}

/// Changes many users
///
/// Each change is a unit of work of its own, with the audit rows and mails of a single one: what is rejected for one user, such as
/// taking the last administrator away, stops no other. One's own account stays as it is unless `include_self` says otherwise. All
/// audit rows have the request's id.
#[utoipa::path(
    post, path = "/admin/users/bulk", tag = "admin", operation_id = "update_users", security(("bearer" = [])),
    request_body = UpdateUsersRequest,
    responses((status = 200, description = "A result for each user", body = BulkResponse))
)]
async fn update_users(
    Administrator(admin): Administrator,
    State(app): State<App>,
    Body(request): Body<UpdateUsersRequest>,
) -> Result<Json<BulkResponse>> {
    let change = BulkChange {
        role: request.change.0.role.0,
        is_active: request.change.0.is_active.0,
    };
    let includes_self = request.include_self.0 == Some(true);
    let ids = &request.ids.0;
    let results = bulk::update(&app, &admin.caller, ids, change, includes_self, &admin.client).await?;
    let items = results
        .into_iter()
        .map(|(id, outcome)| BulkResult::new(id, outcome))
        .collect();
    Ok(Json(BulkResponse { items }))
}
