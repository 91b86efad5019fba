//! A connection, and the unit of work on it.
//!
//! A connection is used again only where its state is known: after a statement that succeeded, or that failed for a reason of its
//! own. A unit of work that is dropped is rolled back first. Whatever failed otherwise, whatever did not end in time and whatever
//! cannot be rolled back closes the connection.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Postgres, Sqlite};

use super::audit::codes::AuditKey;
use super::failure::{Verdict, database_code, store_error};
use super::health::Health;
use crate::error::{Error, Result};
use crate::telemetry::{Step, steps};

/// PostgreSQL cancels a statement that takes longer: no statement does in ordinary operation, and a stuck one must not hold its
/// caller or its locks.
pub(super) const STATEMENT_TIMEOUT: &str = "4s";

/// How long an answer of PostgreSQL is waited for. Longer than [`STATEMENT_TIMEOUT`], so that only a server that cannot be reached
/// any more lets it pass.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(4500);

/// How long a statement on SQLite is waited for: beyond what a slow disk needs for the largest one.
const LOCAL_TIMEOUT: Duration = Duration::from_secs(15);

/// What all connections to one database share.
#[derive(Debug)]
pub(super) struct Shared {
    /// How long a statement on SQLite is waited for.
    pub(super) local_timeout: Duration,
    /// The key that audit rows are authenticated with, once it is known: every connection carries it, so that no row can be
    /// written without its code.
    pub(super) audit: OnceLock<AuditKey>,
    pub(super) health: Health,
    /// Behind a pooler that gives a connection of the server for one transaction only: how a transaction begins there, with its
    /// settings.
    pub(super) pooled: Option<Arc<str>>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            local_timeout: LOCAL_TIMEOUT,
            audit: OnceLock::new(),
            health: Health::default(),
            pooled: None,
        }
    }
}

/// A connection: pooled, or inside a transaction.
#[derive(Debug)]
pub struct Conn {
    inner: Inner,
    pub(super) shared: Arc<Shared>,
    unit: Unit,
    /// Whether a statement was begun and has not succeeded.
    is_unfinished: bool,
    /// Whether something happened after which the connection must not be used again.
    is_broken: bool,
    /// Whether rows were changed.
    has_written: bool,
    /// The statement that runs.
    step: Step,
}

/// What was begun on a connection and is not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    None,
    /// One statement, which is committed with it.
    Statement,
    /// A unit of work.
    Work,
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

/// Waits for PostgreSQL's answer, but not for ever. What waited must not be used again.
pub(super) async fn answered<T>(work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    within(ANSWER_TIMEOUT, work).await
}

/// Waits for a statement, but not for ever. What waited must not be used again.
pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = sqlx::Result<T>>,
) -> sqlx::Result<T> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        Err(sqlx::Error::Io(std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            format!("the database did not answer within {limit:?}"),
        )))
    })
}

/// Where a statement stands, for its step of a trace.
macro_rules! place {
    () => {
        std::any::type_name_of_val(&|| ())
    };
}
pub(super) use place;

/// Runs one query on whichever engine the connection belongs to: `on!(conn, query, fetch_optional)`. The query is
/// compiled once for each.
macro_rules! on {
    ($conn:expr, $query:expr, $fetch:ident) => {{
        let is_named = $conn.enter().await?;
        let limit = $conn.shared.local_timeout;
        let done = match $conn.raw(crate::store::conn::place!()) {
            crate::store::conn::Raw::Postgres(c) => {
                crate::store::conn::answered($query.persistent(is_named).$fetch(&mut *c)).await
            }
            crate::store::conn::Raw::Sqlite(c) => {
                crate::store::conn::to_its_end!(limit, $query, $fetch, c)
            }
        };
        $conn.finish(done).await
    }};
}
pub(super) use on;

