//! What an administrator does: users and statistics.

pub mod invitations;
pub mod stats;
pub mod users;
