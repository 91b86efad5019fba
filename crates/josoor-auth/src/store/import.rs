//! Many users at once, in and out; the source of an import that is a PostgreSQL table; and the memory of an import.

use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, QueryBuilder, Row as _, Sqlite,
    SqliteConnection,
};

use super::audit::rows::NewAudit;
use super::conn::{Conn, built, execute, on};
use super::db::Db;
use super::failure::{Failure, store_error};
use crate::domain::{Audit, Secret, Timestamp, UserId};
use crate::error::{Error, Result};

impl Conn {
    /// Those of the ids that belonged to a user who was deleted so recently that copies of the deletion may still be considered fresh.
    pub async fn recently_deleted(&mut self, ids: &[UserId], now: Timestamp) -> Result<Vec<UserId>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<(i64,)> = built!(
            self,
            {
                let mut query = QueryBuilder::new(
                    "select distinct user_id from changes where session_id is null and until > ",
                );
                query.push_bind(now).push(" and user_id in (");
                let mut list = query.separated(", ");
                for id in ids {
                    list.push_bind(id.0);
                }
                query.push(")");
                query
            },
            build_query_as().persistent(false).fetch_all
        )?;
        Ok(ids.into_iter().map(|(id,)| UserId(id)).collect())
    }

    /// Records that these users were brought in.
    pub async fn insert_import_audit(
        &mut self,
        users: &[UserId],
        source: &str,
        now: Timestamp,
    ) -> Result<()> {
        let rows: Vec<_> = users
            .iter()
            .map(|user| NewAudit {
                reason: Some(source),
                subject: Some(*user),
                ..NewAudit::by_operator(Audit::UserImport, now)
            })
            .collect();
        self.insert_audits(&rows).await
    }
}

impl Db {
    /// Makes sure that no id up to this one will be given to a new user.
    ///
    /// SQLite's counter follows what is inserted. PostgreSQL's sequence does not, and it is set outside of transactions: the
    /// table's lock, held for a moment, keeps others from taking an id between the check and the step.
    pub async fn reserve_ids(&self, up_to: UserId) -> Result<()> {
        const LAST: &str =
            "select coalesce(pg_sequence_last_value(pg_get_serial_sequence('users', 'id')::regclass), 0)";
        const SET: &str = "select setval(pg_get_serial_sequence('users', 'id'), $1)";
        if matches!(self, Self::Sqlite { .. }) {
            return Ok(());
        }
        let mut conn = self.read().await?;
        let given: i64 = on!(conn, sqlx::query_scalar(LAST), fetch_one)?;
        drop(conn);
        if given >= up_to.0 {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        execute!(tx, sqlx::query("lock table users in share row exclusive mode"))?;
        let given: i64 = on!(tx, sqlx::query_scalar(LAST), fetch_one)?;
        if given < up_to.0 {
            execute!(tx, sqlx::query(SET).bind(up_to.0))?;
        }
        tx.commit().await
    }
}

/// What an import has already met: a table on disk that is gone when this is dropped, so that a file of any length is
/// checked in the same memory.
#[derive(Debug)]
pub struct Seen(SqliteConnection);

impl Seen {
    /// An empty one, in the system's directory for temporary files.
    pub async fn open() -> Result<Self> {
        // SQLite keeps a database without a name in a file that it removes at once.
        let options = SqliteConnectOptions::new()
            .filename("")
            .journal_mode(SqliteJournalMode::Off)
            .synchronous(SqliteSynchronous::Off);
        let mut connection = options.connect().await.map_err(store_error)?;
        sqlx::query("create table seen (key text primary key, line integer not null) without rowid")
            .execute(&mut connection)
            .await
            .map_err(store_error)?;
        Ok(Self(connection))
    }

    /// On which line each of the keys stood, as far as they were met.
    pub async fn find(&mut self, keys: &[String]) -> Result<Vec<(String, u64)>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = QueryBuilder::<Sqlite>::new("select key, line from seen where key in (");
        let mut list = query.separated(", ");
        for key in keys {
            list.push_bind(key.clone());
        }
        query.push(")");
        let rows: Vec<(String, i64)> = query
            .build_query_as()
            .persistent(false)
            .fetch_all(&mut self.0)
            .await
            .map_err(store_error)?;
        Ok(rows
            .into_iter()
            .map(|(key, line)| (key, line.unsigned_abs()))
            .collect())
    }

    /// Remembers keys and their lines; what is already there stays as it is.
    pub async fn add(&mut self, keys: &[(String, u64)]) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut query = QueryBuilder::<Sqlite>::new("insert into seen (key, line) ");
        query.push_values(keys, |mut row, (key, line)| {
            row.push_bind(key.clone()).push_bind(line.cast_signed());
        });
        query.push(" on conflict do nothing");
        query
            .build()
            .persistent(false)
            .execute(&mut self.0)
            .await
            .map(drop)
            .map_err(store_error)
    }
}

/// A column that a source's table has not: it is made of a table beside it, where there is one.
struct Derived {
    of: &'static str,
    name: &'static str,
    from: &'static str,
    sql: &'static str,
}

/// Supabase's second factors.
const DERIVED: [Derived; 1] = [Derived {
    of: "auth.users",
    name: "mfa_factors",
    from: "auth.mfa_factors",
    sql: "select json_agg(json_build_object('factor_type', f.factor_type, 'status', f.status, 'secret', f.secret))
          from auth.mfa_factors f where f.user_id = auth.users.id",
}];

