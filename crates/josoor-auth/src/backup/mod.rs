//! Backups: one file with everything that the database holds, and a database made of such a file.
//!
//! The file is a tar archive, so that any tool opens it: the database (one file of SQLite, or a CSV file for each table of
//! PostgreSQL), `manifest.json`, which says what is in it and holds a digest of each file, and `manifest.mac`, which authenticates
//! the manifest under the master key. The master key itself is never in it. [ADR 25](../docs/adr/0025-backups.md).

mod archive;
mod make;
mod manifest;
mod restore;
pub mod schedule;

pub use self::make::{Occasion, make};
pub use self::manifest::Manifest;
pub use self::restore::{Backup, Settled, remove_database, settle, staged_config};
