//! `/auth/me/export`: one file with everything that is kept about a person.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, StreamExt as _};
use http::header;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::account::export::{self, Kept};
use crate::app::App;
use crate::audit;
use crate::domain::{FactorMethod, RevokeReason, SessionId, Timestamp, UserId};
use crate::error::{Error, Result};
use crate::http::activity::ActivityResponse;
use crate::http::request::caller::OwnExporter;
use crate::http::response::document::ProblemDocument;
use crate::http::response::representation::{SessionResponse, UserResponse};
use crate::store::{AuditFilter, Credential};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(export_me))
}

/// The account of an export.
#[derive(Serialize, ToSchema)]
pub struct ExportedAccount {
    /// What the user sees elsewhere.
    #[serde(flatten)]
    pub user: UserResponse,
    /// When the address was verified.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub email_verified_at: Option<Timestamp>,
    /// When the password was last set. The password itself is not known: only a hash is kept.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub password_changed_at: Option<Timestamp>,
    /// The last sign-in.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub last_login_at: Option<Timestamp>,
    /// When an administrator invited the user, if one did.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub invited_at: Option<Timestamp>,
    /// When the invitation was accepted.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub accepted_at: Option<Timestamp>,
}

/// A session of an export, live or ended.
#[derive(Serialize, ToSchema)]
pub struct ExportedSession {
    /// What the user sees elsewhere.
    #[serde(flatten)]
    pub session: SessionResponse,
    /// When it was revoked.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
    /// Why.
    #[schema(required)]
    pub revoke_reason: Option<&'static str>,
}

/// A device of an export, known or forgotten.
#[derive(Serialize, ToSchema)]
pub struct ExportedDevice {
    /// The device.
    #[schema(value_type = String, format = Uuid)]
    pub id: String,
    /// A short name for it, such as "Firefox on Windows".
    pub device: String,
    /// The address of the last sign-in.
    pub ip: String,
    /// When the user first signed in on it.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When the user last signed in on it.
    #[schema(value_type = String, format = DateTime)]
    pub last_seen_at: Timestamp,
    /// When it was forgotten.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub forgotten_at: Option<Timestamp>,
}

/// A second factor of an export: that it is there, not its secret.
#[derive(Serialize, ToSchema)]
pub struct ExportedFactor {
    /// What it is.
    pub method: FactorMethod,
    /// When it was added.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub created_at: Option<Timestamp>,
    /// When a code of it was last accepted.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
}

impl ExportedFactor {
    fn of(method: FactorMethod, row: &Credential) -> Self {
        Self {
            method,
            created_at: row.confirmed_at,
            last_used_at: row.last_used_at,
        }
    }
}

/// A mail of an export: its kind, not its text.
#[derive(Serialize, ToSchema)]
pub struct ExportedMail {
    /// What: `verify_email`, `reset_password`, …
    pub kind: String,
    /// The address that it goes to.
    pub to: String,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When the mail server took it.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub sent_at: Option<Timestamp>,
}

/// An address that the account had before.
#[derive(Serialize, ToSchema)]
pub struct ExportedAddress {
    /// The address.
    pub email: String,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
}

/// Everything that is kept about a person.
#[derive(Serialize, ToSchema)]
pub struct AccountExport {
    /// When it was written.
    #[schema(value_type = String, format = DateTime)]
    pub exported_at: Timestamp,
    /// The account.
    pub account: ExportedAccount,
    /// The addresses that it had before, as long as a change of address can be undone.
    pub previous_addresses: Vec<ExportedAddress>,
    /// The sessions, the latest first; ended ones until they are purged.
    pub sessions: Vec<ExportedSession>,
    /// The devices, the one that was used last first; forgotten ones until they are purged.
    pub devices: Vec<ExportedDevice>,
    /// The authenticator app, the passkeys, and each recovery code that was not used.
    pub factors: Vec<ExportedFactor>,
    /// The mails of the last days, the latest first.
    pub mails: Vec<ExportedMail>,
    /// The rows of the audit trail about the account, the latest first.
    pub activity: Vec<ActivityResponse>,
}