/// A table of another program in PostgreSQL, read row by row.
#[derive(Debug)]
pub struct SourceTable {
    connection: PgConnection,
    columns: Vec<&'static str>,
    ignored_columns: Vec<String>,
    rows: i64,
}

impl SourceTable {
    /// Connects, and opens a cursor over `table` (with its schema, or found on the search path) in the order of `id`. Of its
    /// columns those are read that are among `wanted`.
    ///
    /// # Errors
    /// `Internal`, in words for an operator; never with the URL.
    pub async fn open(url: &Secret, table: &'static str, wanted: &'static [&'static str]) -> Result<Self> {
        let options: PgConnectOptions = url.expose().parse().map_err(|_| {
            Error::Internal(anyhow::anyhow!(
                "the source's URL is not understood; its form is postgres://user:password@host:5432/database"
            ))
        })?;
        // A pooler refuses `extra_float_digits`; the driver asks for UTC by itself.
        let options = options
            .application_name("josoor-auth import")
            .extra_float_digits(None);
        let mut connection = options.connect().await.map_err(source_error)?;
        for statement in [
            "begin isolation level repeatable read read only",
            // Other nodes' rules for statements do not fit one that lasts as long as the import.
            "set local statement_timeout = 0",
            "set local idle_in_transaction_session_timeout = 0",
        ] {
            sqlx::query(statement)
                .persistent(false)
                .execute(&mut connection)
                .await
                .map_err(source_error)?;
        }
        let there: Vec<String> = sqlx::query_scalar(
            "select attname::text from pg_attribute
             where attrelid = to_regclass($1) and attnum > 0 and not attisdropped order by attnum",
        )
        .bind(table)
        .persistent(false)
        .fetch_all(&mut connection)
        .await
        .map_err(source_error)?;
        if there.is_empty() {
            return Err(Error::Internal(anyhow::anyhow!(
                "there is no table {table} in the source's database that this user may see"
            )));
        }
        if there.iter().any(|name| name == "email_key") {
            return Err(Error::Internal(anyhow::anyhow!(
                "the table {table} in the source's database is one of JOSOOR Auth; use user export and user import"
            )));
        }
        let columns: Vec<&'static str> = wanted
            .iter()
            .copied()
            .filter(|name| there.iter().any(|column| column == name))
            .collect();
        for needed in ["id", "email"] {
            if !columns.contains(&needed) {
                return Err(Error::Internal(anyhow::anyhow!(
                    "the table {table} in the source's database has no column {needed}; is --from right?"
                )));
            }
        }
        let mut ignored_columns: Vec<String> = there
            .into_iter()
            .filter(|name| !columns.contains(&name.as_str()))
            .collect();
        let mut derived = Vec::new();
        for column in DERIVED.iter().filter(|column| column.of == table) {
            // Null: there is no such table.
            let may_read: Option<bool> =
                sqlx::query_scalar("select has_table_privilege(to_regclass($1), 'select')")
                    .bind(column.from)
                    .persistent(false)
                    .fetch_one(&mut connection)
                    .await
                    .map_err(source_error)?;
            match may_read {
                Some(true) => derived.push(column),
                Some(false) => ignored_columns.push(column.from.to_owned()),
                None => {}
            }
        }
        let rows = sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {table}")))
            .persistent(false)
            .fetch_one(&mut connection)
            .await
            .map_err(source_error)?;
        // Everything as text: enums, times and JSON of the source's own types need no decoding of ours. The names are ours.
        let list: Vec<String> = columns
            .iter()
            .map(|name| format!("\"{name}\"::text as \"{name}\""))
            .chain(
                derived
                    .iter()
                    .map(|column| format!("({})::text as \"{}\"", column.sql, column.name)),
            )
            .collect();
        let cursor = format!(
            "declare source no scroll cursor for select {} from {table} order by {table}.id",
            list.join(", ")
        );
        sqlx::query(AssertSqlSafe(cursor))
            .persistent(false)
            .execute(&mut connection)
            .await
            .map_err(source_error)?;
        let derived = derived.iter().map(|column| column.name);
        Ok(Self {
            connection,
            columns: columns.into_iter().chain(derived).collect(),
            ignored_columns,
            rows,
        })
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.rows.unsigned_abs()
    }

    /// The columns that are not read, and tables beside it that may not be.
    pub fn ignored_columns(&self) -> &[String] {
        &self.ignored_columns
    }

    /// The next few hundred rows, each with its columns and their values as text; none when there are no more.
    pub async fn next(&mut self) -> Result<Vec<Vec<(&'static str, Option<String>)>>> {
        let rows: Vec<PgRow> = sqlx::query("fetch forward 250 from source")
            .persistent(false)
            .fetch_all(&mut self.connection)
            .await
            .map_err(source_error)?;
        rows.iter()
            .map(|row| {
                self.columns
                    .iter()
                    .enumerate()
                    .map(|(index, name)| Ok((*name, row.try_get(index).map_err(source_error)?)))
                    .collect()
            })
            .collect()
    }

    /// Ends the connection.
    pub async fn close(self) {
        // Nothing was changed there.
        let _ = self.connection.close().await;
    }
}

/// What the source's database says, which is not ours: "away" has another remedy.
fn source_error(error: sqlx::Error) -> Error {
    Error::internal(Failure::new(error, "the source's database"))
}
