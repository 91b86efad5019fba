//! The SQLite file: opening it, and what one can know of its disk and of other programs that use it.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Sqlite, SqlitePool};
use tokio::io::AsyncWriteExt as _;
use tokio::signal::unix::{SignalKind, signal};

use super::conn::{Conn, Shared};
use super::failure::{Failure, store_error};
use crate::config::DatabaseConfig;
use crate::error::{Error, Result};

/// How long writers queue for the one connection while writes go on; while another program has locked the file, it is
/// `database.acquire_timeout`.
const WRITER_TIMEOUT: Duration = Duration::from_secs(5);

/// With less than this on its disk, it is tried whether the database still takes writes.
const LITTLE_SPACE: u64 = 1 << 20;

/// How often a file that is locked is tried for at the start, each time for `database.acquire_timeout`.
const OPEN_TRIES: u32 = 10;

/// What has to fit on the disk for writes to count as possible again: about what a request writes, and more.
const TRIED_BYTES: usize = 128 << 10;

/// A new file changes to WAL under a lock for which SQLite does not wait: of several processes that open it first at the same
/// moment, all but one fail because it is locked.
const WAL_TRIES: u32 = 50;

/// The pool of readers, that of the one writer, and the file.
pub(super) async fn open(
    path: &Path,
    config: &DatabaseConfig,
) -> Result<(SqlitePool, SqlitePool, SqliteFile)> {
    // A limit of file sizes (`ulimit -f`) would end the process; with a handler, the write fails as on a full disk.
    let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()));
    create_private_file(path)
        .map_err(|cause| Error::unavailable(cause.context(format!("cannot open {}", path.display()))))?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        // An acknowledged commit survives a power cut.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(config.acquire_timeout);
    // Open until the writer has its own connection, so that what it has recovered is not recovered again.
    let first = connect_first(&options)
        .await
        .map_err(|error| in_file(path, error))?;
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(WRITER_TIMEOUT)
        .connect_with(options.clone())
        .await
        .map_err(|error| in_file(path, store_error(error)))?;
    drop(first);
    let readers = SqlitePoolOptions::new()
        .max_connections(config.max_connections)
        .acquire_timeout(config.acquire_timeout)
        // Pages that a reader does not keep are in the system's cache, which all of them share.
        .connect_lazy_with(options.read_only(true).pragma("cache_size", "-512"));
    let file = SqliteFile {
        path: path.to_owned(),
        acquire_timeout: config.acquire_timeout,
        shared: Arc::default(),
    };
    Ok((readers, writer, file))
}

/// The first connection. After a crash it reads the whole write-ahead log, which holds all that a killed migration wrote: this takes
/// as long as it takes, and a limit would let no start succeed. Whether the file is a database at all is seen here.
async fn connect_first(options: &SqliteConnectOptions) -> Result<SqliteConnection> {
    let begun = Instant::now();
    let mut tries_left = OPEN_TRIES;
    loop {
        tries_left -= 1;
        let opened = async {
            let mut conn = options.connect().await?;
            let _: i64 = sqlx::query_scalar("select count(*) from sqlite_master")
                .fetch_one(&mut conn)
                .await?;
            Ok(conn)
        };
        match opened.await.map_err(store_error) {
            Ok(conn) => {
                if begun.elapsed() >= WRITER_TIMEOUT {
                    let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                    tracing::info!(
                        took_ms,
                        "the database was recovered after a crash, or another process had locked it"
                    );
                }
                return Ok(conn);
            }
            // Another process makes its tables, or recovers the file.
            Err(Error::StoreUnavailable(_)) if tries_left > 0 => {}
            Err(error) => return Err(error),
        }
    }
}

fn in_file(path: &Path, error: Error) -> Error {
    let place = |cause: anyhow::Error| match cause.downcast::<Failure>() {
        Ok(failure) => anyhow::Error::from(failure.about(&path.display().to_string())),
        Err(cause) => anyhow::anyhow!("{cause:#}: {}", path.display()),
    };
    match error {
        Error::StoreUnavailable(cause) => Error::unavailable(place(cause.into_cause())),
        Error::Internal(cause) => Error::Internal(place(cause)),
        other => other,
    }
}

/// What is known of the file.
#[derive(Clone, Debug)]
pub struct SqliteFile {
    path: PathBuf,
    acquire_timeout: Duration,
    pub(super) shared: Arc<Shared>,
}

impl SqliteFile {
    /// The one connection that writes.
    pub(super) async fn acquire(&self, writer: &SqlitePool) -> Result<Conn> {
        let mut waiting = pin!(writer.acquire());
        let acquired = loop {
            match tokio::time::timeout(self.acquire_timeout, &mut waiting).await {
                Ok(acquired) => break acquired,
                Err(_) if self.shared.health.is_locked() => {
                    return Err(Error::unavailable(anyhow::anyhow!(
                        "database is locked: another program writes to {}",
                        self.path.display()
                    )));
                }
                Err(_) => {}
            }
        };
        let conn: PoolConnection<Sqlite> = acquired.map_err(store_error)?;
        Ok(Conn::sqlite(conn, Arc::clone(&self.shared)))
    }

    /// Whether there is little space on the disk.
    pub(super) fn has_little_space(&self) -> bool {
        rustix::fs::statvfs(&self.path)
            .is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < LITTLE_SPACE)
    }

    /// Writes a file beside the database and removes it: whether the disk takes more than what SQLite overwrites.
    pub(super) async fn try_disk(&self) -> std::io::Result<()> {
        let path = beside(&self.path, "-disk-test");
        let write = async {
            let mut file = tokio::fs::File::create(&path).await?;
            file.write_all(&vec![0; TRIED_BYTES]).await?;
            file.sync_all().await
        };
        let written = write.await;
        let _ = tokio::fs::remove_file(&path).await;
        written
    }

    /// Marks this process as the server of the file, for as long as what is returned lives. `None` when another server has.
    pub(super) fn claim(&self) -> Option<ServerMark> {
        claim(&self.path)
    }
}

/// Marks this process as the server of a file.
pub(super) fn claim(path: &Path) -> Option<ServerMark> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let opened = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(beside(path, "-server"));
    // Where the system has no such locks, nothing is known.
    let Ok(file) = opened else {
        return Some(ServerMark(None));
    };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => None,
        Ok(()) | Err(TryLockError::Error(_)) => Some(ServerMark(Some(file))),
    }
}

/// The mark of a running server, which ends with the process however it ends.
#[derive(Debug, Default)]
pub struct ServerMark(
    #[expect(dead_code, reason = "the lock lives as long as the file is open")] Option<File>,
);

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Changes the file to a write-ahead log, in which readers and the writer do not wait for each other. It stays so.
pub(super) async fn use_wal(conn: &mut SqliteConnection) -> Result<()> {
    for last in (0..WAL_TRIES).rev() {
        let mode: sqlx::Result<String> = sqlx::query_scalar("pragma journal_mode = wal")
            .fetch_one(&mut *conn)
            .await;
        match mode.map_err(store_error) {
            Ok(_) => return Ok(()),
            Err(Error::StoreUnavailable(_)) if last > 0 => {}
            Err(error) => return Err(error),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
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
