//! Signing in, staying in, signing out.

mod authenticate;
mod issue;
mod limit;
mod log_in;
mod open;
mod refresh;
mod renew;
mod revoke;
pub mod rotation;

use crate::app::App;
use crate::domain::{Network, Timestamp, UserId};
use crate::error::Result;
use crate::hasher::Asker;
use crate::store::{Audit, NewAudit, SessionRow};

pub use authenticate::{Caller, authenticate};
pub use issue::Issued;
pub(crate) use issue::issue;
pub use log_in::log_in;
pub(crate) use open::open_session;
pub use open::{Held, SignInWith};
pub use refresh::refresh;
pub use renew::renew_access;
pub(crate) use revoke::record_revocations;
pub use revoke::{LogOut, log_out, revoke, revoke_all, revoke_any};

/// Who is calling: recorded with sessions and in the audit trail, never a reason to trust anything.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// The client's address; empty for the command line.
    pub ip: String,
    /// The client's `User-Agent`, cut and cleaned.
    pub user_agent: String,
    /// The request's id.
    pub request_id: String,
    /// The id that the client gave the request; empty where it gave none.
    pub client_request_id: String,
    /// The user behind the request, where one is known.
    pub actor: Option<UserId>,
}

impl Client {
    /// An audit row of this client's, to be completed.
    pub fn audit(&self, action: Audit, at: Timestamp) -> NewAudit<'_> {
        NewAudit {
            actor: self.actor,
            ip: non_empty(&self.ip),
            user_agent: non_empty(&self.user_agent),
            request_id: non_empty(&self.request_id),
            client_request_id: non_empty(&self.client_request_id),
            ..NewAudit::by_operator(action, at)
        }
    }

    /// On whose behalf passwords are computed for this client.
    pub fn asker(&self) -> Asker {
        match (self.actor, Network::of(&self.ip)) {
            (Some(user), _) => Asker::Known(user),
            (None, Some(network)) => Asker::Network(network),
            (None, None) => Asker::Operator,
        }
    }
}

fn non_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// A user's live sessions, the latest first.
pub async fn list(app: &App, user: UserId) -> Result<Vec<SessionRow>> {
    app.db.read().await?.live_sessions(user, app.clock.now()).await
}
