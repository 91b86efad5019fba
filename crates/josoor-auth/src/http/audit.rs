//! `/admin/audit`: the audit trail, for administrators.

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::KnownFormat;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::audit;
use crate::domain::{Audit, SessionId, Timestamp, UserId, canonical_address};
use crate::error::{Error, Invalid, Result};
use crate::http::request::body::QueryString;
use crate::http::request::caller::{Administrator, Exporter};
use crate::http::request::definition::{FieldText, TextSchema, request_fields};
use crate::http::request::field_types::{Number, format_schema, pattern_schema};
use crate::http::request::path::parse_session_id;
use crate::http::response::export::{ExportForm, Format, json_line};
use crate::passwords::Policy;
use crate::store::{AuditFilter, AuditRow};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_audit))
        .routes(routes!(export_audit))
        .routes(routes!(verify_audit))
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
    /// The reason, if there is one.
    #[schema(required)]
    pub reason: Option<String>,
    /// The user who did it; null for the command line and without a sign-in.
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

/// Ids and cursors: what every program can count to exactly (RFC 8259, 6).
const ID_AT_MOST: i64 = 9_007_199_254_740_991;

impl FieldText for Audit {
    fn parse(_: &'static str, text: &str, _: &Policy) -> Result<Self, Invalid> {
        Self::ALL
            .iter()
            .copied()
            .find(|action| action.as_str() == text)
            .ok_or_else(|| {
                let message = format!("action is one of {}.", actions().join(", "));
                Invalid::new("unknown_action", message)
            })
    }

    fn schema() -> TextSchema {
        pattern_schema(format!("^({})$", actions().join("|")))
    }
}

fn actions() -> Vec<&'static str> {
    Audit::ALL.iter().map(|action| action.as_str()).collect()
}

/// `success` or `failure`.
pub struct Outcome(&'static str);

impl FieldText for Outcome {
    fn parse(_: &'static str, text: &str, _: &Policy) -> Result<Self, Invalid> {
        ["success", "failure"]
            .into_iter()
            .find(|outcome| *outcome == text)
            .map(Self)
            .ok_or_else(|| Invalid::new("unknown_outcome", "outcome is success or failure."))
    }

    fn schema() -> TextSchema {
        pattern_schema("^(success|failure)$")
    }
}

impl FieldText for Timestamp {
    fn parse(_: &'static str, text: &str, _: &Policy) -> Result<Self, Invalid> {
        text.parse().map_err(|_| {
            Invalid::new(
                "invalid_time",
                "A time is written as in RFC 3339, such as 2026-11-24T08:00:00Z; in a query + is %2B.",
            )
        })
    }

    fn schema() -> TextSchema {
        format_schema(KnownFormat::DateTime)
    }
}

impl FieldText for SessionId {
    fn parse(_: &'static str, text: &str, _: &Policy) -> Result<Self, Invalid> {
        parse_session_id(text).ok_or_else(|| Invalid::new("invalid_id", "A session id is a UUID."))
    }

    fn schema() -> TextSchema {
        format_schema(KnownFormat::Uuid)
    }
}

/// A network address in its canonical form, in which rows have it.
pub struct NetworkAddress(String);

impl FieldText for NetworkAddress {
    fn parse(_: &'static str, text: &str, _: &Policy) -> Result<Self, Invalid> {
        text.trim()
            .parse::<IpAddr>()
            .map(|address| Self(canonical_address(address).to_string()))
            .map_err(|_| Invalid::new("invalid_address", "ip is an IPv4 or IPv6 address."))
    }

    fn schema() -> TextSchema {
        pattern_schema(concat!(
            r"^((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\.){3}",
            r"(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])$"
        ))
    }
}

/// The id of a request, as the log has it.
pub struct RequestIdText(String);

impl FieldText for RequestIdText {
    fn parse(_: &'static str, text: &str, _: &Policy) -> Result<Self, Invalid> {
        if text.is_empty() || text.len() > 128 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message = "A request id has 1 to 128 visible ASCII characters.";
            return Err(Invalid::new("invalid_id", message));
        }
        Ok(Self(text.to_owned()))
    }

    fn schema() -> TextSchema {
        pattern_schema("^[!-~]{1,128}$")
    }
}

request_fields! {
    /// Which rows of the audit trail.
    pub struct AuditQuery {
        /// Only what concerns this user
        user_id: Option<Number<ID_AT_MOST>>,
        /// Only what this user did
        actor_id: Option<Number<ID_AT_MOST>>,
        /// Only this action
        action: Option<Audit>,
        /// Only these
        outcome: Option<Outcome>,
        /// From this moment on
        from: Option<Timestamp>,
        /// Before this moment
        to: Option<Timestamp>,
        /// Only what concerns this session
        session_id: Option<SessionId>,
        /// Only what came from this network address. The pattern covers IPv4; IPv6 is taken as well
        ip: Option<NetworkAddress>,
        /// Only what this request did
        request_id: Option<RequestIdText>,
    }
}

