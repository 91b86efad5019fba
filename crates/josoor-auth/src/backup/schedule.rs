//! Backups by themselves, of the embedded footprint: which are there, when the next is due, and which go.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::make::{Made, Occasion, make};
use crate::app::App;
use crate::config::{BackupConfig, Database};
use crate::domain::Timestamp;
use crate::error::{Error, Result};
use crate::keys::backup_key;

/// Names of such backups: `josoor-auth-20260131T235959Z.backup`. Others in the folder are left alone.
const PREFIX: &str = "josoor-auth-";
const SUFFIX: &str = ".backup";

/// Where they are written: the folder of the settings, or `backups` beside the database.
pub fn folder(config: &BackupConfig, database: &Database) -> Option<PathBuf> {
    match (&config.directory, database) {
        (Some(folder), _) => Some(folder.clone()),
        (None, Database::Sqlite { path }) => Some(path.with_file_name("backups")),
        (None, Database::Postgres { .. }) => None,
    }
}

/// The backups in a folder, the oldest first, each with the time at which it was finished.
fn backups_in(folder: &Path) -> io::Result<Vec<(PathBuf, SystemTime)>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let stamp = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
        let is_stamp = |text: &str| {
            text.len() == 16
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || b"TZ".contains(&byte))
        };
        if stamp.is_some_and(is_stamp) {
            found.push((entry.path(), entry.metadata()?.modified()?));
        }
    }
    // The names sort by their times.
    found.sort();
    Ok(found)
}

/// When the latest backup was finished; `None` when there is none, or the folder cannot be read.
pub fn latest(folder: &Path) -> Option<SystemTime> {
    backups_in(folder).ok()?.last().map(|(_, at)| *at)
}

/// A time as the file system has it.
pub fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(at.as_micros()).unwrap_or(0))
}

/// How long it is until the next backup is due.
pub fn due_in(latest: Option<SystemTime>, now: SystemTime, every: Duration) -> Duration {
    // A time in the future is that of a clock that was wrong.
    let age = latest.and_then(|latest| now.duration_since(latest).ok());
    age.map_or(Duration::ZERO, |age| every.saturating_sub(age))
}

/// Makes a backup in the folder and removes the oldest, so that `keep` are left.
///
/// # Errors
/// As of [`make`]; `Internal` when the folder cannot be made or read. No old one is removed then.
pub async fn make_next(app: &App, folder: &Path) -> Result<Made> {
    use std::os::unix::fs::DirBuilderExt as _;

    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| in_folder(folder, error))?;
    let now = app.clock.now();
    let stamp: String = now
        .to_string()
        .chars()
        .take("2026-01-31T23:59:59".len())
        .filter(|character| !matches!(character, '-' | ':'))
        .collect();
    let file = folder.join(format!("{PREFIX}{stamp}Z{SUFFIX}"));
    let key = backup_key(&app.config)?;
    let made = make(&app.config, &app.db, &key, &file, Occasion::Schedule, now).await?;
    let keep = app.config.backup.keep;
    let backups = backups_in(folder).map_err(|error| in_folder(folder, error))?;
    for (old, _) in backups.iter().take(backups.len().saturating_sub(keep)) {
        std::fs::remove_file(old).map_err(|error| in_folder(old, error))?;
    }
    Ok(made)
}

fn in_folder(folder: &Path, error: io::Error) -> Error {
    Error::Internal(anyhow::Error::new(error).context(folder.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_one_is_due_when_the_latest_is_old_enough() {
        let hour = Duration::from_hours(1);
        let now = SystemTime::UNIX_EPOCH + hour * 1000;
        assert_eq!(due_in(None, now, hour), Duration::ZERO);
        assert_eq!(due_in(Some(now - hour / 4), now, hour), hour * 3 / 4);
        assert_eq!(due_in(Some(now - hour * 3), now, hour), Duration::ZERO);
        assert_eq!(due_in(Some(now + hour), now, hour), Duration::ZERO);
    }

    #[test]
    fn only_files_with_such_names_count() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(backups_in(&folder.path().join("none")).expect("read").is_empty());
        for name in [
            "josoor-auth-20260131T235959Z.backup",
            "josoor-auth-20250131T235959Z.backup",
            "josoor-auth-20260131T235959Z.backup.tmp",
            "josoor-auth-mine.backup",
            "auth.db",
        ] {
            std::fs::write(folder.path().join(name), "").expect("written");
        }
        let names: Vec<_> = backups_in(folder.path())
            .expect("read")
            .into_iter()
            .map(|(path, _)| path.file_name().expect("a name").to_string_lossy().into_owned())
            .collect();
        assert_eq!(
            names,
            [
                "josoor-auth-20250131T235959Z.backup",
                "josoor-auth-20260131T235959Z.backup"
            ]
        );
    }
}
