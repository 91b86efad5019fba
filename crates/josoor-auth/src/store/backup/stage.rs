//! Rows of a copy back in PostgreSQL: first into tables of a schema beside, made by the migrations that the copy had; from there,
//! once they were checked, in one transaction into the tables of the service. These stay the same tables, so rights on them and
//! views of them stay, too.

use std::io::Read as _;
use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};

use super::copied::{Copied, CopiedTable, Source};
use super::postgres::{
    NO_TIMEOUTS, columns_of, last_ids, list, qualified, quoted, run, run_built, sequence_of,
};
use crate::error::{Error, Result};
use crate::store::db::Db;
use crate::store::failure::{code_of, store_error};
use crate::store::migrate::{lock_and_prepare, migrate_error, migrator_of, table_names};
use crate::store::postgres::{PgStore, begin_alone, commit_alone};

/// The schema in which a copy is checked.
pub const STAGE: &str = "josoor_auth_restore";

/// Rows in one message to PostgreSQL, in bytes.
const CHUNK: usize = 1 << 16;

/// How long connections that were closed a moment ago may still be there.
const SETTLE: Duration = Duration::from_secs(2);

/// How long a restore waits for those who read the tables.
const LOCK_TIMEOUT: &str = "set local lock_timeout = '10s'";

/// What notes a change for running nodes; there are none.
const CHANGES: &str = "changes";

fn postgres(db: &Db) -> Result<&PgStore> {
    match db {
        Db::Postgres(store) => Ok(store),
        Db::Sqlite { .. } => Err(Error::Internal(anyhow::anyhow!("SQLite has no schemas"))),
    }
}

