//! What a copy holds, and how its rows travel.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

use crate::store::audit::ChainEnd;

/// What a copy holds.
#[derive(Clone, Debug, Default)]
pub struct Copied {
    /// The migrations that were applied, in order.
    pub migrations: Vec<i64>,
    /// The head of the audit trail's chain.
    pub head: Option<ChainEnd>,
    /// The tables, in an order in which each refers only to those before.
    pub tables: Vec<CopiedTable>,
    /// The last id given in each table that numbers its rows. Rows with higher ids may be gone.
    pub last_ids: BTreeMap<String, i64>,
}

/// A table of a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiedTable {
    /// Its name.
    pub name: String,
    /// How many rows it has.
    pub rows: u64,
    /// The columns in the order of the rows; empty where the copy is a file of SQLite.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<CopiedColumn>,
}

/// A column of a table of PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiedColumn {
    /// Its name.
    pub name: String,
    /// Its type, as PostgreSQL writes it.
    pub kind: String,
}

/// A step of copying rows out.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// The rows of this table follow.
    Begin(&'a str),
    /// Some of them.
    Bytes(&'a [u8]),
    /// The table has no more.
    End,
}

/// Takes the steps, in order.
pub(super) type Sink<'a> = dyn FnMut(Part<'_>) -> io::Result<()> + Send + 'a;

/// Gives the rows of a table.
pub(super) type Source<'a> = dyn FnMut(&str) -> io::Result<Box<dyn io::Read + Send>> + Send + 'a;
