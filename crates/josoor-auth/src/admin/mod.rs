//! What an administrator does: users, mails and statistics.

pub mod invitations;
pub mod outbox;
pub mod stats;
pub mod users;
