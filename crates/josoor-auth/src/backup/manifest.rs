//! What a backup says of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::audit;
use crate::domain::Timestamp;
use crate::store::backup::{Copied, CopiedTable};

/// The format that this version writes and reads.
pub(super) const FORMAT: u32 = 1;

/// `manifest.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Of the file; another number is of another version's.
    pub format: u32,
    /// The version of JOSOOR Auth that made it.
    pub version: String,
    /// When it was begun, by the clock of the database.
    pub created_at: Timestamp,
    /// `SQLite` or `PostgreSQL`.
    pub engine: String,
    /// The migrations of the database.
    pub migrations: Vec<i64>,
    /// The head of the audit trail, as `audit verify --head` takes it.
    pub audit_head: Option<String>,
    /// Tells the master key that it was made under.
    pub key_fingerprint: String,
    /// The tables and how many rows each has.
    pub tables: Vec<CopiedTable>,
    /// The last id given in each table that numbers its rows.
    pub last_ids: BTreeMap<String, i64>,
    /// The files beside the manifest.
    pub files: Vec<FileEntry>,
}

/// A file of the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256, in hexadecimal.
    pub sha256: String,
}

impl Manifest {
    pub(super) fn new(
        copied: &Copied,
        engine: &str,
        key_fingerprint: String,
        files: Vec<FileEntry>,
        created_at: Timestamp,
    ) -> Self {
        Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            created_at,
            engine: engine.to_owned(),
            migrations: copied.migrations.clone(),
            audit_head: copied.head.as_ref().map(audit::describe),
            key_fingerprint,
            tables: copied.tables.clone(),
            last_ids: copied.last_ids.clone(),
            files,
        }
    }

    /// What the copy held.
    pub fn copied(&self) -> Copied {
        Copied {
            migrations: self.migrations.clone(),
            head: None,
            tables: self.tables.clone(),
            last_ids: self.last_ids.clone(),
        }
    }

    /// How many rows a table has; 0 where it is not in the backup.
    pub fn rows(&self, table: &str) -> u64 {
        self.tables
            .iter()
            .find(|one| one.name == table)
            .map_or(0, |table| table.rows)
    }
}
