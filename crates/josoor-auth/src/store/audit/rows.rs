//! What a row of the audit trail is.

use uuid::Uuid;

use crate::domain::{Audit, SessionId, Timestamp, UserId};
use crate::store::row::from_row;

/// A row to add.
#[derive(Clone, Copy, Debug)]
pub struct NewAudit<'a> {
    /// When.
    pub at: Timestamp,
    /// What.
    pub action: Audit,
    /// Whether it took place.
    pub succeeded: bool,
    /// Why, where there is a reason to tell.
    pub reason: Option<&'a str>,
    /// Who did it; `None` for the command line and for strangers.
    pub actor: Option<UserId>,
    /// To whom.
    pub subject: Option<UserId>,
    /// The session concerned.
    pub session: Option<SessionId>,
    /// The client's address.
    pub ip: Option<&'a str>,
    /// The client's `User-Agent`.
    pub user_agent: Option<&'a str>,
    /// The request's id.
    pub request_id: Option<&'a str>,
    /// The id that the client gave the request.
    pub client_request_id: Option<&'a str>,
}

impl NewAudit<'_> {
    /// An act of the command line or of the service itself, to be completed.
    pub const fn by_operator(action: Audit, at: Timestamp) -> Self {
        Self {
            at,
            action,
            succeeded: true,
            reason: None,
            actor: None,
            subject: None,
            session: None,
            ip: None,
            user_agent: None,
            request_id: None,
            client_request_id: None,
        }
    }

    /// `success` or `failure`.
    pub const fn outcome(&self) -> &'static str {
        if self.succeeded { "success" } else { "failure" }
    }
}

/// A row, as stored.
#[derive(Clone, Debug)]
pub struct AuditRow {
    /// Grows with the order of writing, and has gaps.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// What; see [`Audit::as_str`].
    pub action: String,
    /// `success` or `failure`.
    pub outcome: String,
    /// Why.
    pub reason: Option<String>,
    /// Who did it.
    pub actor_id: Option<i64>,
    /// To whom.
    pub subject_id: Option<i64>,
    /// The session concerned.
    pub session_id: Option<Uuid>,
    /// The client's address.
    pub ip: Option<String>,
    /// The client's `User-Agent`.
    pub user_agent: Option<String>,
    /// The request's id.
    pub request_id: Option<String>,
    /// The id that the client gave the request.
    pub client_request_id: Option<String>,
    /// The position in the chain, once it is sealed.
    pub seq: Option<i64>,
    /// The code that seals it.
    pub mac: Option<Vec<u8>>,
    /// Names the row in its own code.
    pub nonce: Option<Uuid>,
    /// The row's own code; see `AuditKey`.
    pub row_mac: Option<Vec<u8>>,
    /// Where that code comes from; see [`MacOrigin`](super::MacOrigin).
    pub mac_origin: i64,
    /// The salt of the commitment to `ip`.
    pub ip_salt: Option<Vec<u8>>,
    /// The commitment itself, once `ip` was erased.
    pub ip_commitment: Option<Vec<u8>>,
    /// The salt of the commitment to `user_agent`.
    pub user_agent_salt: Option<Vec<u8>>,
    /// The commitment itself, once `user_agent` was erased.
    pub user_agent_commitment: Option<Vec<u8>>,
    /// When the sealer refused the row.
    pub refused_at: Option<Timestamp>,
}

from_row!(AuditRow as columns {
    id,
    at,
    action,
    outcome,
    reason,
    actor_id,
    subject_id,
    session_id,
    ip,
    user_agent,
    request_id,
    client_request_id,
    seq,
    mac,
    nonce,
    row_mac,
    mac_origin,
    ip_salt,
    ip_commitment,
    user_agent_salt,
    user_agent_commitment,
    refused_at
});
pub(super) use columns;

/// Which rows a list holds.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// About this user.
    pub subject: Option<UserId>,
    /// By this user.
    pub actor: Option<UserId>,
    /// Only this.
    pub action: Option<Audit>,
    /// `success` or `failure`.
    pub outcome: Option<&'static str>,
    /// From this moment on.
    pub from: Option<Timestamp>,
    /// Before this moment.
    pub to: Option<Timestamp>,
    /// About this session.
    pub session: Option<SessionId>,
    /// From this network address.
    pub ip: Option<String>,
    /// In this request.
    pub request_id: Option<String>,
    /// Only rows with ids above this one.
    pub after: Option<i64>,
}
