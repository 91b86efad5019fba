//! The pools of one database: opening, connections, and its clock.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{PgPool, SqlitePool};

use super::audit::codes::AuditKey;
use super::conn::{Conn, SharedAuditKey, execute};
use super::failure::store_error;
use crate::clock::{Clock, Reading};
use crate::config::{Database, DatabaseConfig};
use crate::domain::Timestamp;
use crate::error::{Error, Result};

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
        audit: SharedAuditKey,
    },
}

/// How long a connection may have been idle and is used without a ping.
const PING_IF_IDLE_FOR: Duration = Duration::from_secs(1);

/// What PostgreSQL shows connections as. The version that writes no codes into audit rows shows `josoor-auth`
/// ([`Db::count_previous_connections`]).
const APPLICATION: &str = "josoor-auth/2";

/// No statement takes this long in ordinary operation; a stuck one must not hold its caller or its locks.
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
                    // A ping costs a round trip, and a connection that has just served needs none.
                    .test_before_acquire(false)
                    .before_acquire(|connection, idle| {
                        Box::pin(async move {
                            Ok(idle.idle_for < PING_IF_IDLE_FOR
                                || sqlx::Connection::ping(connection).await.is_ok())
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
        // at the same moment, all but one fail because it is locked.
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

    fn audit_key(&self) -> SharedAuditKey {
        let (Self::Postgres(PgStore { audit, .. }) | Self::Sqlite { audit, .. }) = self;
        Arc::clone(audit)
    }

    /// A connection for single statements that only read.
    pub async fn read(&self) -> Result<Conn> {
        match self {
            Self::Postgres(pool) => Conn::postgres(pool, self.audit_key()).await,
            Self::Sqlite { readers, .. } => Conn::sqlite(readers, self.audit_key()).await,
        }
    }

    /// A connection for statements outside of a unit of work, on the pool that sees every commit at once: for writing, and
    /// for reading what was just written.
    pub async fn write(&self) -> Result<Conn> {
        match self {
            Self::Postgres(pool) => Conn::postgres(pool, self.audit_key()).await,
            Self::Sqlite { writer, .. } => Conn::sqlite(writer, self.audit_key()).await,
        }
    }

    /// Begins a unit of work that writes.
    pub async fn begin(&self) -> Result<Conn> {
        let mut conn = self.write().await?;
        conn.begin().await?;
        Ok(conn)
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
