//! `/admin/outbox`: the mails that wait, were sent or were given up.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::outbox;
use crate::app::App;
use crate::domain::{MailKind, MailState, Timestamp};
use crate::error::{Invalid, Result};
use crate::http::request::body::QueryString;
use crate::http::request::caller::Administrator;
use crate::http::request::definition::{FieldText, NotNull, TextSchema, request_fields};
use crate::http::request::field_types::pattern_schema;
use crate::http::request::page::PageQuery;
use crate::http::request::path::RowIdPath;
use crate::http::response::document::ProblemDocument;
use crate::passwords::Policy;
use crate::store::{MailSummary, OutboxFilter};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_outbox))
        .routes(routes!(retry_mail))
}

impl FieldText for MailState {
    fn parse(_: &'static str, text: &str, _: &Policy) -> Result<Self, Invalid> {
        text.parse()
            .map_err(|_| Invalid::new("unknown_state", "A state is waiting, sent or failed."))
    }

    fn schema() -> TextSchema {
        TextSchema::named::<MailState>()
    }
}

impl FieldText for MailKind {
    fn parse(_: &'static str, text: &str, _: &Policy) -> Result<Self, Invalid> {
        text.parse().map_err(|_| {
            let message = format!("A kind of mail is one of {}.", kinds().join(", "));
            Invalid::new("unknown_kind", message)
        })
    }

    fn schema() -> TextSchema {
        pattern_schema(format!("^({})$", kinds().join("|")))
    }
}

fn kinds() -> Vec<&'static str> {
    MailKind::ALL.iter().map(|kind| kind.as_str()).collect()
}

/// Why a mail was not sent.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MailErrorResponse {
    /// The mail server's reply code (RFC 5321, 4.2); null where no server has answered.
    #[schema(required)]
    pub code: Option<i64>,
    /// Its enhanced status code (RFC 3463), such as `5.7.60`, if it gave one.
    #[schema(required)]
    pub enhanced_code: Option<String>,
    /// The whole reason, in English, on one line.
    pub text: String,
}

/// A row of the outbox: a mail, or a request from which mails follow. Neither its text nor its link.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OutboxMail {
    /// Grows with the order of asking, and has gaps.
    pub id: i64,
    /// What: `verify_email`, `reset_password`, … A kind that ends in `_request` is no mail itself: a stranger typed the address.
    pub kind: String,
    /// The address that it goes to.
    pub to: String,
    /// The user whose account it is about, if it is about one.
    #[schema(required)]
    pub user_id: Option<i64>,
    /// Whether it was sent.
    pub state: MailState,
    /// How often it was tried since it was asked for, or since an administrator had it tried again.
    #[schema(minimum = 0)]
    pub attempts: i64,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it is tried next; null unless it waits.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub due_at: Option<Timestamp>,
    /// When the mail server took it.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub sent_at: Option<Timestamp>,
    /// When it was given up.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub failed_at: Option<Timestamp>,
    /// Why the last try failed; null where none has, or the mail was sent.
    #[schema(required)]
    pub last_error: Option<MailErrorResponse>,
}

impl From<MailSummary> for OutboxMail {
    fn from(mail: MailSummary) -> Self {
        let state = mail.state();
        Self {
            id: mail.id,
            user_id: mail.user().map(|user| user.0),
            kind: mail.kind,
            to: mail.recipient,
            state,
            attempts: mail.attempts,
            created_at: mail.created_at,
            due_at: (state == MailState::Waiting).then_some(mail.due_at),
            sent_at: mail.sent_at,
            failed_at: mail.dropped_at,
            last_error: mail.last_error.map(|text| MailErrorResponse {
                code: mail.error_code,
                enhanced_code: mail.error_status,
                text,
            }),
        }
    }
}

/// One page of the outbox, the latest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct OutboxList {
    /// The mails of this page.
    pub items: Vec<OutboxMail>,
    /// How many there are on all pages, counted up to 10,000.
    #[schema(minimum = 0)]
    pub total: i64,
    /// Whether there are more than `total` says.
    pub total_is_capped: bool,
    /// This page, from 1.
    #[schema(minimum = 1)]
    pub page: i64,
    /// The most that a page holds.
    #[schema(minimum = 1, maximum = 100)]
    pub page_size: i64,
}

request_fields! {
    /// Which mails.
    pub struct OutboxQuery {
        /// Only mails in this state
        state: NotNull<MailState>,
        /// Only mails of this kind
        kind: NotNull<MailKind>,
        /// Which page.
        page: PageQuery,
    }
}

/// Lists the mails that wait, were sent or were given up
///
/// The latest first. Rows that were sent or given up stay for seven days.
#[utoipa::path(
    get, path = "/admin/outbox", tag = "admin", operation_id = "list_outbox", security(("bearer" = [])),
    params(OutboxQuery),
    responses((status = 200, description = "One page of mails", body = OutboxList))
)]
async fn list_outbox(
    _: Administrator,
    State(app): State<App>,
    QueryString(query): QueryString<OutboxQuery>,
) -> Result<Json<OutboxList>> {
    let filter = OutboxFilter {
        state: query.state.0,
        kind: query.kind.0,
    };
    let page = query.page;
    let (mails, counted) = outbox::list(&app, filter, page.size(), page.offset()).await?;
    Ok(Json(OutboxList {
        items: mails.into_iter().map(OutboxMail::from).collect(),
        total: counted.min(outbox::COUNTED_AT_MOST),
        total_is_capped: counted > outbox::COUNTED_AT_MOST,
        page: page.page(),
        page_size: page.size(),
    }))
}

/// Tries a mail again that waits or was given up
///
/// At once, and then for another day; the limits of its network and its recipient do not hold it back. A mail that is being sent
/// at this moment stays as it is.
#[utoipa::path(
    post, path = "/admin/outbox/{id}/retry", tag = "admin", operation_id = "retry_mail", security(("bearer" = [])),
    params(("id" = i64, Path, minimum = 1, description = "The mail")),
    responses(
        (status = 200, description = "The mail as it is now", body = OutboxMail),
        (status = 404, description = "`not_found`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "`mail_not_retryable`: it was sent, or its link was used or replaced", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn retry_mail(
    Administrator(admin): Administrator,
    State(app): State<App>,
    RowIdPath(id): RowIdPath,
) -> Result<Json<OutboxMail>> {
    let mail = outbox::retry(&app, id, &admin.client).await?;
    Ok(Json(mail.into()))
}
