//! Restoring a backup: it is checked whole, brought up in a place beside, checked there, and put in place at the end.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::archive::Reader;
use super::make::{SQLITE_FILE, on_files, private, sync_folder, table_file};
use super::manifest::{FORMAT, Manifest};
use crate::act::Client;
use crate::app::App;
use crate::audit;
use crate::config::{Config, Database, DatabaseConfig};
use crate::domain::{Audit, RevokeReason};
use crate::error::{Error, Result};
use crate::keys::BackupKey;
use crate::store::backup::{
    STAGE, describe_sqlite, last_user_of, make_single_file, reserve_users, take_offline,
};
use crate::store::{Db, NewAudit, unknown_migrations};

/// Disk space beyond two copies of the database: migrations write, too.
const SPARE: u64 = 16 << 20;

/// A backup that was read through and is whole.
pub struct Backup {
    path: PathBuf,
    reader: Reader,
    /// What it says of itself.
    pub manifest: Manifest,
}

impl std::fmt::Debug for Backup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backup")
            .field("manifest", &self.manifest)
            .finish_non_exhaustive()
    }
}

fn refused(text: impl Into<String>) -> Error {
    Error::Internal(anyhow::anyhow!(text.into()))
}

impl Backup {
    /// Reads a backup through.
    ///
    /// # Errors
    /// `Internal`: it is damaged or no backup, was changed, was made under another master key, by a newer version, or for the other
    /// engine.
    pub fn open(path: &Path, key: &BackupKey, config: &Config) -> Result<Self> {
        let reader = Reader::open(path).map_err(|error| {
            let is_unread = matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory
            );
            let what = if is_unread {
                "cannot be read"
            } else {
                "is not a whole backup"
            };
            Error::Internal(anyhow::Error::new(error).context(format!("{} {what}", path.display())))
        })?;
        let manifest: Manifest = serde_json::from_slice(&reader.manifest).map_err(|error| {
            refused(format!(
                "the manifest in {} cannot be read: {error}",
                path.display()
            ))
        })?;
        // Before the code: a backup under another key differs from one that was changed.
        if manifest.key_fingerprint != key.fingerprint() {
            return Err(refused(format!(
                "{} was made under another master key (fingerprint {}; this one's is {}). Give the one that belongs to it: MASTER_KEY, or \
                 the file master.key beside the database",
                path.display(),
                manifest.key_fingerprint,
                key.fingerprint()
            )));
        }
        if !key.verify(&reader.manifest, &reader.code) {
            return Err(refused(format!(
                "the manifest in {} was changed since it was made; take another backup",
                path.display()
            )));
        }
        let found: Vec<_> = reader.files.iter().map(|placed| &placed.entry).collect();
        if found != manifest.files.iter().collect::<Vec<_>>() {
            return Err(refused(format!(
                "{} is damaged: what is in it is not what its manifest says; take another backup",
                path.display()
            )));
        }
        let backup = Self {
            path: path.to_owned(),
            reader,
            manifest,
        };
        backup.check(config)?;
        Ok(backup)
    }

    fn check(&self, config: &Config) -> Result<()> {
        let Manifest {
            format,
            version,
            engine,
            migrations,
            ..
        } = &self.manifest;
        let unknown = unknown_migrations(migrations);
        if *format != FORMAT || !unknown.is_empty() {
            return Err(refused(format!(
                "the backup was made by version {version}, which is newer than this one ({}); restore it with that version or a later one",
                env!("CARGO_PKG_VERSION")
            )));
        }
        let wanted = if config.database.url.is_sqlite() {
            "SQLite"
        } else {
            "PostgreSQL"
        };
        if engine != wanted {
            return Err(refused(format!(
                "the backup is of {engine}, and DATABASE_URL leads to {wanted}; `josoor-auth user export` and `import` move accounts from \
                 one to the other"
            )));
        }
        Ok(())
    }

    /// Puts the SQLite database of the backup at `staged`, and checks it.
    ///
    /// # Errors
    /// `Internal` when there is no space, or it is not what the manifest says.
    pub async fn extract(&self, staged: &Path) -> Result<()> {
        let bytes = self.manifest.files.iter().map(|file| file.bytes).sum::<u64>();
        let needed = bytes * 2 + SPARE;
        let folder = match staged.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        make_private_folder(&folder).map_err(|error| not_written(&folder, error))?;
        if let Ok(disk) = rustix::fs::statvfs(&folder) {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            if free < needed {
                return Err(refused(format!(
                    "{} has {} MiB free, and {} MiB are needed; nothing was changed",
                    folder.display(),
                    free >> 20,
                    needed >> 20
                )));
            }
        }
        remove_database(staged);
        let (mut from, to) = (
            self.reader
                .open_file(&self.path, SQLITE_FILE)
                .map_err(|error| not_written(staged, error))?,
            staged.to_owned(),
        );
        let extracted = on_files(move || {
            let mut file = private(&to, true)?;
            io::copy(&mut from, &mut file)?;
            file.sync_all()
        });
        extracted.await.map_err(|error| not_written(staged, error))?;
        let found = describe_sqlite(staged).await?;
        if found.tables != self.manifest.tables || found.migrations != self.manifest.migrations {
            return Err(refused(
                "the database in the backup is not what its manifest says",
            ));
        }
        Ok(())
    }

    /// Puts the rows of the backup into the schema [`STAGE`] of PostgreSQL. `staged` are the settings with that schema.
    ///
    /// # Errors
    /// `StoreUnavailable`; `Internal` when the rows do not fit.
    pub async fn fill_stage(&self, staged: &DatabaseConfig) -> Result<()> {
        let db = Db::open(staged).await?;
        let mut source = |table: &str| {
            let rows = self.reader.open_file(&self.path, &table_file(table))?;
            Ok(Box::new(rows) as Box<dyn io::Read + Send>)
        };
        let filled = db.fill_stage(&self.manifest.copied(), &mut source).await;
        db.close().await;
        filled
    }

    /// Puts a staged SQLite file in place. The file that was there is kept under the name that is returned.
    ///
    /// # Errors
    /// `Internal` when another program has one of them open, or they cannot be renamed; then nothing was changed.
    pub async fn replace_file(&self, staged: &Path, path: &Path) -> Result<Option<PathBuf>> {
        make_single_file(staged).await?;
        let mut kept = None;
        if path.exists() {
            take_offline(path).await?;
            // An id that was given since the backup may stand in tables of other programs.
            if let Ok(last) = last_user_of(path).await {
                reserve_users(staged, last).await?;
                make_single_file(staged).await?;
            }
            let name = self.manifest.created_at.to_string().replace(':', "");
            kept = Some(beside(path, &format!(".replaced-by-{name}")));
        }
        let put = || {
            File::open(staged)?.sync_all()?;
            if let Some(aside) = &kept {
                // The log of a damaged database would be applied to the one that takes its place.
                for suffix in ["-wal", "-shm", "-journal"] {
                    if beside(path, suffix).exists() {
                        std::fs::rename(beside(path, suffix), beside(aside, suffix))?;
                    }
                }
                let _ = std::fs::remove_file(aside);
                // Linked, so that at no moment there is no database; where that cannot be done, renamed.
                if std::fs::hard_link(path, aside).is_err() {
                    std::fs::rename(path, aside)?;
                }
            }
            std::fs::rename(staged, path)?;
            sync_folder(path)
        };
        put().map_err(|error| not_written(path, error))?;
        Ok(kept)
    }
}

