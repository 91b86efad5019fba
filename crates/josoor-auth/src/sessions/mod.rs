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
use crate::domain::UserId;
use crate::error::Result;
use crate::store::SessionRow;

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

/// A user's live sessions, the latest first.
pub async fn list(app: &App, user: UserId) -> Result<Vec<SessionRow>> {
    app.db.read().await?.live_sessions(user, app.clock.now()).await
}
