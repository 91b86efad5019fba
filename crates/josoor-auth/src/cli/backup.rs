//! `josoor-auth backup` and `restore`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::output::{Failure, Outcome, confirm, note, pretty, print, user_error};
use crate::app::App;
use crate::backup::{self, Backup, Manifest, Occasion, Settled};
use crate::clock::Clock;
use crate::config::{Config, Database};
use crate::error::Error;
use crate::keys::{backup_key, unlock};
use crate::redis::{ConnectionSettings, Redis};
use crate::store::{Db, backup as copies, unknown_migrations};
use crate::telemetry;

/// What these commands log: not that statements over whole tables take their time.
const LOGGED: &str = "warn,sqlx=error";

/// How long Redis is waited for.
const REDIS_WAIT: Duration = Duration::from_secs(5);

#[derive(Args)]
pub(super) struct BackupArguments {
    /// The file to write; a backup that is there is replaced
    file: PathBuf,
    /// Prints the manifest, in JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct RestoreArguments {
    /// A file that `backup` wrote
    file: PathBuf,
    /// Only checks the backup against these settings, and prints what is in it
    #[arg(long)]
    check: bool,
    /// Does not ask before it replaces what is there
    #[arg(long, conflicts_with = "check")]
    yes: bool,
}

pub(super) async fn back_up(config: Config, arguments: BackupArguments) -> Outcome {
    telemetry::init(telemetry::LogFormat::Text, LOGGED).map_err(Error::Internal)?;
    let key = backup_key(&config)?;
    if let Database::Sqlite { path } = &config.database.url
        && !path.exists()
    {
        return Err(user_error(format!("there is no database at {}", path.display())));
    }
    let db = Db::open(&config.database).await?;
    let made = async {
        let clock = db.clock(Clock::System).await?;
        let applied = db.applied_migrations().await?;
        let (missing, unknown) = (db.pending_migrations().await?, unknown_migrations(&applied));
        if missing > 0 || !unknown.is_empty() {
            return Err(Error::Internal(anyhow::anyhow!(
                "the database is of another version of JOSOOR Auth; make the backup with that version's program"
            )));
        }
        let unlocked = unlock(&config, &db).await?;
        db.sign_audit_with(unlocked.audit_key());
        let now = clock.now();
        backup::make(&config, &db, &key, &arguments.file, Occasion::Command, now).await
    };
    let made = made.await;
    db.close().await;
    let made = made?;
    if arguments.json {
        return print(&pretty(&made.manifest));
    }
    print(&format!(
        "{} ({} KiB)\n{}",
        arguments.file.display(),
        made.bytes.div_ceil(1024),
        describe(&made.manifest)
    ))?;
    note("The master key is not in it: keep that apart, and keep both.");
    Ok(())
}

fn describe(manifest: &Manifest) -> String {
    format!(
        "made        {} by version {}, {}\nusers       {}\naudit head  {}\nmaster key  {} (its fingerprint)",
        manifest.created_at,
        manifest.version,
        manifest.engine,
        manifest.rows("users"),
        manifest.audit_head.as_deref().unwrap_or("none"),
        manifest.key_fingerprint,
    )
}

