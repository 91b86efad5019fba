//! For how long somebody stays signed in: opening, authenticating, refreshing and revoking sessions.
//!
//! Who somebody is, `auth` decides: `open` takes `auth::flow::Authenticated`.

mod authenticate;
mod issue;
mod limit;
mod log_in;
mod open;
mod passkey;
mod refresh;
mod renew;
mod revoke;
pub mod rotation;
mod second_factor;

pub use authenticate::authenticate;
pub use issue::Issued;
pub(crate) use issue::{issue, refresh_expires_at};
pub use log_in::{LogIn, log_in};
pub use open::{Held, SignInWith, open};
pub use passkey::{log_in_with_passkey, present_passkey};
pub use refresh::{holder, refresh};
pub use renew::renew_access;
pub use revoke::{
    LogOut, list, list_page, log_out, revoke, revoke_all, revoke_any, revoke_everyones, revoke_others,
};
pub use second_factor::{Presented, finish_log_in, step_up};
pub(crate) use second_factor::{issue_verified, record_verification, reject_for_session_limit};
