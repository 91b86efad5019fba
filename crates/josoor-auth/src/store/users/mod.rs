//! The table `users`.

mod account;
mod credentials;
mod lifecycle;
mod list;
pub(super) mod user;

pub use list::{UserFilter, UserSort};
pub use user::{NewUser, User, UserPatch};
