//! What an administrator or operator does: users, mails, statistics and keys.

pub mod bulk;
pub mod invitations;
pub mod keys;
pub mod outbox;
pub mod stats;
pub mod users;
