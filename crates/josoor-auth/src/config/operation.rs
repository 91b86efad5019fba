//! `[audit]`, `[backup]`, `[metrics]` and `[log]`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use url::Url;

use super::raw::{Parsed, Raw, refused, shown};
use super::reader::Reader;
use super::urls::is_this_machine;
use super::values::{self, DAY, SECOND, TEN_YEARS, optional, text};
use crate::domain::Secret;

const MINUTE: Duration = Duration::from_mins(1);

/// `[audit]`
#[derive(Clone, Debug)]
pub struct AuditConfig {
    /// How long audit rows are kept.
    pub retention: Duration,
    /// How long nothing may have been seen of nodes that write audit rows without a code, before such rows are refused;
    /// `None`: they are accepted until an operator says otherwise.
    pub mac_required_after: Option<Duration>,
    /// Where sealed rows are sent as syslog messages.
    pub syslog: Option<StreamTarget>,
    /// Where sealed rows are posted.
    pub webhook: Option<WebhookConfig>,
}

/// A peer that audit rows are sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamTarget {
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether the connection is TLS, with the peer's certificate verified.
    pub is_tls: bool,
}

/// A webhook and the key of its signatures.
#[derive(Clone, Debug)]
pub struct WebhookConfig {
    /// The peer.
    pub target: StreamTarget,
    /// Path and query.
    pub path: String,
    /// 24 to 64 bytes (Standard Webhooks).
    pub secret: Secret,
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
    pub(super) fn audit(&mut self) -> Option<AuditConfig> {
        let retention = self.duration("audit.retention", DAY, TEN_YEARS);
        let mac_required_after = self.read("audit.mac_required_after", |raw| {
            values::duration_or_never(raw, SECOND..=DAY)
        });
        let syslog = self.read("audit.syslog", |raw| optional(raw, syslog));
        let webhook = self.read("audit.webhook", |raw| optional(raw, webhook));
        let secret = self.read("audit.webhook_secret", |raw| optional(raw, webhook_secret));
        let webhook = match (webhook?, secret?) {
            (Some((target, path)), Some(secret)) => Some(WebhookConfig { target, path, secret }),
            (Some(_), None) => {
                self.problem(
                    "audit.webhook_secret",
                    "a webhook needs a key for its signatures",
                    "write whsec_ and the base64 of 24 to 64 random bytes, as of `openssl rand -base64 32`",
                );
                None
            }
            (None, _) => None,
        };
        Some(AuditConfig {
            retention: retention?,
            mac_required_after: mac_required_after?,
            syslog: syslog?,
            webhook,
        })
    }

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

/// `syslog+tls://host[:port]` or `syslog+tcp://host[:port]`.
fn syslog(raw: &Raw) -> Parsed<StreamTarget> {
    const REMEDY: &str =
        "write syslog+tls://host[:6514] or, for a receiver on this machine, syslog+tcp://host[:601]";
    let url = Url::parse(text(raw)?).ok();
    let parts = url.as_ref().and_then(|url| {
        let is_tls = match url.scheme() {
            "syslog+tls" => true,
            "syslog+tcp" => false,
            _ => return None,
        };
        let is_plain = matches!(url.path(), "" | "/") && url.query().is_none() && url.username().is_empty();
        let host = url.host_str().filter(|host| is_plain && !host.is_empty())?;
        Some((
            host,
            url.port().unwrap_or(if is_tls { 6514 } else { 601 }),
            is_tls,
        ))
    });
    let Some((host, port, is_tls)) = parts else {
        return refused("this is not the address of a syslog receiver", REMEDY);
    };
    let target = target(host, port, is_tls);
    if !is_tls && !is_this_machine(&target.host) {
        return refused("audit rows would cross the network in the clear", REMEDY);
    }
    Ok(target)
}

/// An `https` URL; `http` of this machine only.
fn webhook(raw: &Raw) -> Parsed<(StreamTarget, String)> {
    const REMEDY: &str = "write https://host/path, without a user or a fragment";
    let url = Url::parse(text(raw)?).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.fragment().is_none()
    });
    let parts = url
        .as_ref()
        .and_then(|url| Some((url, url.host_str()?, url.port_or_known_default()?)));
    let Some((url, host, port)) = parts else {
        return refused("this is not a URL that can be posted to", REMEDY);
    };
    let target = target(host, port, url.scheme() == "https");
    if !target.is_tls && !is_this_machine(&target.host) {
        return refused("audit rows would cross the network in the clear", REMEDY);
    }
    let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
    Ok((target, format!("{}{query}", url.path())))
}

fn target(host: &str, port: u16, is_tls: bool) -> StreamTarget {
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    StreamTarget { host, port, is_tls }
}

fn webhook_secret(raw: &Raw) -> Parsed<Secret> {
    let given = text(raw)?;
    let bytes = given
        .strip_prefix("whsec_")
        .and_then(|key| base64::engine::general_purpose::STANDARD.decode(key).ok());
    match bytes {
        Some(bytes) if (24..=64).contains(&bytes.len()) => Ok(Secret::new(given)),
        _ => refused(
            "this is not a key of Standard Webhooks",
            "write whsec_ and the base64 of 24 to 64 random bytes, as of `openssl rand -base64 32`",
        ),
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