request_fields! {
    /// A page of the audit trail.
    pub struct ListAuditQuery {
        /// Which rows.
        rows: AuditQuery,
        /// Only rows that are newer than the one with this id
        after: Option<Number<ID_AT_MOST>>,
        /// `next` of the page before
        before: Option<Number<ID_AT_MOST>>,
        /// Default: 50
        limit: Option<Number<100>>,
    }
}

request_fields! {
    /// A file of the audit trail.
    pub struct ExportAuditQuery {
        /// The form of the file.
        form: ExportForm,
        /// Which rows.
        rows: AuditQuery,
    }
}

impl AuditQuery {
    fn into_filter(self) -> AuditFilter {
        AuditFilter {
            subject: self.user_id.map(|id| UserId(id.0)),
            actor: self.actor_id.map(|id| UserId(id.0)),
            action: self.action,
            outcome: self.outcome.map(|outcome| outcome.0),
            from: self.from,
            to: self.to,
            session: self.session_id,
            ip: self.ip.map(|address| address.0),
            request_id: self.request_id.map(|id| id.0),
            after: None,
        }
    }
}

/// Lists the audit trail
#[utoipa::path(
    get, path = "/admin/audit", tag = "admin", operation_id = "list_audit", security(("bearer" = [])),
    params(ListAuditQuery),
    responses((status = 200, description = "A page, the latest first", body = AuditPage))
)]
async fn list_audit(
    _: Administrator,
    State(app): State<App>,
    QueryString(query): QueryString<ListAuditQuery>,
) -> Result<Json<AuditPage>> {
    let filter = AuditFilter {
        after: query.after.map(|id| id.0),
        ..query.rows.into_filter()
    };
    let before = query.before.map(|id| id.0);
    let limit = query.limit.map_or(50, |limit| limit.0);
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
    params(ExportAuditQuery),
    responses((status = 200, description = "The rows", content((String = "text/csv"), (String = "application/x-ndjson"))))
)]
async fn export_audit(
    Exporter(admin): Exporter,
    State(app): State<App>,
    QueryString(ExportAuditQuery { form, rows }): QueryString<ExportAuditQuery>,
) -> Result<Response> {
    let (filter, format) = (rows.into_filter(), form.format());
    audit::record_export(&app, "audit", &admin.client).await?;
    let state = (app, filter, None::<i64>, false);
    let pages = futures_util::stream::try_unfold(state, move |(app, filter, before, done)| async move {
        if done {
            return Ok(None);
        }
        let (rows, next) = audit::list(&app, &filter, before, EXPORT_PAGE).await?;
        let text = rows.iter().flat_map(|row| match format {
            Format::Csv => audit::to_csv(row),
            Format::Ndjson => json_line(&audit::to_json(row)),
        });
        Ok(Some((text.collect(), (app, filter, next, next.is_none()))))
    });
    Ok(form.respond("audit", &audit::CSV_HEADER, pages))
}

/// How many findings an answer lists; a chain that was cut in the middle may have one for every row.
const FINDINGS_AT_MOST: usize = 100;

/// What a check of the audit trail found.
#[derive(Serialize, ToSchema)]
pub struct AuditReport {
    /// Whether no row was changed, removed, inserted or cut off.
    pub whole: bool,
    /// Rows whose place in the chain was checked.
    #[schema(minimum = 0)]
    pub checked: u64,
    /// The end of the chain, as `position:code`: kept elsewhere, it shows later that nothing was cut off until here.
    #[schema(required)]
    pub head: Option<String>,
    /// What is wrong, in English, in the order of the chain; up to 100.
    pub findings: Vec<String>,
    /// How many findings there are.
    #[schema(minimum = 0)]
    pub findings_total: usize,
    /// Rows that are not in the chain yet, counted up to 1,000; a row is sealed within a second or so.
    #[schema(minimum = 0)]
    pub unsealed: usize,
    /// Rows from which something personal was erased, as a later row says.
    #[schema(minimum = 0)]
    pub erased: u64,
    /// When and why the chain began again; rows before that were not checked.
    #[schema(required)]
    pub rebased: Option<String>,
}

impl From<audit::Report> for AuditReport {
    fn from(report: audit::Report) -> Self {
        let findings_total = report.findings.len();
        let mut findings = report.findings;
        findings.truncate(FINDINGS_AT_MOST);
        Self {
            whole: findings_total == 0,
            checked: report.checked,
            head: report.head,
            findings,
            findings_total,
            unsealed: report.unsealed.len(),
            erased: report.erased,
            rebased: report.rebased,
        }
    }
}

/// Each check reads the whole trail, so a node does one at a time.
static VERIFYING: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(1);

/// Checks the seal of the audit trail
///
/// The whole chain, from its beginning or its anchor to its head. A trail that cannot be read within `server.request_timeout` is
/// answered with 503: `josoor-auth audit verify` has no such limit.
#[utoipa::path(
    post, path = "/admin/audit/verify", tag = "admin", operation_id = "verify_audit", security(("bearer" = [])),
    responses((status = 200, description = "What was found", body = AuditReport))
)]
async fn verify_audit(_: Administrator, State(app): State<App>) -> Result<Json<AuditReport>> {
    let _permit = VERIFYING.acquire().await.map_err(Error::internal)?;
    let report = audit::verify(&app, None).await?;
    Ok(Json(report.into()))
}
