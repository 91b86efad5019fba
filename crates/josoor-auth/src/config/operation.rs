//! `[audit]`, `[backup]`, `[metrics]` and `[log]`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::raw::{Parsed, Raw, refused, shown};
use super::reader::Reader;
use super::values::{self, DAY, optional, text};

const MINUTE: Duration = Duration::from_mins(1);

/// `[audit]`
#[derive(Clone, Copy, Debug)]
pub struct AuditConfig {
    /// How long audit rows are kept.
    pub retention: Duration,
    /// How long nothing may have been seen of nodes that write audit rows without a code, before such rows are refused;
    /// `None`: they are accepted until an operator says otherwise.
    pub mac_required_after: Option<Duration>,
}

/// `[backup]`: backups that the service makes by itself, of a SQLite database.
#[derive(Clone, Debug)]
pub struct BackupConfig {
    /// How often; `None`: never.
    pub every: Option<Duration>,
    /// Where to; `None`: a folder beside the database.
    pub directory: Option<PathBuf>,
    /// How many are kept, one at least.
    pub keep: usize,
}

/// `[metrics]`
#[derive(Clone, Copy, Debug)]
pub struct MetricsConfig {
    /// A listener of its own; `None`: there is none, and under `serve --dev` the figures are on the main one.
    pub bind: Option<SocketAddr>,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
    /// Text on a terminal, else JSON.
    Auto,
}

/// `[log]`
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// How lines are written.
    pub format: LogFormat,
    /// What is logged: directives that `tracing_subscriber::EnvFilter` has parsed once already.
    pub level: String,
}

impl Reader<'_> {
    pub(super) fn backup(&mut self, is_postgres: bool) -> Option<BackupConfig> {
        let every = self.read("backup.every", |raw| {
            values::duration_or_never(raw, MINUTE..=DAY * 365)
        });
        let directory = self.read("backup.directory", |raw| optional(raw, values::path));
        let keep = self.read("backup.keep", |raw| values::whole(raw, 1..=10_000));
        if is_postgres && every.is_some_and(|every| every.is_some()) {
            self.problem(
                "backup.every",
                "the service makes backups by itself of a SQLite database only",
                "leave it out; let a timer run `josoor-auth backup`, or use PostgreSQL's continuous archiving",
            );
        }
        Some(BackupConfig {
            every: every?,
            directory: directory?,
            keep: keep?,
        })
    }

    pub(super) fn log(&mut self) -> Option<LogConfig> {
        let format = self.read("log.format", values::variant);
        let level = self.read("log.level", log_level);
        Some(LogConfig {
            format: format?,
            level: level?,
        })
    }
}

/// The directives of what is logged.
fn log_level(raw: &Raw) -> Parsed<String> {
    const REMEDY: &str =
        "write error, warn, info, debug, trace or off, also by module, such as info,josoor_auth=debug";
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let given = text(raw)?;
    if given.len() > 4096 {
        return refused("this is too long", REMEDY);
    }
    // A lone word that is no level counts as a module's name, and would silence everything else unnoticed.
    let stray = given
        .split(',')
        .map(str::trim)
        .find(|word| !word.contains('=') && !LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level)));
    let is_stray = !given.contains(['[', '{']) && stray.is_some();
    if is_stray || tracing_subscriber::EnvFilter::builder().parse(given).is_err() {
        return refused(format!("{:?} does not say what to log", shown(given)), REMEDY);
    }
    Ok(given.to_owned())
}
