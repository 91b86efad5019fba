//! The database: PostgreSQL or SQLite behind one set of methods.
//!
//! A statement is one text for both wherever one text can do it; what is an engine's own stands in one place, named for the engine. Rules
//! that make one text enough:
//! 1. Times are bound from the clock, never `now()`; the clock follows the database's (`Db::clock`). They are `timestamptz` in PostgreSQL and integer microseconds in
//!    SQLite; the codec of `Timestamp` hides it.
//! 2. No arrays, `ilike`, `= any`, `for update`, engine enums, casts with `::` or JSON operators.
//! 3. Case folding happens in the newtypes; the canonical form is stored and indexed.
//! 4. Uniqueness is decided by `on conflict do nothing` and the affected rows, never by a constraint's name.
//! 5. What may happen once is claimed by one conditional `update`, and the number of rows says which of several callers did.
//! 6. Nothing slow (hashing, mail, HTTP) happens while a connection is held.
//!
//! [`Db::read`] gives a connection for single statements; [`Db::begin`] begins a unit of work, which ends in
//! [`Conn::commit`] or, when dropped, is rolled back. Both are a [`Conn`] and have the same methods, one file per
//! table.

mod adopt;
mod audit;
pub mod backup;
mod changes;
mod codec;
mod conn;
mod credentials;
mod db;
mod devices;
mod examine;
mod failed_sign_ins;
mod failure;
mod flows;
mod health;
mod import;
mod keys;
mod migrate;
mod one_time_tokens;
mod outbox;
mod page_flows;
mod passkeys;
mod past_credentials;
mod postgres;
mod registrations;
mod required_factors;
mod row;
mod sessions;
mod sqlite;
mod stats;
mod users;

pub use audit::{AuditFilter, AuditKey, AuditRow, ChainEnd, MacOrigin, NewAudit, RowCode, Seal};
pub use changes::Change;
pub use conn::Conn;
pub use credentials::{Credential, WholeCredential};
pub use db::Db;
pub use devices::{Device, DeviceSeen};
pub use failure::remedy;
pub use flows::{FlowKind, FlowRow, NewFlow};
pub use import::{Seen, SourceTable};
pub use keys::KeyRow;
pub use migrate::unknown_migrations;
pub use one_time_tokens::{NewOneTimeToken, OneTimeToken};
pub use outbox::{
    BY_CLASS, BY_NETWORK, BY_RECIPIENT, Content, MailDetails, MailError, MailRow, MailSummary, NewMail,
    OVER_BUDGET, Origin, OutboxFilter, OutboxState, RequestOrigin,
};
pub use page_flows::PageFlow;
pub use passkeys::{NewPasskey, Passkey};
pub use past_credentials::{PastCredential, PastKind};
pub use sessions::{LiveSince, NewSession, Rotation, SessionPage, SessionRow, Touch, Transport};
pub use stats::{SpanCounts, UserCounts};
pub use users::{NewUser, Start, User, UserCursor, UserFilter, UserPage, UserPatch, UserSort};
