//! `/admin/audit` and `/auth/activity`: the audit trail, for administrators and for each user.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::admin::parse_number;
use crate::app::App;
use crate::audit;
use crate::domain::{Timestamp, UserId};
use crate::error::{Invalid, Result};
use crate::http::request::caller::{Administrator, Exporter, SignedIn};
use crate::http::request::extract::{Fields, QueryFields, parse_session_id};
use crate::http::response::export::{ExportForm, Format, json_line};
use crate::store::{Audit, AuditFilter, AuditRow};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_audit))
        .routes(routes!(export_audit))
        .routes(routes!(list_activity))
}

/// A row of the audit trail.
#[derive(Serialize, ToSchema)]
pub struct AuditResponse {
    /// Grows with the order of writing, and has gaps.
    pub id: i64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What: `sign_in`, `password_reset`, …
    pub action: String,
    /// `success` or `failure`.
    pub outcome: String,
    /// Why, where there is a reason to tell.
    #[schema(required)]
    pub reason: Option<String>,
    /// Who did it; null for the command line and for strangers.
    #[schema(required)]
    pub actor_id: Option<i64>,
    /// To whom.
    #[schema(required)]
    pub subject_id: Option<i64>,
    /// The session concerned.
    #[schema(required)]
    pub session_id: Option<uuid::Uuid>,
    /// The client's network address.
    #[schema(required)]
    pub ip: Option<String>,
    /// What the client called itself.
    #[schema(required)]
    pub user_agent: Option<String>,
    /// The request's id, as in the log.
    #[schema(required)]
    pub request_id: Option<String>,
    /// The id that the client gave the request as `X-Request-Id`.
    #[schema(required)]
    pub client_request_id: Option<String>,
    /// The position in the chain, once it is sealed.
    #[schema(required)]
    pub seq: Option<i64>,
    /// Whether the row is in the chain already.
    pub sealed: bool,
}

impl From<AuditRow> for AuditResponse {
    fn from(row: AuditRow) -> Self {
        Self {
            id: row.id,
            at: row.at,
            action: row.action,
            outcome: row.outcome,
            reason: row.reason,
            actor_id: row.actor_id,
            subject_id: row.subject_id,
            session_id: row.session_id,
            ip: row.ip,
            user_agent: row.user_agent,
            request_id: row.request_id,
            client_request_id: row.client_request_id,
            sealed: row.seq.is_some(),
            seq: row.seq,
        }
    }
}

/// A page of the audit trail, the latest first.
#[derive(Serialize, ToSchema)]
pub struct AuditPage {
    /// The rows.
    pub items: Vec<AuditResponse>,
    /// What `before` is for the next page; null on the last one.
    #[schema(required)]
    pub next: Option<i64>,
}

/// Something that happened to one's own account.
#[derive(Serialize, ToSchema)]
pub struct ActivityResponse {
    /// Grows with the order of writing, and has gaps.
    pub id: i64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What: `sign_in`, `password_reset`, …
    pub action: String,
    /// `success` or `failure`.
    pub outcome: String,
    /// Why, where there is a reason to tell.
    #[schema(required)]
    pub reason: Option<String>,
    /// Whether it was somebody else's act: an administrator's or an operator's.
    pub by_other: bool,
    /// The session concerned.
    #[schema(required)]
    pub session_id: Option<uuid::Uuid>,
    /// The network address that it came from, unless it was somebody else's.
    #[schema(required)]
    pub ip: Option<String>,
    /// What the client called itself, unless it was somebody else's.
    #[schema(required)]
    pub user_agent: Option<String>,
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
}

/// Ids and cursors: what every program can count to exactly (RFC 8259, 6).
const ID_AT_MOST: i64 = 9_007_199_254_740_991;

/// The last page that can be asked for.
const PAGE_AT_MOST: i64 = 1_000_000;

fn parse_action(text: &str) -> Result<Audit, Invalid> {
    Audit::ALL
        .into_iter()
        .find(|action| action.as_str() == text)
        .ok_or_else(|| {
            let names: Vec<_> = Audit::ALL.iter().map(|action| action.as_str()).collect();
            Invalid::new(
                "unknown_action",
                format!("action is one of {}.", names.join(", ")),
            )
        })
}

fn parse_outcome(text: &str) -> Result<&'static str, Invalid> {
    ["success", "failure"]
        .into_iter()
        .find(|outcome| *outcome == text)
        .ok_or_else(|| Invalid::new("unknown_outcome", "outcome is success or failure."))
}