/// Runs a statement on SQLite to its end. Outside of a transaction it is there that what it wrote is committed, or is not: the driver
/// stops at the row that `fetch_one` and `fetch_optional` ask for, and nothing would tell of a commit that failed.
macro_rules! to_its_end {
    ($limit:ident, $query:expr, fetch_one, $c:ident) => {
        crate::store::conn::within($limit, $query.fetch_all(&mut *$c))
            .await
            .and_then(|rows| rows.into_iter().next().ok_or(sqlx::Error::RowNotFound))
    };
    ($limit:ident, $query:expr, fetch_optional, $c:ident) => {
        crate::store::conn::within($limit, $query.fetch_all(&mut *$c))
            .await
            .map(|rows| rows.into_iter().next())
    };
    ($limit:ident, $query:expr, $fetch:ident, $c:ident) => {
        crate::store::conn::within($limit, $query.$fetch(&mut *$c)).await
    };
}
pub(super) use to_its_end;

/// Like [`on!`], for a statement that returns no rows: gives how many it affected.
macro_rules! execute {
    ($conn:expr, $query:expr) => {{
        let is_named = $conn.enter().await?;
        let limit = $conn.shared.local_timeout;
        let done = match $conn.raw(crate::store::conn::place!()) {
            crate::store::conn::Raw::Postgres(c) => {
                crate::store::conn::answered($query.persistent(is_named).execute(&mut *c))
                    .await
                    .map(|done| done.rows_affected())
            }
            crate::store::conn::Raw::Sqlite(c) => crate::store::conn::within(limit, $query.execute(&mut *c))
                .await
                .map(|done| done.rows_affected()),
        };
        $conn.finish_writing(done).await
    }};
}
pub(super) use execute;

/// Runs a statement that is put together on whichever engine the connection belongs to:
/// `built!(conn, query, build_query_as(), fetch_all)`, where `query` gives a [`QueryBuilder`](sqlx::QueryBuilder) of either. With
/// `execute` it gives how many rows were affected. Such a statement is prepared for one use.
macro_rules! built {
    ($conn:expr, $query:expr, execute) => {{
        $conn.enter().await?;
        let limit = $conn.shared.local_timeout;
        let done = match $conn.raw(crate::store::conn::place!()) {
            crate::store::conn::Raw::Postgres(c) => {
                let done =
                    crate::store::conn::answered($query.build().persistent(false).execute(&mut *c)).await;
                done.map(|done| done.rows_affected())
            }
            crate::store::conn::Raw::Sqlite(c) => {
                let done =
                    crate::store::conn::within(limit, $query.build().persistent(false).execute(&mut *c))
                        .await;
                done.map(|done| done.rows_affected())
            }
        };
        $conn.finish_writing(done).await
    }};
    ($conn:expr, $query:expr, $build:ident().$fetch:ident) => {{
        let is_named = $conn.enter().await?;
        let limit = $conn.shared.local_timeout;
        let done = match $conn.raw(crate::store::conn::place!()) {
            crate::store::conn::Raw::Postgres(c) => {
                crate::store::conn::answered($query.$build().persistent(is_named).$fetch(&mut *c)).await
            }
            crate::store::conn::Raw::Sqlite(c) => {
                crate::store::conn::to_its_end!(limit, $query.$build(), $fetch, c)
            }
        };
        $conn.finish(done).await
    }};
    ($conn:expr, $query:expr, $build:ident().persistent(false).$fetch:ident) => {{
        $conn.enter().await?;
        let limit = $conn.shared.local_timeout;
        let done = match $conn.raw(crate::store::conn::place!()) {
            crate::store::conn::Raw::Postgres(c) => {
                crate::store::conn::answered($query.$build().persistent(false).$fetch(&mut *c)).await
            }
            crate::store::conn::Raw::Sqlite(c) => {
                crate::store::conn::to_its_end!(limit, $query.$build().persistent(false), $fetch, c)
            }
        };
        $conn.finish(done).await
    }};
}
pub(super) use built;

/// `db.system.name` of OpenTelemetry.
pub(super) const POSTGRESQL: &str = "postgresql";
/// The same.
pub(super) const SQLITE: &str = "sqlite";

const TAKEN: &str = "only `drop` takes the connection";

impl Conn {
    pub(super) fn postgres(conn: PoolConnection<Postgres>, shared: Arc<Shared>) -> Self {
        Self::new(Inner::Postgres(Some(conn)), shared)
    }

    pub(super) fn sqlite(conn: PoolConnection<Sqlite>, shared: Arc<Shared>) -> Self {
        Self::new(Inner::Sqlite(Some(conn)), shared)
    }

