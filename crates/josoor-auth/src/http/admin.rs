//! `/admin`: what administrators do with users.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::{invitations, users};
use crate::app::App;
use crate::audit::{self, csv_line, csv_text};
use crate::domain::{Change, Email, FullName, Locale, RevokeReason, Role, SearchWords};
use crate::error::{Invalid, Result};
use crate::http::request::body::{Body, QueryString};
use crate::http::request::caller::{Administrator, Exporter};
use crate::http::request::definition::{FieldText, NotNull, TextSchema, request_fields};
use crate::http::request::field_types::pattern_schema;
use crate::http::request::page::PageQuery;
use crate::http::request::path::UserIdPath;
use crate::http::response::document::ProblemDocument;
use crate::http::response::export::{ExportForm, Format, json_line};
use crate::http::response::representation::{
    AdminUserResponse, BaseResponse, RevokedResponse, SessionList, UserList, UserResponse,
};
use crate::passwords::Policy;
use crate::sessions;
use crate::store::{NewUser, Start, UserCursor, UserFilter, UserPatch, UserSort};

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

request_fields! {
    /// The JSON body of a change of a user. What is left out stays.
    pub struct UpdateUserRequest {
        /// The name to show.
        full_name: Change<FullName>,
        /// What the user may do.
        role: NotNull<Role>,
        /// Whether the user may sign in. False revokes the user's sessions.
        is_active: NotNull<bool>,
    }
}

request_fields! {
    /// The JSON body that creates an account and invites its owner.
    pub struct InviteUserRequest {
        /// The address that the invitation goes to.
        email: Email,
        /// The name to show.
        full_name: Option<FullName>,
        /// What the user may do. Without it, `user`.
        role: NotNull<Role>,
        /// The language of the invitation and of the account. Without it, the configured one.
        locale: Option<Locale>,
    }
}

request_fields! {
    /// Which users, and in which order.
    pub struct UserQuery {
        /// Only users whose address or name contains these words, in any order, however they are typed: letter case, diacritics and forms
        /// of Arabic letters make no difference
        q: Option<SearchText>,
        /// Only users with this role
        role: NotNull<Role>,
        /// Only active, or only inactive, users
        is_active: NotNull<bool>,
        /// Only users whose address is verified, or is not
        email_verified: NotNull<bool>,
        /// Only users who have not accepted their invitation yet, or only all others
        invited: NotNull<bool>,
        /// Only users with a second factor, or only those without one
        mfa_enabled: NotNull<bool>,
        /// Only users who were deleted and can still be restored; they are in no other list
        deleted: NotNull<bool>,
        /// The order, with `-` before it for descending. Default: `id`
        sort: Option<UserSort>,
    }
}

request_fields! {
    /// A page of users.
    pub struct ListUsersQuery {
        /// Which users.
        users: UserQuery,
        /// Which page.
        page: PageQuery,
        /// Begins after a user instead, at the same place however many come and go meanwhile, and as quickly on the last page as on
        /// the first: `next` of the page before, or a user's id. `page` is then only repeated in the answer
        after: Option<UserCursor>,
    }
}

request_fields! {
    /// A file of users.
    pub struct ExportUsersQuery {
        /// The form of the file.
        form: ExportForm,
        /// Which users.
        users: UserQuery,
    }
}

impl UserQuery {
    fn into_filter(self) -> (UserFilter, UserSort) {
        let filter = UserFilter {
            text: self.q.map(|text| text.0).unwrap_or_default(),
            role: self.role.0,
            is_active: self.is_active.0,
            email_verified: self.email_verified.0,
            invited: self.invited.0,
            mfa_enabled: self.mfa_enabled.0,
            deleted: self.deleted.0.unwrap_or(false),
        };
        (filter, self.sort.unwrap_or(UserSort::BY_ID))
    }
}

/// The longest text that is searched for, in characters.
const SEARCH_AT_MOST: usize = 254;

/// A text to search for.
pub struct SearchText(SearchWords);

impl FieldText for SearchText {
    fn parse(_: &'static str, text: &str, _: &Policy) -> Result<Self, Invalid> {
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
        Ok(Self(SearchWords::parse(text)))
    }

    fn schema() -> TextSchema {
        let object = ObjectBuilder::new()
            .schema_type(Type::String)
            .max_length(Some(SEARCH_AT_MOST))
            .pattern(Some(r"^[^\x00]*$"));
        TextSchema::Inline(object.build())
    }
}

impl FieldText for UserSort {
    fn parse(_: &'static str, text: &str, _: &Policy) -> Result<Self, Invalid> {
        Self::parse(text).ok_or_else(|| {
            let message = format!(
                "sort is one of {}, with - before it for descending.",
                UserSort::NAMES.join(", ")
            );
            Invalid::new("unknown_sort", message)
        })
    }

    fn schema() -> TextSchema {
        pattern_schema(format!("^-?({})$", UserSort::NAMES.join("|")))
    }
}

impl FieldText for UserCursor {
    fn parse(_: &'static str, text: &str, _: &Policy) -> Result<Self, Invalid> {
        Self::parse(text).ok_or_else(|| {
            Invalid::new(
                "invalid_cursor",
                "after is what `next` of the page before says, or the id of a user.",
            )
        })
    }