fn parse_time(text: &str) -> Result<Timestamp, Invalid> {
    text.parse().map_err(|_| {
        Invalid::new(
            "invalid_time",
            "A time is written as in RFC 3339, such as 2026-11-24T08:00:00Z; in a query + is %2B.",
        )
    })
}

fn read_filter(fields: &mut Fields) -> AuditFilter {
    AuditFilter {
        subject: fields
            .optional("user_id", parse_number("user_id", ID_AT_MOST))
            .map(UserId),
        actor: fields
            .optional("actor_id", parse_number("actor_id", ID_AT_MOST))
            .map(UserId),
        action: fields.optional("action", parse_action),
        outcome: fields.optional("outcome", parse_outcome),
        from: fields.optional("from", parse_time),
        to: fields.optional("to", parse_time),
        session: fields.optional("session_id", |text| {
            parse_session_id(text).ok_or_else(|| Invalid::new("invalid_id", "A session id is a UUID."))
        }),
        ip: fields.optional("ip", parse_address),
        request_id: fields.optional("request_id", parse_word),
        after: None,
    }
}

/// Network addresses are kept as they are written canonically.
fn parse_address(text: &str) -> Result<String, Invalid> {
    text.trim()
        .parse::<std::net::IpAddr>()
        .map(|address| address.to_canonical().to_string())
        .map_err(|_| Invalid::new("invalid_address", "ip is an IPv4 or IPv6 address."))
}

fn parse_word(text: &str) -> Result<String, Invalid> {
    if text.is_empty() || text.len() > 128 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = "A request id has 1 to 128 visible ASCII characters.";
        return Err(Invalid::new("invalid_id", message));
    }
    Ok(text.to_owned())
}

/// Lists the audit trail
#[utoipa::path(
    get, path = "/admin/audit", tag = "admin", operation_id = "list_audit", security(("bearer" = [])),
    params(
        ("user_id" = Option<i64>, Query, minimum = 1, maximum = 9_007_199_254_740_991_i64, description = "Only what concerns this user"),
        ("actor_id" = Option<i64>, Query, minimum = 1, maximum = 9_007_199_254_740_991_i64, description = "Only what this user did"),
        ("action" = Option<String>, Query, pattern = "^(register|sign_in|session_revoke|refresh_reuse|user_update|role_change|activation_change|user_delete|user_restore|user_purge|account_secure|new_device|user_invite|user_import|export|password_reset_request|password_reset|password_change|email_verify|email_change_request|email_change|email_change_undo|device_forget|key_change|configuration_change|audit_boundary|audit_rebase|audit_erase)$", description = "Only this action"),
        ("outcome" = Option<String>, Query, pattern = "^(success|failure)$", description = "Only these"),
        ("from" = Option<String>, Query, format = DateTime, description = "From this moment on"),
        ("to" = Option<String>, Query, format = DateTime, description = "Before this moment"),
        ("session_id" = Option<String>, Query, format = Uuid, description = "Only what concerns this session"),
        ("ip" = Option<String>, Query, pattern = r"^((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])$", description = "Only what came from this network address. The pattern covers IPv4; IPv6 is taken as well"),
        ("request_id" = Option<String>, Query, pattern = "^[!-~]{1,128}$", description = "Only what this request did"),
        ("before" = Option<i64>, Query, minimum = 1, maximum = 9_007_199_254_740_991_i64, description = "`next` of the page before"),
        ("after" = Option<i64>, Query, minimum = 1, maximum = 9_007_199_254_740_991_i64, description = "Only rows that are newer than the one with this id"),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 100, description = "Default: 50"),
    ),
    responses((status = 200, description = "A page, the latest first", body = AuditPage))
)]
async fn list_audit(
    _: Administrator,
    State(app): State<App>,
    QueryFields(mut fields): QueryFields,
) -> Result<Json<AuditPage>> {
    let mut filter = read_filter(&mut fields);
    filter.after = fields.optional("after", parse_number("after", ID_AT_MOST));
    let before = fields.optional("before", parse_number("before", ID_AT_MOST));
    let limit = fields.optional("limit", parse_number("limit", 100)).unwrap_or(50);
    fields.finish()?;
    let (rows, next) = audit::list(&app, &filter, before, limit).await?;
    let items = rows.into_iter().map(AuditResponse::from).collect();
    Ok(Json(AuditPage { items, next }))
}

/// Rows that an export reads at once.
const EXPORT_PAGE: i64 = 500;