    fn new(inner: Inner, shared: Arc<Shared>) -> Self {
        Self {
            inner,
            shared,
            unit: Unit::None,
            is_unfinished: false,
            is_broken: false,
            has_written: false,
            step: Step::default(),
        }
    }

    pub(super) fn is_sqlite(&self) -> bool {
        matches!(self.inner, Inner::Sqlite(_))
    }

    fn is_open(&self) -> bool {
        self.unit != Unit::None
    }

    /// Prepares for one statement. Whether it may have a name on the server: behind a pooler the next transaction is on another
    /// connection, where the name is unknown or another client's, and so is every statement that is outside of a transaction.
    pub(super) async fn enter(&mut self) -> Result<bool> {
        if self.shared.pooled.is_none() {
            return Ok(true);
        }
        if !self.is_open() {
            self.begin().await?;
            self.unit = Unit::Statement;
        }
        Ok(false)
    }

    /// The driver's connection, for one statement whose outcome goes to [`finish`](Self::finish). `place` is of [`place!`], or the
    /// statement's command.
    pub(super) fn raw(&mut self, place: &'static str) -> Raw<'_> {
        self.is_unfinished = true;
        match &mut self.inner {
            Inner::Postgres(conn) => {
                self.step = steps::statement(POSTGRESQL, place);
                Raw::Postgres(conn.as_mut().expect(TAKEN))
            }
            Inner::Sqlite(conn) => {
                self.step = steps::statement(SQLITE, place);
                Raw::Sqlite(conn.as_mut().expect(TAKEN))
            }
        }
    }

    /// Draws the conclusions from a statement's outcome.
    pub(super) fn settle<T>(&mut self, done: sqlx::Result<T>) -> Result<T> {
        self.is_unfinished = done.is_err();
        let mut step = std::mem::take(&mut self.step);
        done.map_err(|error| {
            if !matches!(error, sqlx::Error::RowNotFound) {
                step.fail(database_code(&error).unwrap_or_else(|| "_OTHER".to_owned()));
            }
            let verdict = Verdict::of(&error);
            self.is_broken |= !verdict.keeps_connection();
            self.shared.health.note(verdict);
            store_error(error)
        })
    }

    pub(super) async fn finish<T>(&mut self, done: sqlx::Result<T>) -> Result<T> {
        let value = self.settle(done)?;
        if self.unit == Unit::Statement {
            self.end().await?;
        }
        Ok(value)
    }

    pub(super) async fn finish_writing(&mut self, done: sqlx::Result<u64>) -> Result<u64> {
        let affected = self.finish(done).await?;
        if affected > 0 && !self.is_open() {
            self.note_write();
        }
        self.has_written |= affected > 0;
        Ok(affected)
    }

    fn note_write(&self) {
        // SQLite overwrites its log from the start, so a small write may succeed on a full disk.
        if !self.is_sqlite() && self.shared.health.is_failing() {
            self.shared.health.takes_writes();
        }
    }

    /// Runs statements without values, one after another.
    pub(super) async fn run(&mut self, sql: &'static str) -> Result<()> {
        let done = match self.raw(command(sql)) {
            Raw::Postgres(conn) => answered(sqlx::raw_sql(sql).execute(conn)).await.map(drop),
            Raw::Sqlite(conn) => sqlx::raw_sql(sql).execute(conn).await.map(drop),
        };
        self.settle(done)
    }

    pub(super) async fn begin(&mut self) -> Result<()> {
        self.unit = Unit::Work;
        let begun = match (&self.inner, self.shared.pooled.clone()) {
            (Inner::Postgres(_), None) => self.run("begin").await,
            (Inner::Postgres(_), Some(sql)) => self.run_settings(sql).await,
            // A deferred transaction that reads before it writes fails at once when another has written meanwhile.
            (Inner::Sqlite(_), _) => self.run("begin immediate").await,
        };
        match &begun {
            Ok(()) => self.shared.health.unlocked(),
            // Nothing was begun, and the connection is as before.
            Err(_) if !self.is_broken => (self.unit, self.is_unfinished) = (Unit::None, false),
            Err(_) => {}
        }
        begun
    }

    async fn run_settings(&mut self, sql: Arc<str>) -> Result<()> {
        let Raw::Postgres(conn) = self.raw("begin") else {
            return Ok(());
        };
        let done = answered(sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn)).await;
        self.settle(done.map(drop))
    }

