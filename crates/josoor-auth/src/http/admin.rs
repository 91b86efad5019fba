//! `/admin`: what administrators do with users.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::read_full_name;
use crate::admin::{invitations, users};
use crate::app::App;
use crate::audit::{self, csv_line, csv_text};
use crate::domain::{Email, FullName, Locale, Role};
use crate::error::{Invalid, Result};
use crate::http::request::caller::{Administrator, Exporter};
use crate::http::request::extract::{Fields, JsonBody, QueryFields, UserIdPath};
use crate::http::response::export::{ExportForm, Format, json_line};
use crate::http::response::problem::ProblemDocument;
use crate::http::response::representation::{
    AdminUserResponse, BaseResponse, LocaleName, RevokedResponse, RoleName, SessionList, UserList,
    UserResponse, email_schema, full_name_schema,
};
use crate::sessions;
use crate::store::{RevokeReason, UserFilter, UserPatch, UserSort};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_users, invite_user))
        .routes(routes!(export_users))
        .routes(routes!(show_user, update_user, delete_user))
        .routes(routes!(send_password_reset))
        .routes(routes!(restore_user))
        .routes(routes!(list_user_sessions, revoke_user_sessions))
}

/// The JSON body of a change of a user. What is left out stays.
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "documents what `Fields` reads")]
pub struct UpdateUserRequest {
    /// The name to show; null takes it away.
    #[schema(schema_with = full_name_schema)]
    full_name: Option<String>,
    /// What the user may do.
    #[schema(nullable = false)]
    role: Option<RoleName>,
    /// Whether the user may sign in. Taking this away ends the user's sessions.
    #[schema(nullable = false)]
    is_active: Option<bool>,
}

/// The JSON body that makes an account for somebody.
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "documents what `Fields` reads")]
pub struct InviteUserRequest {
    /// Where the invitation goes.
    #[schema(schema_with = email_schema)]
    email: String,
    /// The name to show.
    #[schema(schema_with = full_name_schema)]
    full_name: Option<String>,
    /// What the user may do. Without it, `user`.
    #[schema(nullable = false)]
    role: Option<RoleName>,
    /// The language of the invitation and of the account. Without it, the configured one.
    #[schema(nullable)]
    locale: Option<LocaleName>,
}

/// The most users on one page.
const PAGE_SIZE_AT_MOST: i64 = 100;

/// The last page that can be asked for: the offset must stay within what a database can count.
const PAGE_AT_MOST: i64 = 1_000_000_000;

/// The longest text that is searched for, in characters.
const SEARCH_AT_MOST: usize = 254;

fn parse_role(text: &str) -> Result<Role, Invalid> {
    text.parse()
        .map_err(|_| Invalid::new("unknown_role", "A role is user, analyst or admin."))
}

pub(super) fn parse_number(name: &str, at_most: i64) -> impl FnOnce(&str) -> Result<i64, Invalid> {
    let message = format!("{name} is a whole number from 1 to {at_most}.");
    move |text| match text.parse::<i64>() {
        Ok(number) if (1..=at_most).contains(&number) && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(number)
        }
        _ => Err(Invalid::new("out_of_range", message)),
    }
}

fn parse_search(text: &str) -> Result<String, Invalid> {
    if text.chars().count() > SEARCH_AT_MOST {
        return Err(Invalid::new(
            "too_long",
            "A search text has at most 254 characters.",
        ));
    }
    if text.contains('\0') {
        return Err(Invalid::new(
            "forbidden_character",
            "A search text has no U+0000.",
        ));
    }
    Ok(text.trim().to_lowercase())
}

fn parse_sort(text: &str) -> Result<UserSort, Invalid> {
    UserSort::parse(text).ok_or_else(|| {
        let keys: Vec<_> = UserSort::KEYS.iter().map(|(key, _)| *key).collect();
        Invalid::new(
            "unknown_sort",
            format!(
                "sort is one of {}, with - before it for descending.",
                keys.join(", ")
            ),
        )
    })
}

