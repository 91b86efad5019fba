//! How often something may happen.
//!
//! Every limit is a set of buckets of one size: one for each address, account, pair, device, session or recipient. With
//! Redis the buckets are counted there, for all nodes together, in one step each; without it, in this process. While
//! Redis does not answer, each node counts alone, and stricter: nothing is ever let through uncounted.
//!
//! A use case checks its limits first, before any lookup, so that the answer cannot depend on what exists.

mod alarm;
mod code_check;
mod gcra;
pub(crate) mod keyed_mutex;
mod limiter;
mod memory;
mod password_check;
mod requests;
#[cfg(test)]
mod tests;

pub use self::code_check::CodeCheck;
pub use self::limiter::Limiter;
pub use self::password_check::PasswordCheck;
pub use self::requests::{MailShare, Writer};
pub use crate::domain::limit::Limit;