    async fn end(&mut self) -> Result<()> {
        self.run("commit").await?;
        self.unit = Unit::None;
        if self.has_written {
            self.note_write();
        }
        Ok(())
    }

    /// Begins to read one state of the database, whatever others commit meanwhile, until [`end_snapshot`](Self::end_snapshot).
    pub(super) async fn begin_snapshot(&mut self) -> Result<()> {
        self.unit = Unit::Work;
        match (&self.inner, self.shared.pooled.clone()) {
            // Compiling a statement takes longer than the lists that are read so.
            (Inner::Postgres(_), None) => {
                self.run(
                    "begin isolation level repeatable read read only; set local jit = off; set local work_mem = '32MB'",
                )
                .await
            }
            (Inner::Postgres(_), Some(sql)) => {
                self.run_settings(sql).await?;
                self.run(
                    "set transaction isolation level repeatable read, read only; set local jit = off;
                     set local work_mem = '32MB'",
                )
                .await
            }
            (Inner::Sqlite(_), _) => self.run("begin").await,
        }
    }

    /// The connection reads the latest state again, and keeps no setting of the snapshot.
    pub(super) async fn end_snapshot(&mut self) -> Result<()> {
        self.run("rollback").await?;
        self.unit = Unit::None;
        Ok(())
    }

    /// Makes the unit of work permanent. Without it everything is undone.
    ///
    /// # Errors
    /// `Internal` when a statement of it has failed: PostgreSQL would undo everything, and say nothing.
    pub async fn commit(mut self) -> Result<()> {
        if !self.is_open() {
            return Ok(());
        }
        if self.is_unfinished {
            return Err(Error::Internal(anyhow::anyhow!(
                "a unit of work was to be committed although a statement of it had failed"
            )));
        }
        self.end().await
    }

    /// The connection is closed, and a new one is opened in its place.
    pub(super) fn close(mut self) {
        self.is_broken = true;
    }

    /// Waits for every other unit of work that decides about the same thing, until this one ends.
    pub async fn pass_guard(&mut self, name: &str) -> Result<()> {
        const SQL: &str = "update guards set passes = passes + 1 where name = $1";
        execute!(self, sqlx::query(SQL).bind(name)).map(drop)
    }
}

