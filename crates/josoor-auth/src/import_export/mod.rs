//! Bringing users in from elsewhere, and writing them out.
//!
//! A source is read in a thread of its own, record by record: [`Reading`] makes an [`Incoming`] of each, or says why
//! there is none. [`import`] takes them from a bounded channel in batches, one transaction each.

mod auth0;
mod document;
mod elements;
mod encoding;
pub mod export;
mod factors;
mod fields;
mod firebase;
mod firebase_config;
mod hashes;
pub mod import;
mod judging;
mod keycloak;
mod keycloak_factors;
mod lines;
mod native;
mod options;
mod reading;
mod supabase;
mod table;
mod user;

pub use self::document::DOCUMENT_COLUMNS;
pub use self::encoding::{other_kind, start_of};
pub use self::firebase_config::FirebaseConfig;
pub use self::native::Contents;
pub use self::options::Reading;
pub use self::reading::Message;
pub use self::supabase::SUPABASE_COLUMNS;
pub use self::table::read_table;
pub use self::user::{Format, Mapping, Preset, ReportRow};
