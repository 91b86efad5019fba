//! Whole copies of a database, for backups.
//!
//! Of SQLite a copy is a file with one state of the database. Of PostgreSQL it is the rows of each table, in CSV, read in one
//! transaction: the schema may hold tables of other programs, which are none of ours to copy or to replace.

mod copied;
mod postgres;
mod sqlite;
mod stage;

pub use self::copied::{Copied, CopiedTable, Part};
pub use self::sqlite::{
    claim_file, copy_sqlite, describe_sqlite, last_user_of, make_single_file, reserve_users, take_offline,
};
pub use self::stage::STAGE;