/// The settings that lead to the place in which a backup is checked. Redis is left alone until the backup is in place.
pub fn staged_config(config: &Config) -> Config {
    let mut staged = config.clone();
    staged.redis.url = None;
    match &mut staged.database.url {
        // In the same folder: on the same disk, beside the same master key.
        Database::Sqlite { path } => *path = beside(path, "-restore"),
        Database::Postgres { .. } => STAGE.clone_into(&mut staged.database.schema),
    }
    staged
}

/// What was found and done in a database that was brought up from a backup.
#[derive(Clone, Debug)]
pub struct Settled {
    /// Sessions that were live in the backup, and are revoked.
    pub sessions: u64,
    /// What is wrong with the audit trail; empty when nothing is.
    pub findings: Vec<String>,
}

/// Checks the audit trail up to the head of the manifest, revokes every session and records the restore.
///
/// # Errors
/// `StoreUnavailable`.
pub async fn settle(app: &App, manifest: &Manifest) -> Result<Settled> {
    let head = manifest.audit_head.as_deref().and_then(audit::parse_head);
    let report = audit::verify(app, head.as_ref()).await?;
    let mut act = app.act(&Client::default()).await?;
    let sessions = act
        .tx
        .revoke_every_session(RevokeReason::RevokedByAdmin, act.now)
        .await?;
    let text = format!(
        "backup of {} (head {}); {sessions} sessions revoked",
        manifest.created_at,
        manifest.audit_head.as_deref().unwrap_or("none")
    );
    let row = NewAudit {
        reason: Some(&text),
        ..act.client.audit(Audit::Restore, act.now)
    };
    act.tx.insert_audit(&row).await?;
    act.commit().await?;
    audit::seal(app).await?;
    Ok(Settled {
        sessions,
        findings: report.findings,
    })
}

/// Removes a database file with what SQLite keeps beside it.
pub fn remove_database(path: &Path) {
    for suffix in ["", "-wal", "-shm", "-journal", "-server"] {
        // Most are not there.
        let _ = std::fs::remove_file(beside(path, suffix));
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn make_private_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;

    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

fn not_written(path: &Path, error: io::Error) -> Error {
    Error::Internal(anyhow::Error::new(error).context(format!("{}; nothing was changed", path.display())))
}
