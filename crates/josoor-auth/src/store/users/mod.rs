//! The table `users`.

mod account;
mod credentials;
mod engine;
mod lifecycle;
mod list;
mod order;
mod refold;
pub(super) mod user;

pub use list::{UserFilter, UserPage};
pub use order::{Start, UserCursor, UserSort};
pub use user::{NewUser, User, UserPatch};