/// The first word of a statement.
fn command(sql: &'static str) -> &'static str {
    sql.split([' ', ';']).next().unwrap_or(sql)
}

/// What becomes of a connection that is not needed any more.
#[derive(Clone, Copy)]
enum End {
    Close,
    RollBack,
    Keep,
}

impl Drop for Conn {
    fn drop(&mut self) {
        let end = if self.is_broken || self.is_open() && self.is_unfinished {
            End::Close
        } else if self.is_open() {
            End::RollBack
        } else {
            End::Keep
        };
        let shared = Arc::clone(&self.shared);
        match &mut self.inner {
            Inner::Postgres(conn) => {
                drop(conn.take().map(|conn| tokio::spawn(give_back(conn, end, shared))));
            }
            // Its thread may still work on a statement that was not waited for, and the pool would wait for that.
            Inner::Sqlite(conn) if matches!(end, End::Close) => {
                drop(conn.take().map(PoolConnection::detach));
            }
            Inner::Sqlite(conn) => {
                drop(conn.take().map(|conn| tokio::spawn(give_back(conn, end, shared))));
            }
        }
    }
}

/// Gives a connection back to its pool, or closes it. The pool waits for an answer on it first, and would wait for ever.
async fn give_back<DB>(mut conn: PoolConnection<DB>, end: End, shared: Arc<Shared>)
where
    DB: sqlx::Database,
    for<'c> &'c mut DB::Connection: sqlx::Executor<'c, Database = DB>,
{
    if matches!(end, End::RollBack) {
        let rolled_back = tokio::time::timeout(ANSWER_TIMEOUT, sqlx::raw_sql("rollback").execute(&mut *conn));
        match rolled_back.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                shared.health.note(Verdict::of(&error));
                return conn.close_on_drop();
            }
            Err(_) => {
                shared.health.replace_all();
                return conn.close_on_drop();
            }
        }
    } else if matches!(end, End::Close) {
        return conn.close_on_drop();
    }
    // Dropped, the work closes the connection.
    if tokio::time::timeout(ANSWER_TIMEOUT, conn.return_to_pool())
        .await
        .is_err()
    {
        shared.health.replace_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use sqlx::sqlite::SqlitePoolOptions;

    use super::{Conn, Shared};
    use crate::error::{Error, Result};
    use crate::sources::all_sources;

    const CHILD: &str = "insert into children (parent) values (1) returning parent";

    /// A statement is committed after its rows, so a commit that fails, as on a full disk and here by a deferred constraint, comes
    /// after them.
    #[tokio::test]
    async fn a_row_is_given_only_once_what_wrote_it_is_committed() -> Result<()> {
        let pool = SqlitePoolOptions::new().max_connections(1);
        let pool = pool.connect("sqlite::memory:").await.expect("a database");
        let mut conn = Conn::sqlite(pool.acquire().await.expect("a connection"), Arc::default());
        for sql in [
            "create table parents (id integer primary key)",
            "create table children (parent integer references parents deferrable initially deferred)",
            "pragma foreign_keys = on",
        ] {
            execute!(conn, sqlx::query(sql))?;
        }
        let one: Result<i64> = async { on!(conn, sqlx::query_scalar(CHILD), fetch_one) }.await;
        assert!(one.is_err());
        let optional: Result<Option<i64>> =
            async { on!(conn, sqlx::query_scalar(CHILD), fetch_optional) }.await;
        assert!(optional.is_err());
        let children: i64 = on!(
            conn,
            sqlx::query_scalar("select count(*) from children"),
            fetch_one
        )?;
        assert_eq!(children, 0);
        execute!(conn, sqlx::query("insert into parents (id) values (1)"))?;
        let one: i64 = on!(conn, sqlx::query_scalar(CHILD), fetch_one)?;
        assert_eq!(one, 1);
        Ok(())
    }

    /// The caller gets an error in time, and the pool another connection, while the statement is still under way.
    #[tokio::test]
    async fn a_statement_that_takes_too_long_is_not_waited_for() -> Result<()> {
        const LONG: &str =
            "with recursive n (i) as (select 1 union all select i + 1 from n where i < 8000000)
            select count(*) from n";
        let pool = SqlitePoolOptions::new().max_connections(1);
        let pool = pool.connect("sqlite::memory:").await.expect("a database");
        let shared = Arc::new(Shared {
            local_timeout: Duration::from_millis(100),
            ..Shared::default()
        });
        let take = async || {
            let conn = pool.acquire().await.expect("a connection");
            Conn::sqlite(conn, Arc::clone(&shared))
        };
        let mut conn = take().await;
        let long: Result<i64> = async { on!(conn, sqlx::query_scalar(LONG), fetch_one) }.await;
        let Err(Error::StoreUnavailable(cause)) = long else {
            panic!("{long:?}");
        };
        assert!(format!("{cause:#}").contains("did not answer"));
        drop(conn);
        let mut conn = take().await;
        let one: i64 = on!(conn, sqlx::query_scalar("select 1"), fetch_one)?;
        assert_eq!(one, 1);
        Ok(())
    }

    /// Whatever asks PostgreSQL by itself instead of through the macros above follows their rules.
    #[test]
    fn f5_d9_every_statement_has_a_limit_and_a_name_only_where_it_may() {
        let mut count = 0;
        for (path, source) in all_sources() {
            for arm in source.split("Raw::Postgres(").skip(1) {
                let arm = arm.split("Raw::Sqlite(").next().unwrap_or_default();
                if !arm.contains(".fetch") && !arm.contains("$fetch") && !arm.contains(".execute(") {
                    continue;
                }
                count += 1;
                assert!(arm.contains("answered("), "{path} waits without a limit: {arm}");
                let is_prepared = !arm.contains("raw_sql(");
                assert!(
                    !is_prepared || arm.contains(".persistent("),
                    "{path} names a statement: {arm}"
                );
            }
        }
        assert!(count > 6, "only {count} statements");
    }
}