pub(super) async fn restore(config: Config, arguments: RestoreArguments) -> Outcome {
    telemetry::init(telemetry::LogFormat::Text, LOGGED).map_err(Error::Internal)?;
    let key = backup_key(&config)?;
    let backup = Backup::open(&arguments.file, &key, &config)?;
    if arguments.check {
        return print(&describe(&backup.manifest));
    }
    if !arguments.yes && is_something_there(&config).await? {
        note(&describe(&backup.manifest));
        confirm(
            "This replaces every account, session and audit row that is there.",
            false,
        )?;
    }
    // What is in Redis is of the database that goes: it must be removed, so Redis must be there.
    let redis = match &config.redis.url {
        None => None,
        Some(target) => {
            let settings = ConnectionSettings::new(target.url.clone(), config.redis.prefix.clone());
            let settings = settings.map_err(Error::internal)?;
            let redis = Redis::connect(settings).map_err(Error::internal)?;
            if !redis.wait_connected(REDIS_WAIT).await {
                return Err(user_error(
                    "Redis cannot be reached, and it holds copies of sessions that must go with the database; nothing was changed. \
                     `josoor-auth doctor` examines it",
                ));
            }
            Some(redis)
        }
    };
    let (settled, kept) = match &config.database.url {
        Database::Sqlite { path } => restore_sqlite(&config, &backup, path).await?,
        Database::Postgres { .. } => (restore_postgres(&config, &backup).await?, None),
    };
    if let Some(redis) = redis {
        let removed = redis.remove_all().await.map_err(|error| {
            user_error(format!(
                "the database is restored, but Redis is not emptied: {error}. Remove this service's keys before any node starts: \
                 restore once more, or follow docs/start/two-nodes.md, \"Empty Redis\""
            ))
        })?;
        note(&format!("{removed} keys were removed from Redis"));
    }
    for finding in &settled.findings {
        note(&format!("the audit trail in the backup: {finding}"));
    }
    if let Some(kept) = kept {
        note(&format!("the database that was there is now {}", kept.display()));
    }
    print(&format!(
        "restored: {} users; {} sessions revoked, so that all users sign in again",
        backup.manifest.rows("users"),
        settled.sessions
    ))
}

/// Whether there is a database that a backup would replace.
async fn is_something_there(config: &Config) -> Outcome<bool> {
    if let Database::Sqlite { path } = &config.database.url {
        return Ok(path.exists());
    }
    let db = Db::open(&config.database).await?;
    let applied = db.applied_migrations().await;
    db.close().await;
    Ok(!applied?.is_empty())
}

/// Brings the backup up in its place beside, with this version's migrations.
async fn settle(config: &Config, backup: &Backup) -> Outcome<Settled> {
    let app = App::open(config.clone(), Clock::System).await?;
    let settled = backup::settle(&app, &backup.manifest).await;
    app.close().await;
    Ok(settled?)
}

const STOP_IT: &str = "the service is running on this database; stop every node first";

async fn restore_sqlite(
    config: &Config,
    backup: &Backup,
    path: &Path,
) -> Outcome<(Settled, Option<PathBuf>)> {
    // Held until the end, so that no server starts on the old file meanwhile.
    let mark = if path.exists() {
        Some(copies::claim_file(path).ok_or_else(|| user_error(STOP_IT))?)
    } else {
        None
    };
    let staged_config = backup::staged_config(config);
    let Database::Sqlite { path: staged } = staged_config.database.url.clone() else {
        return Err(user_error("the settings do not lead to a file"));
    };
    let restored = async {
        backup.extract(&staged).await?;
        let settled = settle(&staged_config, backup).await?;
        let kept = backup.replace_file(&staged, path).await?;
        Ok::<_, Failure>((settled, kept))
    };
    let restored = restored.await;
    backup::remove_database(&staged);
    drop(mark);
    restored
}

async fn restore_postgres(config: &Config, backup: &Backup) -> Outcome<Settled> {
    let db = Db::open(&config.database).await?;
    let restored = async {
        if db.is_in_use().await? {
            return Err(user_error(STOP_IT));
        }
        let unknown = unknown_migrations(&db.applied_migrations().await?);
        if !unknown.is_empty() {
            return Err(user_error(
                "the database was made by a newer version of JOSOOR Auth; restore with that version",
            ));
        }
        let staged_config = backup::staged_config(config);
        backup.fill_stage(&staged_config.database).await?;
        let settled = settle(&staged_config, backup).await?;
        db.migrate(&config.database.schema).await?;
        db.replace_from_stage(&config.database.schema).await?;
        Ok(settled)
    };
    let restored = restored.await;
    if restored.is_err() {
        // What is left of it hinders nothing; the next restore removes it, too.
        let _ = db.drop_stage().await;
    }
    db.close().await;
    restored
}
