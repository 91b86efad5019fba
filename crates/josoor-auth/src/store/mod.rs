//! The database: PostgreSQL or SQLite behind one set of methods and one SQL text.
//!
//! Rules that make one text enough:
//! 1. Times are bound from the clock, never `now()`; the clock follows the database's (`Db::clock`). They are `timestamptz` in PostgreSQL and integer microseconds in
//!    SQLite; the codec of [`Timestamp`] hides it.
//! 2. No arrays, `ilike`, `= any`, `for update`, engine enums, casts with `::` or JSON operators.
//! 3. Case folding happens in the newtypes; the canonical form is stored and indexed.
//! 4. Uniqueness is decided by `on conflict do nothing` and the affected rows, never by a constraint's name.
//! 5. What may happen once is claimed by one conditional `update`, and the number of rows says who won.
//! 6. Nothing slow (hashing, mail, HTTP) happens while a connection is held.
//!
//! [`Db::read`] gives a connection for single statements; [`Db::begin`] begins a unit of work, which ends in
//! [`Conn::commit`] or, when dropped, in nothing at all. Both are a [`Conn`] and have the same methods, one file per
//! table.

mod adopt;
mod audit;
mod audit_codes;
mod changes;
mod codec;
mod devices;
mod import;
mod keys;
mod migrate;
mod one_time_tokens;
mod outbox;
mod past_credentials;
mod registrations;
mod sessions;
mod stats;
mod users;

use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{PgPool, Postgres, Sqlite, SqlitePool, Transaction, pool::PoolConnection};

use crate::clock::{Clock, Reading};
use crate::config::{Database, DatabaseConfig};
use crate::domain::Timestamp;
use crate::error::{Error, Result};

pub use adopt::Adopted;
pub use audit::{Audit, AuditFilter, AuditRow, ChainEnd, NewAudit, Seal};
pub use audit_codes::{AuditKey, Blanked, MacOrigin, RowCode};
pub use changes::Change;
pub use devices::{Device, DeviceSeen};
pub use import::{ImportedUser, Seen, SourceTable, StoredUser};
pub use keys::KeyRow;
pub use one_time_tokens::{NewOneTimeToken, OneTimeToken, Purpose};
pub use outbox::{
    Backlog, Content, MailClass, MailDetails, MailKind, MailRow, NewMail, OVER_BUDGET, Origin, OutboxState,
    RequestOrigin,
};
pub use past_credentials::{PastCredential, PastKind};
pub use registrations::Registration;
pub use sessions::{NewSession, RevokeReason, Rotation, SessionRow, Touch, Transport};
pub use stats::{SpanCounts, UserCounts};
pub use users::{NewUser, User, UserFilter, UserPatch, UserSort};

/// The key that audit rows are authenticated with, once it is known: every connection carries it, so that no row can be
/// written without its code.
type SharedAuditKey = Arc<OnceLock<AuditKey>>;

/// A pool of connections to PostgreSQL. It is a [`PgPool`] where one is asked for by reference.
#[derive(Clone, Debug)]
pub struct PgStore {
    pool: PgPool,
    audit: SharedAuditKey,
}

impl Deref for PgStore {
    type Target = PgPool;

    fn deref(&self) -> &PgPool {
        &self.pool
    }
}

/// The pools of one database.
#[derive(Clone, Debug)]
pub enum Db {
    /// PostgreSQL, or what speaks its protocol.
    Postgres(PgStore),
    /// One SQLite file. Writers queue for the one connection of their pool instead of failing with "busy".
    Sqlite {
        /// Read-only work.
        readers: SqlitePool,
        /// One connection.
        writer: SqlitePool,
        /// See [`Db::sign_audit_with`].
        audit: Arc<OnceLock<AuditKey>>,
    },
}

/// A connection: pooled, or inside a transaction.
#[derive(Debug)]
pub struct Conn {
    inner: Inner,
    audit: SharedAuditKey,
}

