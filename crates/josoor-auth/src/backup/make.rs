//! Making a backup.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::archive::{MANIFEST, MANIFEST_CODE, Reader, Writer};
use super::manifest::Manifest;
use crate::config::{Config, Database};
use crate::domain::{Audit, Timestamp};
use crate::error::{Error, Result};
use crate::keys::BackupKey;
use crate::store::backup::{Copied, Part, copy_sqlite, describe_sqlite};
use crate::store::{Db, NewAudit};

/// The name of a SQLite database in the archive.
pub(super) const SQLITE_FILE: &str = "database.sqlite";

/// The name of a table of PostgreSQL in the archive.
pub(super) fn table_file(table: &str) -> String {
    format!("{table}.csv")
}

/// Why a backup is made, for the audit trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Occasion {
    /// `josoor-auth backup`.
    Command,
    /// `backup.every`.
    Schedule,
}

/// A backup that was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Writes a backup of the database to a file, which only its owner can read, and records it in the audit trail. The service goes on
/// meanwhile. A backup that is there already is replaced once the new one is whole and on the disk.
///
/// # Errors
/// `StoreUnavailable`; `Internal` when the file cannot be written or is there and no backup, or the database is damaged. What was
/// there stays then.
pub async fn make(
    config: &Config,
    db: &Db,
    key: &BackupKey,
    file: &Path,
    occasion: Occasion,
    now: Timestamp,
) -> Result<Made> {
    if file.exists() && Reader::open(file).is_err() {
        return Err(Error::Internal(anyhow::anyhow!(
            "{} is there already and is no backup; choose another name",
            file.display()
        )));
    }
    let temporary = Temporary::new(file)?;
    let modified = u64::try_from(now.as_secs()).unwrap_or_default();
    let mut writer = Writer::new(temporary.create()?, modified);
    let (copied, mut writer) = match &config.database.url {
        Database::Sqlite { path } => {
            // SQLite writes into a file that is there; this one only its owner can read.
            temporary.create_database()?;
            copy_sqlite(path, &temporary.database).await?;
            let copied = describe_sqlite(&temporary.database).await?;
            let from = temporary.database.clone();
            let archived = on_files(move || {
                let mut database = File::open(&from)?;
                writer.begin(SQLITE_FILE)?;
                io::copy(&mut database, &mut writer)?;
                writer.end()?;
                Ok(writer)
            });
            let writer = archived.await;
            (copied, writer.map_err(|error| not_written(file, error))?)
        }
        Database::Postgres { .. } => {
            let copied = copy_tables(db, &config.database.schema, &mut writer).await?;
            (copied, writer)
        }
    };
    let files = writer.files().to_vec();
    let manifest = Manifest::new(&copied, db.engine(), key.fingerprint(), files, now);
    let text = serde_json::to_vec_pretty(&manifest).map_err(Error::internal)?;
    let code = key.sign(&text);
    let finished = on_files(move || {
        for (name, bytes) in [(MANIFEST, text.as_slice()), (MANIFEST_CODE, code.as_bytes())] {
            writer.begin(name)?;
            writer.write_all(bytes)?;
            writer.end()?;
        }
        writer.finish()?.metadata().map(|of| of.len())
    });
    let bytes = finished.await.map_err(|error| not_written(file, error))?;
    let row = NewAudit {
        reason: Some(occasion.into_str()),
        ..NewAudit::by_operator(Audit::Backup, now)
    };
    db.write().await?.insert_audit(&row).await?;
    temporary.keep()?;
    Ok(Made { manifest, bytes })
}

async fn copy_tables(db: &Db, schema: &str, writer: &mut Writer) -> Result<Copied> {
    let mut sink = |part: Part<'_>| match part {
        Part::Begin(table) => writer.begin(&table_file(table)),
        Part::Bytes(bytes) => writer.write_all(bytes),
        Part::End => writer.end(),
    };
    db.copy_out(schema, &mut sink).await
}

fn not_written(file: &Path, error: io::Error) -> Error {
    Error::Internal(anyhow::Error::new(error).context(format!("cannot write {}", file.display())))
}

/// The files that a backup is written to, which go with it unless it is kept.
struct Temporary {
    file: PathBuf,
    archive: PathBuf,
    database: PathBuf,
    /// Held so that no second backup writes to the same files.
    lock: File,
}

impl Temporary {
    fn new(file: &Path) -> Result<Self> {
        let beside = |suffix: &str| {
            let mut name = file.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        let archive = beside(".tmp");
        let lock = private(&archive, false).map_err(|error| not_written(file, error))?;
        lock.try_lock().map_err(|_| {
            Error::Internal(anyhow::anyhow!(
                "another backup is being written to {}",
                file.display()
            ))
        })?;
        Ok(Self {
            file: file.to_owned(),
            archive,
            database: beside(".tmp.db"),
            lock,
        })
    }

    /// The archive, empty.
    fn create(&self) -> Result<File> {
        let file = self.lock.try_clone().and_then(|file| {
            file.set_len(0)?;
            Ok(file)
        });
        file.map_err(|error| not_written(&self.file, error))
    }

    fn create_database(&self) -> Result<()> {
        let created = private(&self.database, true);
        created.map(drop).map_err(|error| not_written(&self.file, error))
    }

    fn keep(mut self) -> Result<()> {
        let archive = std::mem::take(&mut self.archive);
        let renamed = std::fs::rename(&archive, &self.file);
        if renamed.is_err() {
            self.archive = archive;
        }
        renamed
            .and_then(|()| sync_folder(&self.file))
            .map_err(|error| not_written(&self.file, error))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What is not there need not be removed: after `keep` the archive has its name.
        let _ = std::fs::remove_file(&self.database);
        let _ = std::fs::remove_file(&self.archive);
    }
}

/// Runs work on files that takes its time.
#[expect(
    clippy::disallowed_methods,
    reason = "reading and writing files is what the blocking pool is for"
)]
pub(super) async fn on_files<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// A file that only its owner can read.
pub(super) fn private(path: &Path, truncate: bool) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;

    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(truncate)
        .mode(0o600)
        .open(path)
}

/// Makes a new name in a folder lasting.
pub(super) fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}
