//! Passwords.
/// Placeholder until its module is written.
#[derive(Debug)]
pub struct Password;