#[derive(Debug)]
enum Inner {
    Postgres(PoolConnection<Postgres>),
    PostgresTx(Transaction<'static, Postgres>),
    Sqlite(PoolConnection<Sqlite>),
    SqliteTx(Transaction<'static, Sqlite>),
}

/// The driver's own connection, for the dispatch macro.
enum Raw<'c> {
    Postgres(&'c mut PgConnection),
    Sqlite(&'c mut SqliteConnection),
}

/// Runs one query on whichever engine the connection belongs to: `on!(conn, query, fetch_optional)`. The query is
/// compiled once for each.
macro_rules! on {
    ($conn:expr, $query:expr, $fetch:ident) => {
        match $conn.raw() {
            crate::store::Raw::Postgres(c) => $query.$fetch(&mut *c).await.map_err(crate::store::store_error),
            crate::store::Raw::Sqlite(c) => $query.$fetch(&mut *c).await.map_err(crate::store::store_error),
        }
    };
}
use on;

/// Like [`on!`], for a statement that returns no rows: gives how many it affected.
macro_rules! execute {
    ($conn:expr, $query:expr) => {
        match $conn.raw() {
            crate::store::Raw::Postgres(c) => $query.execute(&mut *c).await.map(|done| done.rows_affected()),
            crate::store::Raw::Sqlite(c) => $query.execute(&mut *c).await.map(|done| done.rows_affected()),
        }
        .map_err(crate::store::store_error)
    };
}
use execute;

/// Implements `FromRow` for both engines from the one list of fields, each named like its column.
macro_rules! from_row {
    ($row:ident { $($field:ident),+ $(,)? }) => {
        impl<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow> for $row {
            fn from_row(row: &'r sqlx::postgres::PgRow) -> sqlx::Result<Self> {
                Ok(Self { $($field: sqlx::Row::try_get(row, stringify!($field))?),+ })
            }
        }
        impl<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow> for $row {
            fn from_row(row: &'r sqlx::sqlite::SqliteRow) -> sqlx::Result<Self> {
                Ok(Self { $($field: sqlx::Row::try_get(row, stringify!($field))?),+ })
            }
        }
    };
}
use from_row;

/// How long a connection may have been idle without being asked whether it still serves.
const UNASKED: Duration = Duration::from_secs(1);

/// What PostgreSQL shows connections as. The version that writes no codes into audit rows shows `josoor-auth`
/// ([`Db::count_previous_connections`]).
const APPLICATION: &str = "josoor-auth/2";

/// No statement of ours takes this long in health; a stuck one must not hold its caller or its locks.
const STATEMENT_TIMEOUT: &str = "5s";

impl Db {
    /// Opens the database without touching its contents. A SQLite file is created, readable by its owner only.
    pub async fn open(config: &DatabaseConfig) -> Result<Self> {
        match &config.url {
            Database::Postgres { url } => {
                let options: PgConnectOptions = url.expose().parse().map_err(store_error)?;
                let options = options.application_name(APPLICATION).options([
                    ("search_path", config.schema.as_str()),
                    ("statement_timeout", STATEMENT_TIMEOUT),
                    ("idle_in_transaction_session_timeout", STATEMENT_TIMEOUT),
                    ("timezone", "UTC"),
                ]);
                let pool = PgPoolOptions::new()
                    .max_connections(config.max_connections)
                    .acquire_timeout(config.acquire_timeout)
                    // A connection that has just served need not be asked whether it would; that costs a round trip.
                    .test_before_acquire(false)
                    .before_acquire(|connection, idle| {
                        Box::pin(async move {
                            Ok(idle.idle_for < UNASKED || sqlx::Connection::ping(connection).await.is_ok())
                        })
                    })
                    .connect_lazy_with(options);
                Ok(Self::Postgres(PgStore {
                    pool,
                    audit: SharedAuditKey::default(),
                }))
            }
            Database::Sqlite { path } => Self::open_sqlite(path, config).await,
        }
    }

    async fn open_sqlite(path: &Path, config: &DatabaseConfig) -> Result<Self> {
        create_private_file(path).map_err(|cause| {
            Error::StoreUnavailable(cause.context(format!("cannot open {}", path.display())))
        })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            // An acknowledged commit survives a power cut.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5));
        // A new file changes to WAL under a lock for which SQLite does not wait: of several processes that open it first
        // at the same moment, all but one are told that it is locked.
        let mut tries = 0;
        let writer = loop {
            let opened = SqlitePoolOptions::new()
                .max_connections(1)
                .acquire_timeout(Duration::from_secs(5))
                .connect_with(options.clone())
                .await
                .map_err(store_error);
            match opened {
                Err(Error::StoreUnavailable(_)) if tries < 50 => tries += 1,
                other => break other?,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let readers = SqlitePoolOptions::new()
            .max_connections(config.max_connections)
            .acquire_timeout(config.acquire_timeout)
            // Pages that a reader does not keep are in the system's cache, which all of them share.
            .connect_lazy_with(options.read_only(true).pragma("cache_size", "-512"));
        Ok(Self::Sqlite {
            readers,
            writer,
            audit: SharedAuditKey::default(),
        })
    }

    /// Gives the key of the audit trail; until then no audit row can be written. The first one that is given stays.
    pub fn sign_audit_with(&self, key: AuditKey) {
        let (Self::Postgres(PgStore { audit, .. }) | Self::Sqlite { audit, .. }) = self;
        // An error means that there is one already.
        let _ = audit.set(key);
    }

    fn conn(&self, inner: Inner) -> Conn {
        let (Self::Postgres(PgStore { audit, .. }) | Self::Sqlite { audit, .. }) = self;
        Conn {
            inner,
            audit: Arc::clone(audit),
        }
    }

    /// A connection for single statements that only read.
    pub async fn read(&self) -> Result<Conn> {
        Ok(self.conn(match self {
            Self::Postgres(pool) => Inner::Postgres(pool.acquire().await.map_err(store_error)?),
            Self::Sqlite { readers, .. } => Inner::Sqlite(readers.acquire().await.map_err(store_error)?),
        }))
    }

    /// A connection for statements outside of a unit of work, on the pool that sees every commit at once: for writing, and
    /// for reading what was just written.
    pub async fn write(&self) -> Result<Conn> {
        Ok(self.conn(match self {
            Self::Postgres(pool) => Inner::Postgres(pool.acquire().await.map_err(store_error)?),
            Self::Sqlite { writer, .. } => Inner::Sqlite(writer.acquire().await.map_err(store_error)?),
        }))
    }

    /// Begins a unit of work that writes.
    pub async fn begin(&self) -> Result<Conn> {
        Ok(self.conn(match self {
            Self::Postgres(pool) => Inner::PostgresTx(pool.begin().await.map_err(store_error)?),
            // A deferred transaction that reads before it writes fails at once when another has written meanwhile.
            Self::Sqlite { writer, .. } => {
                Inner::SqliteTx(writer.begin_with("begin immediate").await.map_err(store_error)?)
            }
        }))
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        let mut conn = self.read().await?;
        execute!(conn, sqlx::query("select 1")).map(drop)
    }

    /// The clock for work on this database: the database's own where it has one.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn clock(&self, clock: Clock) -> Result<Clock> {
        let clock = match self {
            Self::Postgres(_) => clock.following_database(),
            Self::Sqlite { .. } => clock,
        };
        self.read_clock(&clock).await?;
        Ok(clock)
    }

    /// Reads the database's clock and corrects `clock` by it. Gives the database's time, or that of `clock` where the
    /// database has none of its own.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn read_clock(&self, clock: &Clock) -> Result<Timestamp> {
        match self {
            Self::Postgres(pool) => {
                let mut conn = pool.acquire().await.map_err(store_error)?;
                let reading = Reading::begin();
                let now = sqlx::query_scalar("select clock_timestamp()")
                    .fetch_one(&mut *conn)
                    .await
                    .map_err(store_error)?;
                clock.correct(reading, now);
                Ok(now)
            }
            Self::Sqlite { .. } => Ok(clock.now()),
        }
    }

    /// `PostgreSQL` or `SQLite`.
    pub const fn engine(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "PostgreSQL",
            Self::Sqlite { .. } => "SQLite",
        }
    }

    /// Open and idle connections, for the metrics.
    pub fn pool_size(&self) -> (u32, usize) {
        match self {
            Self::Postgres(pool) => (pool.size(), pool.num_idle()),
            Self::Sqlite { readers, writer, .. } => (
                readers.size() + writer.size(),
                readers.num_idle() + writer.num_idle(),
            ),
        }
    }

    /// Waits for work under way and closes every connection.
    pub async fn close(&self) {
        match self {
            Self::Postgres(pool) => pool.close().await,
            Self::Sqlite { readers, writer, .. } => {
                readers.close().await;
                writer.close().await;
            }
        }
    }
}

impl Conn {
    fn raw(&mut self) -> Raw<'_> {
        match &mut self.inner {
            Inner::Postgres(conn) => Raw::Postgres(conn),
            Inner::PostgresTx(tx) => Raw::Postgres(tx),
            Inner::Sqlite(conn) => Raw::Sqlite(conn),
            Inner::SqliteTx(tx) => Raw::Sqlite(tx),
        }
    }

    /// Makes the unit of work permanent. Without it everything is undone.
    pub async fn commit(self) -> Result<()> {
        match self.inner {
            Inner::PostgresTx(tx) => tx.commit().await.map_err(store_error),
            Inner::SqliteTx(tx) => tx.commit().await.map_err(store_error),
            Inner::Postgres(_) | Inner::Sqlite(_) => Ok(()),
        }
    }

    /// Waits for every other unit of work that decides about the same thing, until this one ends.
    pub async fn pass_guard(&mut self, name: &str) -> Result<()> {
        const SQL: &str = "update guards set passes = passes + 1 where name = $1";
        execute!(self, sqlx::query(SQL).bind(name)).map(drop)
    }
}

/// Sorts the driver's failures into "away, try again" and "our fault".
fn store_error(error: sqlx::Error) -> Error {
    let away = match &error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| is_passing(&code)),
        _ => false,
    };
    let cause = anyhow::Error::new(error);
    if away {
        Error::StoreUnavailable(cause)
    } else {
        Error::Internal(cause)
    }
}

/// Whether the fault is that a value, which must be unique, is there already.
fn is_unique_violation(cause: &anyhow::Error) -> bool {
    matches!(
        cause.downcast_ref::<sqlx::Error>(),
        Some(sqlx::Error::Database(error)) if error.is_unique_violation()
    )
}

/// Error codes that another try may not meet. PostgreSQL: connection (08), log-in refused (28), serialisation
/// and deadlock (40), resources (53), cancelled or shutting down (57), read-only standby (25006), idle transaction ended
/// (25P03), database missing (3D000), lock not available (55P03). SQLite, by primary code: busy, locked,
/// I/O, full, read-only, cannot open.
fn is_passing(code: &str) -> bool {
    if code.len() == 5 {
        return ["08", "28", "40", "53", "57"]
            .iter()
            .any(|class| code.starts_with(class))
            || matches!(code, "25006" | "25P03" | "3D000" | "55P03");
    }
    code.parse::<u32>()
        .is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 8 | 10 | 13 | 14))
}

/// Creates the file and its folder when they are missing, open to their owner only.
fn create_private_file(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    Ok(())
}