impl Db {
    /// Whether connections of other processes of this service are open to the database. Behind a pooler it is not known, and false.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn is_in_use(&self) -> Result<bool> {
        const SQL: &str = "select count(*) from pg_stat_activity where datname = current_database()
             and pid <> pg_backend_pid() and application_name like 'josoor-auth%'";
        let store = postgres(self)?;
        let mut conn = store.connect_alone().await?;
        let end = tokio::time::Instant::now() + SETTLE;
        loop {
            let mut tx = begin_alone(store, &mut conn).await?;
            let others: i64 = sqlx::query_scalar(SQL)
                .fetch_one(&mut *tx)
                .await
                .map_err(store_error)?;
            commit_alone(store, tx).await?;
            if others == 0 || tokio::time::Instant::now() >= end {
                return Ok(others > 0);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Makes the schema [`STAGE`] with the rows of a copy. This is the database opened with that schema.
    ///
    /// # Errors
    /// `StoreUnavailable`; `Internal` when the rows do not fit, or the schema may not be made.
    pub async fn fill_stage(&self, copied: &Copied, source: &mut Source<'_>) -> Result<()> {
        let store = postgres(self)?;
        let mut conn = store.connect_alone().await?;
        let mut tx = begin_alone(store, &mut conn).await?;
        run(&mut tx, NO_TIMEOUTS).await?;
        drop_schema(&mut tx).await?;
        lock_and_prepare(&mut tx, STAGE).await.map_err(explain_rights)?;
        let migrator = migrator_of(&copied.migrations);
        migrator.run(&mut *tx).await.map_err(migrate_error)?;
        let names: Vec<_> = copied.tables.iter().map(|table| quoted(&table.name)).collect();
        run_built(&mut tx, format!("truncate {}", names.join(", "))).await?;
        for table in &copied.tables {
            fill(&mut tx, table, source).await?;
        }
        for (name, last) in &copied.last_ids {
            raise(&mut tx, STAGE, name, *last).await?;
        }
        commit_alone(store, tx).await
    }

    /// Removes the schema [`STAGE`], if it is there.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn drop_stage(&self) -> Result<()> {
        let store = postgres(self)?;
        let mut conn = store.connect_alone().await?;
        let mut tx = begin_alone(store, &mut conn).await?;
        run(&mut tx, NO_TIMEOUTS).await?;
        drop_schema(&mut tx).await?;
        commit_alone(store, tx).await
    }

    /// Replaces every row of the service's tables by those of [`STAGE`], and removes that schema: all of it or nothing. Both have
    /// this version's migrations. No id that either has given is given again.
    ///
    /// # Errors
    /// `StoreUnavailable`; `Internal` when a table of another program refers to one of ours, or a column has no place.
    pub async fn replace_from_stage(&self, schema: &str) -> Result<()> {
        let store = postgres(self)?;
        let mut conn = store.connect_alone().await?;
        let mut tx = begin_alone(store, &mut conn).await?;
        run(&mut tx, NO_TIMEOUTS).await?;
        run(&mut tx, LOCK_TIMEOUT).await?;
        let given = last_ids(&mut tx, schema).await?;
        let staged = last_ids(&mut tx, STAGE).await?;
        let tables: Vec<_> = table_names().map(|name| qualified(schema, name)).collect();
        let emptied = run_built(&mut tx, format!("truncate {}", tables.join(", "))).await;
        emptied.map_err(explain_reference)?;
        for name in table_names().filter(|name| *name != CHANGES) {
            let (from, to) = (qualified(STAGE, name), qualified(schema, name));
            let (columns, there) = (columns_of(&mut tx, &from).await?, columns_of(&mut tx, &to).await?);
            if let Some(missing) = columns
                .iter()
                .find(|column| !there.iter().any(|other| other.name == column.name))
            {
                return Err(Error::Internal(anyhow::anyhow!(
                    "the table {name} has no column {}, which the backup has and this service does not know; add it \
                     (alter table {name} add column {} {}), then restore again",
                    missing.name,
                    quoted(&missing.name),
                    missing.kind
                )));
            }
            let columns = list(&columns);
            run_built(
                &mut tx,
                format!("insert into {to} ({columns}) select {columns} from {from}"),
            )
            .await?;
        }
        for (name, last) in given.iter().chain(&staged) {
            raise(&mut tx, schema, name, *last).await?;
        }
        drop_schema(&mut tx).await?;
        commit_alone(store, tx).await
    }
}

/// Asked first, because "if exists" leaves a notice in the log.
async fn drop_schema(tx: &mut PgConnection) -> Result<()> {
    const THERE: &str = "select exists (select 1 from information_schema.schemata where schema_name = $1)";
    let there: bool = sqlx::query_scalar(THERE)
        .bind(STAGE)
        .fetch_one(&mut *tx)
        .await
        .map_err(store_error)?;
    if there {
        run(tx, "drop schema josoor_auth_restore cascade").await?;
    }
    Ok(())
}

/// Takes the rows of a table in.
async fn fill(tx: &mut PgConnection, table: &CopiedTable, source: &mut Source<'_>) -> Result<()> {
    let name = qualified(STAGE, &table.name);
    let there = columns_of(tx, &name).await?;
    // Of another program that shares a table with this one.
    for column in &table.columns {
        if !there.iter().any(|other| other.name == column.name) {
            let add = format!(
                "alter table {name} add column {} {}",
                quoted(&column.name),
                column.kind
            );
            run_built(tx, add).await?;
        }
    }
    let sql = format!(
        "copy {name} ({}) from stdin with (format csv, header true)",
        list(&table.columns)
    );
    let mut rows = source(&table.name).map_err(Error::internal)?;
    let mut copy = tx.copy_in_raw(&sql).await.map_err(store_error)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        match rows.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => drop(copy.send(&chunk[..read]).await.map_err(store_error)?),
            Err(error) => {
                // The unit of work is dropped in any case.
                let _ = copy.abort("the backup cannot be read").await;
                return Err(Error::internal(error));
            }
        }
    }
    let taken = copy.finish().await.map_err(store_error)?;
    if taken != table.rows {
        return Err(Error::Internal(anyhow::anyhow!(
            "{taken} rows of the table {} were taken in, and the backup says {}",
            table.name,
            table.rows
        )));
    }
    Ok(())
}

/// No id up to `last` is given again in a table.
async fn raise(tx: &mut PgConnection, schema: &str, table: &str, last: i64) -> Result<()> {
    let Some(sequence) = sequence_of(tx, &qualified(schema, table)).await? else {
        return Ok(());
    };
    let raise = format!(
        "select setval('{}', greatest({last}, case when is_called then last_value else 0 end)) from {sequence}",
        sequence.replace('\'', "''")
    );
    sqlx::query_scalar::<_, i64>(AssertSqlSafe(raise))
        .persistent(false)
        .fetch_one(tx)
        .await
        .map(drop)
        .map_err(store_error)
}

fn explain_rights(error: Error) -> Error {
    if code_of(&error).as_deref() != Some("42501") {
        return error;
    }
    Error::Internal(anyhow::anyhow!(
        "a restore checks the rows in a schema of their own, {STAGE}, and the database's user may not make one: \
         grant create on database … to …, or restore as a user that may"
    ))
}

fn explain_reference(error: Error) -> Error {
    if code_of(&error).as_deref() != Some("0A000") {
        return error;
    }
    let cause = match error {
        Error::StoreUnavailable(cause) => cause.into_cause(),
        Error::Internal(cause) => cause,
        other => return other,
    };
    Error::Internal(cause.context(
        "a table of another program refers to one of this service, so the rows cannot be replaced in place. Restore into an empty \
         schema (JOSOOR_AUTH__DATABASE__SCHEMA) or database, or drop the foreign key and add it again afterwards",
    ))
}
