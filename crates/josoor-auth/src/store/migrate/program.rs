//! Which versions of the program a database is for.
//!
//! Each version notes which migrations it knows, and which the oldest one knows that may run beside it. Without such a note a
//! version that meets migrations of a later one does not start: it would read and write tables that mean something else by now.

use super::super::conn::{execute, on};
use super::super::db::Db;
use super::{MIGRATIONS, unknown_migrations};
use crate::error::{Error, Result};

/// The last migration of the release before this one, whose nodes run beside those of this one. Moves with each release.
const OLDEST_BESIDE: i64 = 4;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Names of rows in `guards`, each followed by a version.
const KNOWS: &str = "program ";
const BESIDE: &str = "beside ";

/// The versions that know a migration, with what a program beside them has to know at least.
const LATER: &str = "select substr(knows.name, 9) as version, beside.passes
    from guards knows join guards beside on beside.name = 'beside ' || substr(knows.name, 9)
    where knows.name like 'program %' and knows.passes >= $1 order by beside.passes, knows.passes desc";

const IS_NOTED: &str =
    "select count(*) from guards where (name = $1 and passes >= $2) or (name = $3 and passes = $4)";

const NOTE: &str = "insert into guards (name, passes) values ($1, $2), ($3, $4)
    on conflict (name) do update set passes = excluded.passes where guards.passes < excluded.passes";

/// The last migration of this version.
fn last_known() -> i64 {
    MIGRATIONS.last().map_or(0, |(version, ..)| *version)
}

impl Db {
    /// Whether this version may use the database, out of the migrations that were applied.
    ///
    /// # Errors
    /// `Internal`, with the version that made the database: a later one, beside which this one may not run.
    pub async fn refuse_newer(&self, applied: &[i64]) -> Result<()> {
        let Some(newest) = unknown_migrations(applied).into_iter().max() else {
            return Ok(());
        };
        let mut conn = self.read().await?;
        let later: Vec<(String, i64)> = on!(conn, sqlx::query_as(LATER).bind(newest), fetch_all)?;
        let made_by = match later.first() {
            Some((_, beside)) if *beside <= last_known() => return Ok(()),
            Some((version, _)) => format!("version {version}"),
            None => format!("a later version, of which migration {newest} is"),
        };
        Err(Error::Internal(anyhow::anyhow!(
            "the database was made by {made_by}, and this is version {VERSION}. Start that version or a later one. A \
             backup that this version has made is restored into an empty database"
        )))
    }

    /// Notes what this version knows, unless that is noted.
    pub(super) async fn note_program(&self) -> Result<()> {
        let (knows, beside) = (format!("{KNOWS}{VERSION}"), format!("{BESIDE}{VERSION}"));
        let mut conn = self.read().await?;
        let noted: i64 = on!(
            conn,
            sqlx::query_scalar(IS_NOTED)
                .bind(knows.as_str())
                .bind(last_known())
                .bind(beside.as_str())
                .bind(OLDEST_BESIDE),
            fetch_one
        )?;
        drop(conn);
        if noted == 2 {
            return Ok(());
        }
        let mut conn = self.write().await?;
        execute!(
            conn,
            sqlx::query(NOTE)
                .bind(knows.as_str())
                .bind(last_known())
                .bind(beside.as_str())
                .bind(OLDEST_BESIDE)
        )
        .map(drop)
    }
}