impl AccountExport {
    /// Without its activity.
    fn new(app: &App, kept: &Kept, current: SessionId) -> Self {
        let user = &kept.user;
        Self {
            exported_at: kept.at,
            account: ExportedAccount {
                user: user.into(),
                email_verified_at: user.email_verified_at,
                password_changed_at: user.password_changed_at,
                last_login_at: user.last_login_at,
                invited_at: user.invited_at,
                accepted_at: user.accepted_at,
            },
            previous_addresses: kept
                .previous_addresses
                .iter()
                .map(|past| ExportedAddress {
                    email: past.value.clone(),
                    until: past.until,
                })
                .collect(),
            sessions: kept
                .sessions
                .iter()
                .map(|session| ExportedSession {
                    session: SessionResponse::new(app, session, user.role, Some(current)),
                    revoked_at: session.revoked_at,
                    revoke_reason: session.revoke_reason.map(RevokeReason::as_str),
                })
                .collect(),
            devices: kept
                .devices
                .iter()
                .map(|device| ExportedDevice {
                    id: device.id.to_string(),
                    device: device.label.clone(),
                    ip: device.ip.clone(),
                    created_at: device.created_at,
                    last_seen_at: device.last_seen_at,
                    forgotten_at: device.forgotten_at,
                })
                .collect(),
            factors: FactorMethod::ALL
                .iter()
                .flat_map(|&method| {
                    let rows = kept.factors.of_method(method);
                    rows.map(move |row| ExportedFactor::of(method, row))
                })
                .collect(),
            mails: kept
                .mails
                .iter()
                .map(|mail| ExportedMail {
                    kind: mail.kind.clone(),
                    to: mail.recipient.clone(),
                    created_at: mail.created_at,
                    sent_at: mail.sent_at,
                })
                .collect(),
            activity: Vec::new(),
        }
    }
}

/// Rows of the audit trail that are read at once.
const PAGE: i64 = 500;

/// Downloads everything that is kept about oneself
///
/// One JSON file: the account, its sessions, devices, second factors and mails, and every row of the audit trail about it. No password and no token.
/// The download is itself recorded.
#[utoipa::path(
    get, path = "/auth/me/export", tag = "account", operation_id = "export_me", security(("bearer" = [])),
    responses(
        (status = 200, description = "The file", body = AccountExport),
        (status = 401, description = "`step_up_required`: an account with a second factor, verified too long ago", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn export_me(OwnExporter(signed_in): OwnExporter, State(app): State<App>) -> Result<Response> {
    let (user, session) = (signed_in.caller.id(), signed_in.caller.session);
    let kept = export::export(&app, &signed_in.caller, &signed_in.client).await?;
    let document = AccountExport::new(&app, &kept, session);
    let mut head = serde_json::to_string(&document).map_err(Error::internal)?;
    // The activity comes in pages: what follows its opening bracket is written last.
    let end = head.rfind(']').map_or_else(String::new, |at| head.split_off(at));
    let parts = stream::once(std::future::ready(Ok(Bytes::from(head))))
        .chain(activity(app, user, session))
        .chain(stream::once(std::future::ready(Ok(Bytes::from(end)))))
        // The status is long sent when a page fails: all that is left is to break off.
        .map(|part| part.map_err(|_| std::io::Error::other("the database does not answer")));
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"josoor-account.json\"",
        ),
    ];
    Ok((headers, Body::from_stream(parts)).into_response())
}

/// The rows about a user as the items of a JSON array, page by page.
fn activity(
    app: App,
    user: UserId,
    session: SessionId,
) -> impl stream::Stream<Item = Result<Bytes>> + Send + 'static {
    let filter = AuditFilter {
        subject: Some(user),
        ..AuditFilter::default()
    };
    stream::try_unfold(Some((app, filter, None)), move |state| async move {
        let Some((app, filter, before)) = state else {
            return Ok(None);
        };
        let (rows, next) = audit::list(&app, &filter, before, PAGE).await?;
        let mut text = String::new();
        for row in rows {
            if before.is_some() || !text.is_empty() {
                text.push(',');
            }
            let row =
                serde_json::to_string(&ActivityResponse::new(row, user, session)).map_err(Error::internal)?;
            text.push_str(&row);
        }
        Ok(Some((
            Bytes::from(text),
            next.map(|next| (app, filter, Some(next))),
        )))
    })
}
