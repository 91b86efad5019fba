//! Copies of a SQLite file, and a copy in the place of the file.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use super::copied::{Copied, CopiedTable};
use crate::error::{Error, Result};
use crate::store::audit::ChainEnd;
use crate::store::failure::store_error;
use crate::store::sqlite::{ServerMark, claim};

/// How long other connections are waited for.
const BUSY: Duration = Duration::from_secs(5);

async fn connect(path: &Path, read_only: bool) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(read_only)
        .busy_timeout(BUSY)
        // Copying takes its time, which is no reason for a warning.
        .disable_statement_logging();
    options.connect().await.map_err(store_error)
}

/// Writes one state of the database to `to`, which is an empty file or none. Readers and the writer of the database go on
/// meanwhile. The copy is not synced to the disk.
///
/// # Errors
/// `StoreUnavailable`, also when the disk is full.
pub async fn copy_sqlite(path: &Path, to: &Path) -> Result<()> {
    let mut conn = connect(path, true).await?;
    let copied = sqlx::query("vacuum into $1")
        .bind(to.to_string_lossy().into_owned())
        .execute(&mut conn)
        .await;
    let closed = conn.close().await;
    copied.map_err(store_error)?;
    closed.map_err(store_error)
}

/// Checks a file that no other program uses, and says what is in it.
///
/// # Errors
/// `Internal` when the file is damaged or is no database of this service.
pub async fn describe_sqlite(path: &Path) -> Result<Copied> {
    let mut conn = connect(path, true).await?;
    let described = describe(&mut conn).await;
    conn.close().await.map_err(store_error)?;
    described
}

async fn describe(conn: &mut SqliteConnection) -> Result<Copied> {
    let found: String = sqlx::query_scalar("pragma integrity_check(1)")
        .fetch_one(&mut *conn)
        .await
        .map_err(store_error)?;
    if found != "ok" {
        return Err(Error::Internal(anyhow::anyhow!(
            "the database is damaged: {found}"
        )));
    }
    let migrations = sqlx::query_scalar("select version from josoor_auth_migrations order by version")
        .fetch_all(&mut *conn)
        .await
        .map_err(store_error)?;
    let head: Option<(i64, Vec<u8>)> = sqlx::query_as("select seq, mac from audit_chain where name = 'head'")
        .fetch_optional(&mut *conn)
        .await
        .map_err(store_error)?;
    // What an index of words keeps for itself is counted with the table that it is of.
    let names: Vec<String> = sqlx::query_scalar(
        "select name from sqlite_schema where type = 'table' and name not like 'sqlite\\_%' escape '\\'
            and name not like 'users\\_search%' escape '\\' order by name",
    )
    .fetch_all(&mut *conn)
    .await
    .map_err(store_error)?;
    let mut tables = Vec::with_capacity(names.len());
    for name in names {
        let rows: i64 = sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {}", quoted(&name))))
            .fetch_one(&mut *conn)
            .await
            .map_err(store_error)?;
        tables.push(CopiedTable {
            name,
            rows: rows.unsigned_abs(),
            columns: Vec::new(),
        });
    }
    let ids: Vec<(String, i64)> = sqlx::query_as("select name, seq from sqlite_sequence order by name")
        .fetch_all(&mut *conn)
        .await
        .map_err(store_error)?;
    Ok(Copied {
        migrations,
        head: head.map(|(seq, mac)| ChainEnd {
            seq,
            mac,
            tag: Vec::new(),
        }),
        tables,
        last_ids: ids.into_iter().collect::<BTreeMap<_, _>>(),
    })
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The last user's id that the database has given; 0 for none.
pub async fn last_user_of(path: &Path) -> Result<i64> {
    let mut conn = connect(path, true).await?;
    let last: sqlx::Result<Option<i64>> =
        sqlx::query_scalar("select seq from sqlite_sequence where name = 'users'")
            .fetch_optional(&mut conn)
            .await;
    conn.close().await.map_err(store_error)?;
    Ok(last.map_err(store_error)?.unwrap_or(0))
}

/// The database gives no id to a user that is not above `last`.
pub async fn reserve_users(path: &Path, last: i64) -> Result<()> {
    let mut conn = connect(path, false).await?;
    let raised = sqlx::query("update sqlite_sequence set seq = $1 where name = 'users' and seq < $1")
        .bind(last)
        .execute(&mut conn)
        .await;
    conn.close().await.map_err(store_error)?;
    raised.map(drop).map_err(store_error)
}

/// Moves what is in the write-ahead log into the file and removes the log, so that the file alone is the database.
///
/// # Errors
/// `StoreUnavailable` when another connection is open.
pub async fn make_single_file(path: &Path) -> Result<()> {
    let mut conn = connect(path, false).await?;
    let mode: sqlx::Result<String> = sqlx::query_scalar("pragma journal_mode = delete")
        .fetch_one(&mut conn)
        .await;
    conn.close().await.map_err(store_error)?;
    match mode.map_err(store_error)?.as_str() {
        "delete" => Ok(()),
        mode => Err(Error::unavailable(anyhow::anyhow!(
            "{} is in use: it stays in the mode {mode}",
            path.display()
        ))),
    }
}

/// Makes a file that is about to be replaced a single one, unless it is damaged: then what is in its log stays there.
///
/// # Errors
/// `Internal` when another program has it open.
pub async fn take_offline(path: &Path) -> Result<()> {
    match make_single_file(path).await {
        Err(Error::StoreUnavailable(_)) => Err(Error::Internal(anyhow::anyhow!(
            "another program has {} open; stop it first",
            path.display()
        ))),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Marks this process as the server of a file, so that no other one becomes it meanwhile. `None` when a server runs.
pub fn claim_file(path: &Path) -> Option<ServerMark> {
    claim(path)
}