/// Which users, and in which order.
fn read_filter(fields: &mut Fields) -> (UserFilter, UserSort) {
    let filter = UserFilter {
        text: fields.optional("q", parse_search).filter(|text| !text.is_empty()),
        role: fields.optional_text("role", parse_role),
        is_active: fields.bool("is_active"),
        deleted: fields.bool("deleted").unwrap_or(false),
    };
    let by_id = UserSort {
        column: "id",
        descending: false,
    };
    (filter, fields.optional("sort", parse_sort).unwrap_or(by_id))
}

/// Lists users
#[utoipa::path(
    get, path = "/admin/users", tag = "admin", operation_id = "list_users", security(("bearer" = [])),
    params(
        ("q" = Option<String>, Query, max_length = 254, pattern = r"^[^\x00]*$", description = "Only users whose address or name contains this, in any letter case"),
        ("role" = Option<RoleName>, Query, description = "Only users with this role"),
        ("is_active" = Option<bool>, Query, description = "Only active, or only inactive, users"),
        ("deleted" = Option<bool>, Query, description = "Only users who were deleted and can still be restored; they are in no other list"),
        ("sort" = Option<String>, Query, pattern = r"^-?(id|email|full_name|role|created_at|updated_at)$", description = "The order, with `-` before it for descending. Default: `id`"),
        ("page" = Option<i64>, Query, minimum = 1, maximum = 1_000_000_000, description = "From 1"),
        ("page_size" = Option<i64>, Query, minimum = 1, maximum = 100, description = "Default: 20"),
    ),
    responses((status = 200, description = "One page of users", body = UserList))
)]
async fn list_users(
    _: Administrator,
    State(app): State<App>,
    QueryFields(mut fields): QueryFields,
) -> Result<Json<UserList>> {
    let (filter, sort) = read_filter(&mut fields);
    let page = fields
        .optional("page", parse_number("page", PAGE_AT_MOST))
        .unwrap_or(1);
    let page_size = fields
        .optional("page_size", parse_number("page_size", PAGE_SIZE_AT_MOST))
        .unwrap_or(20);
    fields.finish()?;
    let (users, total) = users::list(&app, &filter, sort, page, page_size).await?;
    let items = users.iter().map(AdminUserResponse::from).collect();
    Ok(Json(UserList {
        items,
        total,
        page,
        page_size,
    }))
}

/// Rows that an export reads at once.
const EXPORT_PAGE: usize = 500;

const CSV_HEADER: [&str; 9] = [
    "id",
    "email",
    "full_name",
    "role",
    "is_active",
    "email_verified",
    "locale",
    "created_at",
    "updated_at",
];

fn to_csv(user: &UserResponse) -> Vec<u8> {
    csv_line(&[
        user.id.to_string(),
        csv_text(&user.email),
        csv_text(user.full_name.as_deref().unwrap_or_default()),
        user.role.as_str().to_owned(),
        user.is_active.to_string(),
        user.email_verified.to_string(),
        user.locale.clone(),
        user.created_at.to_string(),
        user.updated_at.to_string(),
    ])
}

/// Writes users to a file
///
/// All that match, in the order that is asked for; no passwords. The export is itself recorded.
#[utoipa::path(
    get, path = "/admin/users/export", tag = "admin", operation_id = "export_users", security(("bearer" = [])),
    params(
        ("format" = Option<String>, Query, pattern = "^(csv|ndjson)$", description = "Default: csv"),
        ("bom" = Option<bool>, Query, description = "CSV with a byte order mark, for spreadsheets"),
        ("q" = Option<String>, Query, max_length = 254, pattern = r"^[^\x00]*$", description = "Only users whose address or name contains this, in any letter case"),
        ("role" = Option<RoleName>, Query, description = "Only users with this role"),
        ("is_active" = Option<bool>, Query, description = "Only active, or only inactive, users"),
        ("deleted" = Option<bool>, Query, description = "Only users who were deleted and can still be restored; they are in no other list"),
        ("sort" = Option<String>, Query, pattern = r"^-?(id|email|full_name|role|created_at|updated_at)$", description = "The order, with `-` before it for descending. Default: `id`"),
    ),
    responses((status = 200, description = "The users", content((String = "text/csv"), (String = "application/x-ndjson"))))
)]
async fn export_users(
    Exporter(admin): Exporter,
    State(app): State<App>,
    QueryFields(mut fields): QueryFields,
) -> Result<Response> {
    let form = ExportForm::read(&mut fields);
    let (filter, sort) = read_filter(&mut fields);
    fields.finish()?;
    audit::record_export(&app, "users", &admin.client).await?;
    let ids = users::list_ids(&app, &filter, sort).await?;
    let pages = futures_util::stream::try_unfold((app, ids, 0), move |(app, ids, from)| async move {
        let until = ids.len().min(from + EXPORT_PAGE);
        let Some(page) = ids.get(from..until).filter(|page| !page.is_empty()) else {
            return Ok(None);
        };
        let users = users::get_many(&app, page).await?;
        let text = users
            .iter()
            .map(UserResponse::from)
            .flat_map(|user| match form.format {
                Format::Csv => to_csv(&user),
                Format::Ndjson => json_line(&serde_json::json!(user)),
            });
        Ok(Some((text.collect(), (app, ids, until))))
    });
    Ok(form.respond("users", &CSV_HEADER, pages))
}