    /// What `next` says besides is known to the service alone.
    fn schema() -> TextSchema {
        pattern_schema("^[1-9][0-9]{0,15}$")
    }
}

/// Lists users
#[utoipa::path(
    get, path = "/admin/users", tag = "admin", operation_id = "list_users", security(("bearer" = [])),
    params(ListUsersQuery),
    responses((status = 200, description = "One page of users", body = UserList))
)]
async fn list_users(
    _: Administrator,
    State(app): State<App>,
    QueryString(query): QueryString<ListUsersQuery>,
) -> Result<Json<UserList>> {
    let (filter, sort) = query.users.into_filter();
    let page = query.page;
    let start = match query.after {
        Some(cursor) => Start::After(cursor),
        None => Start::Offset(page.offset()),
    };
    let found = users::list(&app, &filter, sort, &start, page.size()).await?;
    Ok(Json(UserList {
        items: found.users.iter().map(AdminUserResponse::from).collect(),
        total: found.total,
        total_is_capped: found.total_is_capped,
        page: page.page(),
        page_size: page.size(),
        next: found.next.map(|cursor| cursor.to_string()),
    }))
}

/// Rows that an export reads at once.
const EXPORT_PAGE: usize = 500;

const CSV_HEADER: [&str; 11] = [
    "id",
    "email",
    "full_name",
    "role",
    "is_active",
    "email_verified",
    "locale",
    "created_at",
    "updated_at",
    "last_login_at",
    "mfa_enabled",
];

fn to_csv(
    AdminUserResponse {
        user, last_login_at, ..
    }: &AdminUserResponse,
) -> Vec<u8> {
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
        last_login_at.map(|at| at.to_string()).unwrap_or_default(),
        user.mfa_enabled.to_string(),
    ])
}

/// Writes users to a file
///
/// All that match, in the order that is asked for; no passwords. The export is itself recorded.
#[utoipa::path(
    get, path = "/admin/users/export", tag = "admin", operation_id = "export_users", security(("bearer" = [])),
    params(ExportUsersQuery),
    responses((status = 200, description = "The users", content((String = "text/csv"), (String = "application/x-ndjson"))))
)]
async fn export_users(
    Exporter(admin): Exporter,
    State(app): State<App>,
    QueryString(ExportUsersQuery { form, users }): QueryString<ExportUsersQuery>,
) -> Result<Response> {
    let (filter, sort) = users.into_filter();
    let format = form.format();
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
            .map(AdminUserResponse::from)
            .flat_map(|user| match format {
                Format::Csv => to_csv(&user),
                Format::Ndjson => json_line(&serde_json::json!(user)),
            });
        Ok(Some((text.collect(), (app, ids, until))))
    });
    Ok(form.respond("users", &CSV_HEADER, pages))
}

/// Creates an account and invites its owner
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
    Body(request): Body<InviteUserRequest>,
) -> Result<(StatusCode, Json<UserResponse>)> {
    let locale = request.locale.unwrap_or(app.config.mail.locale);
    let new = NewUser {
        full_name: request.full_name.as_ref(),
        role: request.role.0.unwrap_or(Role::User),
        ..NewUser::new(&request.email, locale, app.clock.now())
    };
    let user = invitations::invite(&app, &new, &admin.client).await?;
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
    let done = BaseResponse::done(&app, "The mail is on its way.");
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
/// A change of role and a deactivation hold from the next request on. A deactivation also revokes the account's open links. Setting
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
    Body(request): Body<UpdateUserRequest>,
) -> Result<Json<AdminUserResponse>> {
    let patch = UserPatch {
        full_name: request.full_name,
        role: request.role.0,
        is_active: request.is_active.0,
        ..UserPatch::default()
    };
    let user = users::update(&app, id, patch, &admin.client).await?.user;
    Ok(Json(AdminUserResponse::from(&user)))
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
/// link alone ("forgot password"): verify first who asks. Any other account stays as it is.
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
    params(("id" = i64, Path, minimum = 1, description = "The user"), PageQuery),
    responses(
        (status = 200, description = "A page of the sessions", body = SessionList),
        (status = 404, description = "`not_found`", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn list_user_sessions(
    Administrator(admin): Administrator,
    State(app): State<App>,
    UserIdPath(id): UserIdPath,
    QueryString(page): QueryString<PageQuery>,
) -> Result<Json<SessionList>> {
    let role = users::get(&app, id).await?.role;
    let found = sessions::list_page(&app, id, role, page.size(), page.offset()).await?;
    Ok(Json(SessionList::new(
        &app,
        &found,
        role,
        admin.caller.session,
        page.page(),
        page.size(),
    )))
}

/// Revokes all sessions of a user
#[utoipa::path(
    delete, path = "/admin/users/{id}/sessions", tag = "admin", operation_id = "revoke_user_sessions", security(("bearer" = [])),
    params(("id" = i64, Path, minimum = 1, description = "The user")),
    responses(
        (status = 200, description = "How many were revoked", body = RevokedResponse),
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
