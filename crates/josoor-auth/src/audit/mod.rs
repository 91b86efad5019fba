//! The audit trail: reading it, and detecting rows that this service did not write.
//!
//! A row commits with its act and carries its own code (HMAC-SHA-256) from then on. One node, which holds a lease, comes by
//! within a second and seals what is new: it checks each row's code and gives the row the next position and a code over the
//! position, the row and the code before. A row without a right code is refused: it is marked, reported, and stays out of the
//! chain. So without the key no row can be changed, inserted, removed, repeated or swapped unseen. The end of the chain can
//! be cut off together with the stored head; running nodes remember the head, it is written to the log, and
//! `audit verify --head` compares with one that was logged.
//!
//! Rows past their retention go from the beginning of the chain, after they were checked. An anchor, authenticated under the
//! same key, remembers the position and code of the last one that went. [ADR 6](../docs/adr/0006-audit-chain.md),
//! [ADR 14](../docs/adr/0014-audit-row-codes.md).

mod chain;
mod check;
mod erase;
mod export;
mod prune;
mod read;
mod rebase;
mod seal;
mod stream;

pub use self::chain::{describe, parse_head};
pub use self::check::{Report, verify};
pub use self::erase::erase;
pub use self::export::{CSV_HEADER, csv_line, csv_plain, csv_text, to_csv, to_json};
pub use self::prune::prune;
pub(crate) use self::read::{ACTIVITY_COUNTED, ANSWERS};
pub use self::read::{activity, list, record_configuration, record_export};
pub use self::rebase::rebase;
pub use self::seal::{begin, end_sealing, require_mac, seal, seal_regularly};
pub use self::stream::stream_regularly;