/// Makes an account and invites its owner
///
/// The owner chooses the password with the link of the mail, within 7 days. Administrators never choose passwords.
#[utoipa::path(
    post, path = "/admin/users", tag = "admin", operation_id = "invite_user", security(("bearer" = [])),
    request_body = InviteUserRequest,
    responses(
        (status = 201, description = "The account is there and the invitation on its way", body = UserResponse),
        (status = 400, description = "`email_taken`", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn invite_user(
    Administrator(admin): Administrator,
    State(app): State<App>,
    JsonBody(mut fields): JsonBody,
) -> Result<(StatusCode, Json<UserResponse>)> {
    let email = fields.required("email", Email::parse);
    let full_name = fields.optional("full_name", FullName::parse).flatten();
    let role = fields.optional_text("role", parse_role).unwrap_or(Role::User);
    let locale = fields
        .optional("locale", str::parse::<Locale>)
        .unwrap_or(app.config.mail.locale);
    let email = fields.finish_with(|| email)?;
    let user = invitations::invite(&app, &email, full_name.as_ref(), role, locale, &admin.client).await?;
    Ok((StatusCode::CREATED, Json(UserResponse::from(&user))))
}

/// Sends a user the link that sets a new password
///
/// An invitation, where there is no password yet.
#[utoipa::path(
    post, path = "/admin/users/{id}/password-reset", tag = "admin", operation_id = "send_password_reset", security(("bearer" = [])),
    params(("id" = i64, Path, minimum = 1, description = "The user")),
    responses(
        (status = 202, description = "The mail is on its way", body = BaseResponse),
        (status = 404, description = "`not_found`", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn send_password_reset(
    Administrator(admin): Administrator,
    State(app): State<App>,
    UserIdPath(id): UserIdPath,
) -> Result<(StatusCode, Json<BaseResponse>)> {
    invitations::send_reset_to(&app, id, &admin.client).await?;
    let done = BaseResponse {
        success: true,
        message: "The mail is on its way.",
        timestamp: app.clock.now(),
    };
    Ok((StatusCode::ACCEPTED, Json(done)))
}

/// Shows a user
#[utoipa::path(
    get, path = "/admin/users/{id}", tag = "admin", operation_id = "show_user", security(("bearer" = [])),
    params(("id" = i64, Path, minimum = 1, description = "The user")),
    responses(
        (status = 200, description = "The user; also one who was deleted and can be restored", body = AdminUserResponse),
        (status = 404, description = "`not_found`", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn show_user(
    _: Administrator,
    State(app): State<App>,
    UserIdPath(id): UserIdPath,
) -> Result<Json<AdminUserResponse>> {
    let user = users::get(&app, id).await?;
    Ok(Json(AdminUserResponse::from(&user)))
}

/// Changes a user
///
/// A change of role and a deactivation hold from the next request on. A deactivation also ends the account's open links. Setting
/// `is_active` of a frozen account releases it (true) or ends its recovery (false).
#[utoipa::path(
    patch, path = "/admin/users/{id}", tag = "admin", operation_id = "update_user", security(("bearer" = [])),
    params(("id" = i64, Path, minimum = 1, description = "The user")),
    request_body = UpdateUserRequest,
    responses(
        (status = 200, description = "The user as it is now", body = AdminUserResponse),
        (status = 404, description = "`not_found`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "`last_admin`: no active administrator would be left", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn update_user(
    Administrator(admin): Administrator,
    State(app): State<App>,
    UserIdPath(id): UserIdPath,
    JsonBody(mut fields): JsonBody,
) -> Result<Json<AdminUserResponse>> {
    let patch = read_patch(&mut fields);
    fields.finish()?;
    let user = users::update(&app, id, patch, &admin.client).await?;
    Ok(Json(AdminUserResponse::from(&user)))
}

fn read_patch(fields: &mut Fields) -> UserPatch {
    UserPatch {
        full_name: read_full_name(fields),
        role: fields.optional_text("role", parse_role),
        is_active: fields.bool("is_active"),
        locale: None,
    }
}

/// Deletes a user
///
/// The account can be restored for `account.deletion_grace`, by its owner with the link of a mail or by an administrator; then it is
/// removed for good. Until then its address stays reserved.
#[utoipa::path(
    delete, path = "/admin/users/{id}", tag = "admin", operation_id = "delete_user", security(("bearer" = [])),
    params(("id" = i64, Path, minimum = 1, description = "The user")),
    responses(
        (status = 204, description = "The user is deleted; the id is never given again"),
        (status = 404, description = "`not_found`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "`last_admin`: no active administrator would be left", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn delete_user(
    Administrator(admin): Administrator,
    State(app): State<App>,
    UserIdPath(id): UserIdPath,
) -> Result<StatusCode> {
    users::delete(&app, id, &admin.client).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Restores a deleted user, or releases a frozen one
///
/// A deleted account is as it was before, without its sessions. A frozen one is active again, and its owner sets a password with a
/// link alone ("forgot password"): make sure first who asks. What is neither stays as it is.
#[utoipa::path(
    post, path = "/admin/users/{id}/restore", tag = "admin", operation_id = "restore_user", security(("bearer" = [])),
    params(("id" = i64, Path, minimum = 1, description = "The user")),
    responses(
        (status = 200, description = "The user as it is now", body = AdminUserResponse),
        (status = 404, description = "`not_found`", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn restore_user(
    Administrator(admin): Administrator,
    State(app): State<App>,
    UserIdPath(id): UserIdPath,
) -> Result<Json<AdminUserResponse>> {
    let user = users::restore(&app, id, &admin.client).await?;
    Ok(Json(AdminUserResponse::from(&user)))
}

/// Lists a user's live sessions, the latest first
#[utoipa::path(
    get, path = "/admin/users/{id}/sessions", tag = "admin", operation_id = "list_user_sessions", security(("bearer" = [])),
    params(("id" = i64, Path, minimum = 1, description = "The user")),
    responses(
        (status = 200, description = "The sessions", body = SessionList),
        (status = 404, description = "`not_found`", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn list_user_sessions(
    Administrator(admin): Administrator,
    State(app): State<App>,
    UserIdPath(id): UserIdPath,
) -> Result<Json<SessionList>> {
    users::get(&app, id).await?;
    let sessions = sessions::list(&app, id).await?;
    Ok(Json(SessionList::new(&sessions, Some(admin.caller.session))))
}

/// Ends all sessions of a user
#[utoipa::path(
    delete, path = "/admin/users/{id}/sessions", tag = "admin", operation_id = "revoke_user_sessions", security(("bearer" = [])),
    params(("id" = i64, Path, minimum = 1, description = "The user")),
    responses(
        (status = 200, description = "How many were ended", body = RevokedResponse),
        (status = 404, description = "`not_found`", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn revoke_user_sessions(
    Administrator(admin): Administrator,
    State(app): State<App>,
    UserIdPath(id): UserIdPath,
) -> Result<Json<RevokedResponse>> {
    users::get(&app, id).await?;
    let revoked = sessions::revoke_all(&app, id, None, RevokeReason::RevokedByAdmin, &admin.client).await?;
    Ok(Json(RevokedResponse { revoked }))
}
