//! A connection, and the unit of work on it.
//!
//! A unit of work that is dropped is rolled back, and its connection used again. But where the last statement failed, or its caller
//! went away before the answer, its state is unknown: it is closed.

use std::sync::{Arc, OnceLock};

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{PgPool, Postgres, Sqlite, SqlitePool};

use super::audit::codes::AuditKey;
use super::failure::store_error;
use crate::error::{Error, Result};

/// The key that audit rows are authenticated with, once it is known: every connection carries it, so that no row can be
/// written without its code.
pub(super) type SharedAuditKey = Arc<OnceLock<AuditKey>>;

/// A connection: pooled, or inside a transaction.
#[derive(Debug)]
pub struct Conn {
    inner: Inner,
    pub(super) audit: SharedAuditKey,
    /// Whether there is a unit of work that was not committed.
    is_open: bool,
    /// Whether a statement was begun and has not succeeded.
    is_unfinished: bool,
}

#[derive(Debug)]
enum Inner {
    Postgres(Option<PoolConnection<Postgres>>),
    Sqlite(Option<PoolConnection<Sqlite>>),
}

/// The driver's own connection, for the dispatch macro.
pub(super) enum Raw<'c> {
    Postgres(&'c mut PgConnection),
    Sqlite(&'c mut SqliteConnection),
}

/// Runs one query on whichever engine the connection belongs to: `on!(conn, query, fetch_optional)`. The query is
/// compiled once for each.
macro_rules! on {
    ($conn:expr, $query:expr, $fetch:ident) => {{
        let done = match $conn.raw() {
            crate::store::conn::Raw::Postgres(c) => $query.$fetch(&mut *c).await,
            crate::store::conn::Raw::Sqlite(c) => $query.$fetch(&mut *c).await,
        };
        $conn.finish(done)
    }};
}
pub(super) use on;

/// Like [`on!`], for a statement that returns no rows: gives how many it affected.
macro_rules! execute {
    ($conn:expr, $query:expr) => {{
        let done = match $conn.raw() {
            crate::store::conn::Raw::Postgres(c) => {
                $query.execute(&mut *c).await.map(|done| done.rows_affected())
            }
            crate::store::conn::Raw::Sqlite(c) => {
                $query.execute(&mut *c).await.map(|done| done.rows_affected())
            }
        };
        $conn.finish(done)
    }};
}
pub(super) use execute;

/// Runs a statement that is put together on whichever engine the connection belongs to:
/// `built!(conn, query, build_query_as().fetch_all)`, where `query` gives a [`QueryBuilder`](sqlx::QueryBuilder) of either. With
/// `execute` it gives how many rows were affected.
macro_rules! built {
    ($conn:expr, $query:expr, execute) => {
        {
            let done = match $conn.raw() {
                crate::store::conn::Raw::Postgres(c) => {
                    let done = $query.build().persistent(false).execute(&mut *c).await;
                    done.map(|done| done.rows_affected())
                }
                crate::store::conn::Raw::Sqlite(c) => {
                    let done = $query.build().persistent(false).execute(&mut *c).await;
                    done.map(|done| done.rows_affected())
                }
            };
            $conn.finish(done)
        }
    };
    ($conn:expr, $query:expr, $($run:tt)+) => {
        {
            let done = match $conn.raw() {
                crate::store::conn::Raw::Postgres(c) => $query.$($run)+(&mut *c).await,
                crate::store::conn::Raw::Sqlite(c) => $query.$($run)+(&mut *c).await,
            };
            $conn.finish(done)
        }
    };
}
pub(super) use built;

const TAKEN: &str = "only `drop` takes the connection";

impl Conn {
    pub(super) async fn postgres(pool: &PgPool, audit: SharedAuditKey) -> Result<Self> {
        let conn = pool.acquire().await.map_err(store_error)?;
        Ok(Self::new(Inner::Postgres(Some(conn)), audit))
    }

    pub(super) async fn sqlite(pool: &SqlitePool, audit: SharedAuditKey) -> Result<Self> {
        let conn = pool.acquire().await.map_err(store_error)?;
        Ok(Self::new(Inner::Sqlite(Some(conn)), audit))
    }

    fn new(inner: Inner, audit: SharedAuditKey) -> Self {
        Self {
            inner,
            audit,
            is_open: false,
            is_unfinished: false,
        }
    }

    /// The driver's connection, for one statement whose outcome goes to [`finish`](Self::finish).
    pub(super) fn raw(&mut self) -> Raw<'_> {
        self.is_unfinished = true;
        match &mut self.inner {
            Inner::Postgres(conn) => Raw::Postgres(conn.as_mut().expect(TAKEN)),
            Inner::Sqlite(conn) => Raw::Sqlite(conn.as_mut().expect(TAKEN)),
        }
    }

    pub(super) fn finish<T>(&mut self, done: sqlx::Result<T>) -> Result<T> {
        self.is_unfinished = done.is_err();
        done.map_err(store_error)
    }

    async fn run(&mut self, sql: &'static str) -> Result<()> {
        let done = match self.raw() {
            Raw::Postgres(conn) => sqlx::raw_sql(sql).execute(conn).await.map(drop),
            Raw::Sqlite(conn) => sqlx::raw_sql(sql).execute(conn).await.map(drop),
        };
        self.finish(done)
    }

    pub(super) async fn begin(&mut self) -> Result<()> {
        self.is_open = true;
        match &self.inner {
            Inner::Postgres(_) => self.run("begin").await,
            // A deferred transaction that reads before it writes fails at once when another has written meanwhile.
            Inner::Sqlite(_) => self.run("begin immediate").await,
        }
    }

    /// Makes the unit of work permanent. Without it everything is undone.
    ///
    /// # Errors
    /// `Internal` when a statement of it has failed: PostgreSQL would undo everything, and say nothing.
    pub async fn commit(mut self) -> Result<()> {
        if !self.is_open {
            return Ok(());
        }
        if self.is_unfinished {
            return Err(Error::Internal(anyhow::anyhow!(
                "a unit of work was to be committed although a statement of it had failed"
            )));
        }
        self.run("commit").await?;
        self.is_open = false;
        Ok(())
    }

    /// Waits for every other unit of work that decides about the same thing, until this one ends.
    pub async fn pass_guard(&mut self, name: &str) -> Result<()> {
        const SQL: &str = "update guards set passes = passes + 1 where name = $1";
        execute!(self, sqlx::query(SQL).bind(name)).map(drop)
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        async fn roll_back<DB>(mut conn: PoolConnection<DB>)
        where
            DB: sqlx::Database,
            for<'c> &'c mut DB::Connection: sqlx::Executor<'c, Database = DB>,
        {
            // Closed unless it is known to be rolled back.
            if sqlx::raw_sql("rollback").execute(&mut *conn).await.is_err() {
                conn.close_on_drop();
            }
        }
        if !self.is_open {
            return;
        }
        match &mut self.inner {
            Inner::Postgres(conn) if self.is_unfinished => {
                conn.iter_mut().for_each(PoolConnection::close_on_drop);
            }
            Inner::Sqlite(conn) if self.is_unfinished => {
                conn.iter_mut().for_each(PoolConnection::close_on_drop);
            }
            Inner::Postgres(conn) => drop(conn.take().map(|conn| tokio::spawn(roll_back(conn)))),
            Inner::Sqlite(conn) => drop(conn.take().map(|conn| tokio::spawn(roll_back(conn)))),
        }
    }
}
