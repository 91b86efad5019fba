//! The rows of PostgreSQL's tables.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, PgConnection};

use super::copied::{Copied, CopiedColumn, CopiedTable, Part, Sink};
use crate::error::{Error, Result};
use crate::store::audit::ChainEnd;
use crate::store::db::Db;
use crate::store::failure::store_error;
use crate::store::migrate::table_names;
use crate::store::postgres::begin_alone;

/// Copying takes as long as it takes.
pub(super) const NO_TIMEOUTS: &str =
    "set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0";

impl Db {
    /// Gives the rows of every table of ours in PostgreSQL, in CSV with a line of names, in one state of the database. Sessions of
    /// the service are not held up. Gives what was copied.
    ///
    /// # Errors
    /// `StoreUnavailable`; `Internal` for what the sink refuses.
    pub async fn copy_out(&self, schema: &str, sink: &mut Sink<'_>) -> Result<Copied> {
        let Self::Postgres(store) = self else {
            return Err(Error::Internal(anyhow::anyhow!("SQLite is copied as a file")));
        };
        let mut conn = store.connect_alone().await?;
        let mut tx = begin_alone(store, &mut conn).await?;
        run(
            &mut tx,
            "set transaction isolation level repeatable read, read only",
        )
        .await?;
        run(&mut tx, NO_TIMEOUTS).await?;
        let migrations = sqlx::query_scalar("select version from josoor_auth_migrations order by version")
            .fetch_all(&mut *tx)
            .await
            .map_err(store_error)?;
        let head: Option<(i64, Vec<u8>)> =
            sqlx::query_as("select seq, mac from audit_chain where name = 'head'")
                .fetch_optional(&mut *tx)
                .await
                .map_err(store_error)?;
        let mut copied = Copied {
            migrations,
            head: head.map(|(seq, mac)| ChainEnd {
                seq,
                mac,
                tag: Vec::new(),
            }),
            ..Copied::default()
        };
        for name in table_names() {
            let table = qualified(schema, name);
            let columns = columns_of(&mut tx, &table).await?;
            let rows: i64 = sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {table}")))
                .fetch_one(&mut *tx)
                .await
                .map_err(store_error)?;
            sink(Part::Begin(name)).map_err(Error::internal)?;
            let copy = format!(
                "copy {table} ({}) to stdout with (format csv, header true)",
                list(&columns)
            );
            let mut bytes = tx.copy_out_raw(&copy).await.map_err(store_error)?;
            while let Some(bytes) = bytes.try_next().await.map_err(store_error)? {
                sink(Part::Bytes(&bytes)).map_err(Error::internal)?;
            }
            drop(bytes);
            sink(Part::End).map_err(Error::internal)?;
            copied.tables.push(CopiedTable {
                name: name.to_owned(),
                rows: rows.unsigned_abs(),
                columns,
            });
        }
        copied.last_ids = last_ids(&mut tx, schema).await?;
        Ok(copied)
    }
}

pub(super) async fn run(conn: &mut PgConnection, sql: &'static str) -> Result<()> {
    let done = sqlx::raw_sql(sql).execute(conn).await;
    done.map(drop).map_err(store_error)
}

pub(super) async fn run_built(conn: &mut PgConnection, sql: String) -> Result<u64> {
    let done = sqlx::query(AssertSqlSafe(sql))
        .persistent(false)
        .execute(conn)
        .await;
    done.map(|done| done.rows_affected()).map_err(store_error)
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(super) fn qualified(schema: &str, table: &str) -> String {
    format!("{}.{}", quoted(schema), quoted(table))
}

pub(super) fn list(columns: &[CopiedColumn]) -> String {
    let names: Vec<_> = columns.iter().map(|column| quoted(&column.name)).collect();
    names.join(", ")
}

/// The columns of a table that have values of their own.
pub(super) async fn columns_of(conn: &mut PgConnection, table: &str) -> Result<Vec<CopiedColumn>> {
    const SQL: &str = "select attname::text, format_type(atttypid, atttypmod) from pg_attribute
         where attrelid = to_regclass($1) and attnum > 0 and not attisdropped and attgenerated = '' order by attnum";
    let columns: Vec<(String, String)> = sqlx::query_as(SQL)
        .bind(table)
        .fetch_all(conn)
        .await
        .map_err(store_error)?;
    Ok(columns
        .into_iter()
        .map(|(name, kind)| CopiedColumn { name, kind })
        .collect())
}

/// The sequence that numbers a table's rows, written as SQL takes it.
pub(super) async fn sequence_of(conn: &mut PgConnection, table: &str) -> Result<Option<String>> {
    const SQL: &str = "select pg_get_serial_sequence($1, 'id') from pg_attribute
         where attrelid = to_regclass($1) and attname = 'id' and not attisdropped";
    let sequence: Option<Option<String>> = sqlx::query_scalar(SQL)
        .bind(table)
        .fetch_optional(conn)
        .await
        .map_err(store_error)?;
    Ok(sequence.flatten())
}

/// The last id given in each table that numbers its rows.
pub(super) async fn last_ids(conn: &mut PgConnection, schema: &str) -> Result<BTreeMap<String, i64>> {
    let mut last_ids = BTreeMap::new();
    for name in table_names() {
        let Some(sequence) = sequence_of(conn, &qualified(schema, name)).await? else {
            continue;
        };
        let last: Option<i64> = sqlx::query_scalar(AssertSqlSafe(format!(
            "select last_value from {sequence} where is_called"
        )))
        .fetch_optional(&mut *conn)
        .await
        .map_err(store_error)?;
        if let Some(last) = last {
            last_ids.insert(name.to_owned(), last);
        }
    }
    Ok(last_ids)
}
