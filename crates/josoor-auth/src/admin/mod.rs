//! What an administrator does: users and statistics.

pub mod stats;
pub mod users;
