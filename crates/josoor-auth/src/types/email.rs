//! E-mail addresses.
/// Placeholder until its module is written.
#[derive(Debug)]
pub struct Email;
