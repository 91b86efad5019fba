//! The pools of one database: opening, connections, and its clock.

use std::sync::Arc;
use std::time::Duration;

use sqlx::SqlitePool;
use tokio::time::Instant;

use super::audit::codes::AuditKey;
use super::conn::{Conn, POSTGRESQL, SQLITE, Shared, execute, on};
use super::failure::{code_of, is_tls, store_error};
use super::postgres::PgStore;
use super::sqlite::{self, ServerMark, SqliteFile};
use crate::clock::{Clock, Reading};
use crate::config::{Database, DatabaseConfig};
use crate::domain::Timestamp;
use crate::error::{Error, Result};
use crate::telemetry::{Step, codes, steps};

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
        /// The file.
        file: SqliteFile,
    },
}

/// Between two attempts to reach a database that is not up yet.
const START_PAUSE: Duration = Duration::from_millis(250);

impl Db {
    /// Opens the database without touching its contents. A SQLite file is created, readable by its owner only.
    ///
    /// # Errors
    /// `StoreUnavailable` when it cannot be reached; `Internal` for a setting that does not fit. The cause stands first.
    pub async fn open(config: &DatabaseConfig) -> Result<Self> {
        match &config.url {
            Database::Postgres { url, options } => {
                Ok(Self::Postgres(PgStore::open(url, options, config).await?))
            }
            Database::Sqlite { path } => {
                let (readers, writer, file) = sqlite::open(path, config).await?;
                Ok(Self::Sqlite {
                    readers,
                    writer,
                    file,
                })
            }
        }
    }

    /// Waits until the database can be reached, `database.start_timeout` at most: it may be started at the same time. What does
    /// not pass by itself, such as a wrong password, is not waited for.
    ///
    /// # Errors
    /// As of [`open`](Self::open).
    pub async fn wait(config: &DatabaseConfig) -> Result<()> {
        if config.url.is_sqlite() {
            return Ok(());
        }
        let begun = Instant::now();
        let mut is_reported = false;
        loop {
            let error = match Self::open(config).await {
                Ok(db) => {
                    db.close().await;
                    if is_reported {
                        tracing::info!(
                            waited_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
                            "the database is there"
                        );
                    }
                    return Ok(());
                }
                Err(error) => error,
            };
            if !passes(&error) || begun.elapsed() >= config.start_timeout {
                return Err(error);
            }
            if !is_reported {
                is_reported = true;
                let Error::StoreUnavailable(cause) = &error else {
                    return Err(error);
                };
                tracing::warn!(
                    code = codes::DATABASE_AWAITED,
                    cause = %format!("{cause:#}"),
                    start_timeout = ?config.start_timeout,
                    "the database is not there yet; waiting for it"
                );
            }
            tokio::time::sleep(START_PAUSE).await;
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        match self {
            Self::Postgres(store) => &store.shared,
            Self::Sqlite { file, .. } => &file.shared,
        }
    }

    /// Gives the key of the audit trail; until then no audit row can be written. The first one that is given stays.
    pub fn sign_audit_with(&self, key: AuditKey) {
        // An error means that there is one already.
        let _ = self.shared().audit.set(key);
    }

    /// The wait for a connection, in a trace.
    fn waiting(&self) -> Step {
        steps::connection(match self {
            Self::Postgres(_) => POSTGRESQL,
            Self::Sqlite { .. } => SQLITE,
        })
    }

    /// A connection for single statements that only read.
    pub async fn read(&self) -> Result<Conn> {
        let _waiting = self.waiting();
        match self {
            Self::Postgres(store) => store.acquire().await,
            Self::Sqlite { readers, file, .. } => {
                let conn = readers.acquire().await.map_err(store_error)?;
                Ok(Conn::sqlite(conn, Arc::clone(&file.shared)))
            }
        }
    }

    /// A connection for statements outside of a unit of work, on the pool that sees every commit at once: for writing, and
    /// for reading what was just written.
    pub async fn write(&self) -> Result<Conn> {
        let _waiting = self.waiting();
        match self {
            Self::Postgres(store) => store.acquire().await,
            Self::Sqlite { writer, file, .. } => file.acquire(writer).await,
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

    /// Whether the database takes writes, as far as it is known without a write. Where writes failed, one is attempted.
    ///
    /// # Errors
    /// `StoreUnavailable` when it does not answer at all.
    pub async fn takes_writes(&self) -> Result<bool> {
        let health = &self.shared().health;
        match self {
            Self::Postgres(_) => {
                // A connection that was opened before a failover may be the only one that takes no writes.
                if self.is_read_only().await? && self.is_read_only().await? {
                    return Ok(false);
                }
                health.attempt(self.try_write()).await;
            }
            Self::Sqlite { file, .. } => {
                self.ping().await?;
                if file.has_little_space() {
                    health.note(super::failure::Verdict::Disk);
                }
                let write = async {
                    file.try_disk().await.map_err(Error::internal)?;
                    self.try_write().await
                };
                health.attempt(write).await;
            }
        }
        Ok(!health.is_failing())
    }

    async fn is_read_only(&self) -> Result<bool> {
        const SQL: &str = "select current_setting('transaction_read_only')";
        let mut conn = self.read().await?;
        let setting: String = on!(conn, sqlx::query_scalar(SQL), fetch_one)?;
        let is_read_only = setting == "on";
        if is_read_only {
            self.shared().health.note(super::failure::Verdict::ReadOnly);
            conn.close();
        }
        Ok(is_read_only)
    }

    async fn try_write(&self) -> Result<()> {
        let mut conn = self.begin().await?;
        conn.pass_guard("registrations").await?;
        conn.commit().await
    }

    /// Marks this process as the server of the database, for as long as what is returned lives. `None` when another process
    /// is marked; only of a SQLite file there is one server.
    pub fn claim(&self) -> Option<ServerMark> {
        match self {
            Self::Postgres(_) => Some(ServerMark::default()),
            Self::Sqlite { file, .. } => file.claim(),
        }
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
            Self::Postgres(store) => {
                let mut conn = store.acquire().await?;
                // What comes before the statement does not count.
                conn.enter().await?;
                let reading = Reading::begin();
                let now = on!(conn, sqlx::query_scalar("select clock_timestamp()"), fetch_one)?;
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

/// Whether waiting may help: not where the server refuses the log-in, has no such database, or does not offer TLS.
fn passes(error: &Error) -> bool {
    matches!(error, Error::StoreUnavailable(_))
        && !is_tls(error)
        && code_of(error).is_none_or(|code| !code.starts_with("28") && code != "3D000")
}