/// Writes the audit trail to a file
///
/// All rows that match, the latest first. The export is itself recorded.
#[utoipa::path(
    get, path = "/admin/audit/export", tag = "admin", operation_id = "export_audit", security(("bearer" = [])),
    params(
        ("format" = Option<String>, Query, pattern = "^(csv|ndjson)$", description = "Default: csv"),
        ("bom" = Option<bool>, Query, description = "CSV with a byte order mark, for spreadsheets"),
        ("user_id" = Option<i64>, Query, minimum = 1, maximum = 9_007_199_254_740_991_i64, description = "Only what concerns this user"),
        ("actor_id" = Option<i64>, Query, minimum = 1, maximum = 9_007_199_254_740_991_i64, description = "Only what this user did"),
        ("action" = Option<String>, Query, pattern = "^(register|sign_in|session_revoke|refresh_reuse|user_update|role_change|activation_change|user_delete|user_restore|user_purge|account_secure|new_device|user_invite|user_import|export|password_reset_request|password_reset|password_change|email_verify|email_change_request|email_change|email_change_undo|device_forget|key_change|configuration_change|audit_boundary|audit_rebase|audit_erase)$", description = "Only this action"),
        ("outcome" = Option<String>, Query, pattern = "^(success|failure)$", description = "Only these"),
        ("from" = Option<String>, Query, format = DateTime, description = "From this moment on"),
        ("to" = Option<String>, Query, format = DateTime, description = "Before this moment"),
        ("session_id" = Option<String>, Query, format = Uuid, description = "Only what concerns this session"),
        ("ip" = Option<String>, Query, pattern = r"^((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])$", description = "Only what came from this network address. The pattern covers IPv4; IPv6 is taken as well"),
        ("request_id" = Option<String>, Query, pattern = "^[!-~]{1,128}$", description = "Only what this request did"),
    ),
    responses((status = 200, description = "The rows", content((String = "text/csv"), (String = "application/x-ndjson"))))
)]
async fn export_audit(
    Exporter(admin): Exporter,
    State(app): State<App>,
    QueryFields(mut fields): QueryFields,
) -> Result<Response> {
    let form = ExportForm::read(&mut fields);
    let filter = read_filter(&mut fields);
    fields.finish()?;
    audit::record_export(&app, "audit", &admin.client).await?;
    let state = (app, filter, None::<i64>, false);
    let pages = futures_util::stream::try_unfold(state, move |(app, filter, before, done)| async move {
        if done {
            return Ok(None);
        }
        let (rows, next) = audit::list(&app, &filter, before, EXPORT_PAGE).await?;
        let text = rows.iter().flat_map(|row| match form.format {
            Format::Csv => audit::to_csv(row),
            Format::Ndjson => json_line(&audit::to_json(row)),
        });
        Ok(Some((text.collect(), (app, filter, next, next.is_none()))))
    });
    Ok(form.respond("audit", &audit::CSV_HEADER, pages))
}

/// Lists what happened to one's own account, the latest first
#[utoipa::path(
    get, path = "/auth/activity", tag = "account", operation_id = "list_activity", security(("bearer" = [])),
    params(
        ("page" = Option<i64>, Query, minimum = 1, maximum = 1_000_000, description = "From 1"),
        ("page_size" = Option<i64>, Query, minimum = 1, maximum = 100, description = "Default: 20"),
    ),
    responses((status = 200, description = "A page", body = ActivityList))
)]
async fn list_activity(
    signed_in: SignedIn,
    State(app): State<App>,
    QueryFields(mut fields): QueryFields,
) -> Result<Json<ActivityList>> {
    let page = fields
        .optional("page", parse_number("page", PAGE_AT_MOST))
        .unwrap_or(1);
    let page_size = fields
        .optional("page_size", parse_number("page_size", 100))
        .unwrap_or(20);
    fields.finish()?;
    let user = signed_in.caller.id();
    let (rows, total, total_is_capped) = audit::activity(&app, user, page, page_size).await?;
    let items = rows
        .into_iter()
        .map(|row| {
            // A failed sign-in has no actor: it was a stranger, or the owner with a typing error. Both may see from where.
            let by_other = match row.actor_id {
                Some(actor) => actor != user.0,
                None => row.ip.is_none() && row.ip_commitment.is_none(),
            };
            ActivityResponse {
                id: row.id,
                at: row.at,
                action: row.action,
                outcome: row.outcome,
                reason: row.reason,
                by_other,
                session_id: row.session_id,
                ip: row.ip.filter(|_| !by_other),
                user_agent: row.user_agent.filter(|_| !by_other),
            }
        })
        .collect();
    Ok(Json(ActivityList {
        items,
        total,
        total_is_capped,
        page,
        page_size,
    }))
}
