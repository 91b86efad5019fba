//! The table `audit`: who did what, in the transaction that did it. Rows are added, each with its code, and removed after the
//! retention time. Of a written row only what is personal can be erased.

mod chain;
pub(super) mod codes;
pub(super) mod rows;
mod stream;
mod trail;

pub use chain::{ChainEnd, Seal};
pub use codes::{AuditKey, MacOrigin, RowCode};
pub use rows::{AuditFilter, AuditRow, NewAudit};
