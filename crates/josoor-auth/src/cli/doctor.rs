//! `josoor-auth doctor`: checks what the service needs, from the machine of the service.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::mail;
use super::output::{Outcome, describe, pretty, print, user_error};
use crate::clock::Clock;
use crate::config::{Config, ConfigError, Database};
use crate::error::Error;
use crate::keys;
use crate::mail::Mailer;
use crate::passwords::Policy;
use crate::redis::{ConnectionSettings, examine as examine_redis};
use crate::store::{self, Db, OutboxState};
use crate::telemetry;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warning,
    Problem,
}

/// What was checked, what was found, and the remedy.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    level: Level,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

#[derive(Default)]
struct Report(Vec<Finding>);

impl Report {
    fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        self.0.push(Finding {
            check,
            level: Level::Ok,
            found: found.into(),
            remedy: None,
        });
    }

    fn warn(&mut self, check: &'static str, found: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Finding {
            check,
            level: Level::Warning,
            found: found.into(),
            remedy: Some(remedy.into()),
        });
    }

    fn problem(&mut self, check: &'static str, found: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Finding {
            check,
            level: Level::Problem,
            found: found.into(),
            remedy: Some(remedy.into()),
        });
    }
}

/// Runs every check and fails if one of them found a problem. Warnings do not fail it.
pub(super) async fn examine(config: Result<Config, ConfigError>, json: bool) -> Outcome {
    telemetry::init(telemetry::LogFormat::Text, "off").map_err(crate::error::Error::Internal)?;
    let mut report = Report::default();
    match config {
        Ok(config) => {
            check_settings(&config, &mut report);
            check_passwords(&config, &mut report);
            check_files(&config, &mut report);
            check_database(&config, &mut report).await;
            check_redis(&config, &mut report).await;
            check_mail(&config, &mut report).await;
            check_tracing(&config, &mut report).await;
            check_listener(&config, &mut report).await;
        }
        Err(error) => {
            for problem in &error.problems {
                report.problem(
                    "settings",
                    format!("{}: {}", problem.key, problem.message),
                    problem.remedy.clone(),
                );
            }
        }
    }
    show(&report, json)?;
    let problems = report
        .0
        .iter()
        .filter(|finding| finding.level == Level::Problem)
        .count();
    match problems {
        0 => Ok(()),
        1 => Err(user_error("1 problem found")),
        more => Err(user_error(format!("{more} problems found"))),
    }
}

fn show(report: &Report, json: bool) -> Outcome {
    if json {
        return print(&pretty(&report.0));
    }
    for finding in &report.0 {
        let mark = match finding.level {
            Level::Ok => "ok     ",
            Level::Warning => "warning",
            Level::Problem => "PROBLEM",
        };
        print(&format!("{mark}  {:<12} {}", finding.check, finding.found))?;
        if let Some(remedy) = &finding.remedy {
            print(&format!("{:22} -> {remedy}", ""))?;
        }
    }
    Ok(())
}

fn check_passwords(config: &Config, report: &mut Report) {
    let Some(file) = &config.password.breached_file else {
        return;
    };
    match Policy::open(config) {
        Ok(_) => report.ok("passwords", format!("{} is in use", file.display())),
        Err(error) => report.problem(
            "passwords",
            format!("{error:#}"),
            "correct password.breached_file or empty it; the service does not start with it",
        ),
    }
}

fn check_settings(config: &Config, report: &mut Report) {
    if config.warnings.is_empty() {
        report.ok("settings", "in order");
    }
    for warning in &config.warnings {
        report.warn(
            "settings",
            warning,
            "see `josoor-auth config show` for where the value comes from",
        );
    }
    let url = &config.server.public_url;
    if url.is_https() {
        report.ok("public URL", url.to_string());
    } else if url.is_loopback() {
        report.ok("public URL", format!("{url}: this machine only"));
    } else {
        report.problem(
            "public URL",
            format!("{url} is plain http: passwords and tokens cross the network readable"),
            "put a TLS proxy in front and set PUBLIC_URL to its https address",
        );
    }
    if url.is_https() && config.server.trusted_proxies.is_empty() && !config.server.bind.ip().is_loopback() {
        report.warn(
            "proxies",
            "no trusted proxy: every client has the proxy's address in sessions and in the audit trail",
            "set TRUSTED_PROXIES to the addresses of the TLS proxy",
        );
    }
    match &config.auth.jwt_secret {
        None => report.ok("JWT secret", "generated and kept in the database, encrypted"),
        Some(secret) => {
            let distinct = secret
                .expose()
                .bytes()
                .collect::<std::collections::BTreeSet<_>>()
                .len();
            if distinct < 12 {
                report.warn(
                    "JWT secret",
                    format!("only {distinct} different characters"),
                    "use a random one: openssl rand -base64 48",
                );
            } else {
                report.ok("JWT secret", "long enough, no known placeholder");
            }
        }
    }
    if config.keys.master_key.is_none() && !config.database.url.is_sqlite() {
        report.warn(
            "master key",
            "derived from JWT_SECRET: a holder of that secret and the database can read every stored key",
            "set MASTER_KEY; josoor-auth key generate prints one. Existing keys stay sealed with the derived one, so do this before the first start",
        );
    }
}

fn check_files(config: &Config, report: &mut Report) {
    let Database::Sqlite { path } = &config.database.url else {
        return;
    };
    if let Err((place, error)) = try_folder(path) {
        return report.problem(
            "files",
            format!("{error}: {}, where the database is or will be", place.display()),
            "let the folder belong to the user that the service runs as, and run this as that user",
        );
    }
    let key = keys::master_key_file(path);
    let mut files = vec![path.clone()];
    if config.keys.master_key.is_none() {
        files.push(key);
    }
    let mut sound = true;
    for file in files.iter().filter(|file| file.exists()) {
        sound &= check_mode(file, report);
    }
    if sound && path.exists() {
        report.ok("files", format!("{} is private", path.display()));
    } else if sound {
        report.ok("files", format!("{} can be created", path.display()));
    }
}

/// Whether files can be created in the folder of the database, or of it in the nearest folder above that is there: tried, because
/// permissions do not say it all.
fn try_folder(database: &Path) -> std::result::Result<(), (PathBuf, std::io::Error)> {
    let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty());
    let there = folder
        .unwrap_or(Path::new("."))
        .ancestors()
        .find(|folder| folder.exists())
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let file = there.join(format!(".josoor-auth-doctor-{}", std::process::id()));
    let created = std::fs::File::create_new(&file).and_then(|_| std::fs::remove_file(&file));
    created.map_err(|error| (there.to_owned(), error))
}

/// Whether only the owner can read the file.
fn check_mode(file: &Path, report: &mut Report) -> bool {
    match std::fs::metadata(file) {
        Ok(metadata) if !metadata.is_file() => {
            report.problem(
                "files",
                format!("{} is no file", file.display()),
                "name another one in DATABASE_URL",
            );
            false
        }
        Ok(metadata) => {
            let mode = metadata.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                report.problem(
                    "files",
                    format!(
                        "{} has mode {mode:03o}: others on this machine can read it",
                        file.display()
                    ),
                    format!("chmod 600 {}", file.display()),
                );
                return false;
            }
            true
        }
        Err(error) => {
            report.problem(
                "files",
                format!("{}: {error}", file.display()),
                "run this as the user that the service runs as",
            );
            false
        }
    }
}

/// A passkey is for one host or domain, for good.
async fn check_passkeys(config: &Config, db: &Db, report: &mut Report) {
    let here = &config.passkeys.rp_id;
    let elsewhere = async { db.read().await?.passkeys_elsewhere(here).await };
    for (domain, count) in elsewhere.await.unwrap_or_default() {
        let passkeys = if count == 1 {
            "1 passkey is".to_owned()
        } else {
            format!("{count} passkeys are")
        };
        report.warn(
            "passkeys",
            format!("{passkeys} for {domain} and of no use at {here}"),
            format!(
                "set passkeys.rp_id to {domain} if that is PUBLIC_URL's host or a domain above it; otherwise their owners sign in with \
                 password and recovery code, and add new ones"
            ),
        );
    }
}

/// What to do about a database that cannot be used.
fn remedy_of(config: &Config, error: &Error) -> &'static str {
    let usual = match config.database.url {
        Database::Sqlite { .. } => {
            "check DATABASE_URL, and that the file belongs to the user that the service runs as"
        }
        Database::Postgres { .. } => "check DATABASE_URL and that the server runs",
    };
    store::remedy(error).unwrap_or(usual)
}

async fn check_database(config: &Config, report: &mut Report) {
    if let Database::Sqlite { path } = &config.database.url
        && !path.exists()
    {
        return report.warn(
            "database",
            format!("{} is not there yet", path.display()),
            "the first start makes it",
        );
    }
    let db = match Db::open(&config.database).await {
        Ok(db) => db,
        Err(error) => {
            let remedy = remedy_of(config, &error);
            return report.problem("database", describe(error), remedy);
        }
    };
    let examined = async {
        db.ping().await?;
        db.examine(&config.database.schema).await
    };
    match examined.await {
        Err(error) => {
            let remedy = remedy_of(config, &error);
            return report.problem("database", describe(error), remedy);
        }
        Ok(objections) if objections.is_empty() => {
            let pooler = if db.is_pooled() {
                " through a pooler: each statement is in a transaction of its own"
            } else {
                ""
            };
            report.ok("database", format!("{} answers{pooler}", db.engine()));
        }
        Ok(objections) => {
            for objection in objections {
                report.problem("database", objection.found, objection.remedy);
            }
        }
    }
    if config.database.url.is_sqlite() && db.takes_writes().await.is_ok_and(|takes| !takes) {
        report.problem("database", "it takes no writes", "free space on its disk");
    }
    let applied = db.applied_migrations().await.unwrap_or_default();
    if let Err(error) = db.refuse_newer(&applied).await {
        return report.problem(
            "migrations",
            describe(error),
            "use the program of that version; josoor-auth --version names this one's",
        );
    }
    match db.pending_migrations().await {
        Ok(0) => report.ok("migrations", "none pending"),
        Ok(pending) => report.warn(
            "migrations",
            format!("{pending} pending"),
            "the next start applies them; josoor-auth migrate does it now",
        ),
        Err(error) => report.problem("migrations", describe(error), "check the database user's rights"),
    }
    check_clock(&db, report).await;
    if db.pending_migrations().await.is_ok_and(|pending| pending == 0) {
        match keys::unreadable_keys(config, &db).await {
            Ok(kids) if kids.is_empty() => report.ok("keys", "the master key opens all stored keys"),
            Ok(kids) => report.problem(
                "keys",
                format!("the master key does not open {}", kids.join(", ")),
                "give the MASTER_KEY (or master.key file) that this database was made with",
            ),
            Err(error) => report.problem(
                "keys",
                describe(error),
                "see MASTER_KEY in `josoor-auth config show`",
            ),
        }
        check_outbox(&db, report).await;
        check_passkeys(config, &db, report).await;
        let admins = async { db.read().await?.count_active_admins().await };
        if let Ok(0) = admins.await {
            report.warn(
                "administrator",
                "there is none",
                "josoor-auth user create EMAIL --role admin, or the link that `serve` prints",
            );
        }
        let bare = async { db.read().await?.count_admins_without_factor().await };
        if let Ok(count @ 1..) = bare.await {
            report.warn(
                "factors",
                format!("active administrators with no second factor: {count}; a password alone protects all accounts"),
                "let them add an authenticator app; JOSOOR_AUTH__MFA__REQUIRED=admin makes it a must",
            );
        }
    }
    db.close().await;
}

/// Whether mails are late, and why.
async fn check_outbox(db: &Db, report: &mut Report) {
    let backlog = async { db.read().await?.mail_backlog().await };
    let backlog = match backlog.await {
        Ok(backlog) => backlog,
        Err(error) => return report.problem("outbox", describe(error), "check the database user's rights"),
    };
    let now = db.clock(Clock::System).await.unwrap_or(Clock::System).now();
    let waiting: i64 = backlog.iter().map(|class| class.waiting).sum();
    let oldest = backlog.iter().map(|class| now.since(class.oldest)).max();
    let spent: Vec<_> = backlog
        .iter()
        .filter(|class| class.over_budget > 0)
        .map(|class| class.class().as_str())
        .collect();
    let minutes = oldest.unwrap_or_default().as_secs() / 60;
    let found = match waiting {
        0 => "no mail waits".to_owned(),
        1 => format!("1 mail waits, for {minutes} min"),
        _ => format!("{waiting} mails wait, the oldest for {minutes} min"),
    };
    if !spent.is_empty() {
        report.warn(
            "outbox",
            format!("{found}; the budget of mails is spent for: {}", spent.join(", ")),
            "see what causes them (metrics: josoor_auth_limited_total, josoor_auth_mails_total), then raise limits.mail_total if they are wanted",
        );
    } else if oldest.is_some_and(|oldest| oldest > OutboxState::LATE) {
        report.warn(
            "outbox",
            found,
            "check that the service runs; josoor-auth mail list --state waiting shows the reasons, josoor-auth mail test ADDRESS tries the mail server",
        );
    } else {
        report.ok("outbox", found);
    }
}

async fn check_clock(db: &Db, report: &mut Report) {
    match db.clock(Clock::System).await {
        Ok(clock) if clock.is_skewed() => report.problem(
            "clock",
            format!(
                "this machine is {} s {} the database, whose time the service uses",
                clock.skew().unsigned_abs() / 1_000_000,
                if clock.skew() > 0 { "ahead of" } else { "behind" }
            ),
            "let both follow a time server (chrony or systemd-timesyncd)",
        ),
        Ok(Clock::Database(_)) => report.ok("clock", "agrees with the database's"),
        Ok(_) => report.ok("clock", "this machine's own"),
        Err(error) => report.problem("clock", describe(error), "check the database"),
    }
}

async fn check_redis(config: &Config, report: &mut Report) {
    let Some(target) = &config.redis.url else {
        return report.ok("Redis", "not used: one node, sessions in process");
    };
    let connected =
        ConnectionSettings::new(target.url.clone(), config.redis.prefix.clone()).map(|settings| {
            ConnectionSettings {
                timeout: config.redis.timeout,
                ..settings
            }
        });
    let settings = match connected {
        Ok(settings) => settings,
        Err(error) => return report.problem("Redis", error.to_string(), "check REDIS_URL"),
    };
    match examine_redis(&settings).await {
        Ok(()) => report.ok(
            "Redis",
            format!(
                "answers ({}); keys, scripts, expiry and messages work",
                target.kind.as_str()
            ),
        ),
        Err(trouble) => report.problem("Redis", trouble.found, trouble.remedy),
    }
}

async fn check_mail(config: &Config, report: &mut Report) {
    let mailer = match Mailer::new(&config.mail, false) {
        Ok(mailer) => mailer,
        Err(error) => return report.problem("mail", format!("{error:#}"), "check SMTP_URL and MAIL_FROM"),
    };
    match mailer {
        Mailer::Mailbox | Mailer::Nowhere => report.warn(
            "mail",
            "no mail server: mails wait in the outbox, so passwords cannot be reset by mail",
            "set SMTP_URL and MAIL_FROM; on a developer's own machine, `serve --dev` shows mails at /dev/mail",
        ),
        Mailer::Smtp(smtp) => match smtp.check().await {
            Ok(()) => report.ok(
                "mail",
                format!("{} takes mail from {}", smtp.server(), smtp.sender()),
            ),
            Err(error) => report.problem("mail", format!("{}: {error}", smtp.server()), mail::remedy(&error)),
        },
    }
}

async fn check_tracing(config: &Config, report: &mut Report) {
    match telemetry::try_collector(&config.tracing).await {
        None => {}
        Some(Ok(url)) => report.ok("traces", format!("{url} takes them")),
        Some(Err(error)) => report.warn(
            "traces",
            error,
            "check tracing.endpoint (OTEL_EXPORTER_OTLP_ENDPOINT) and tracing.headers; the service works without the receiver",
        ),
    }
}

async fn check_listener(config: &Config, report: &mut Report) {
    let address = config.server.bind;
    match tokio::net::TcpListener::bind(address).await {
        Ok(_) => report.ok("listener", format!("{address} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            report.ok(
                "listener",
                format!("{address} is in use, by the running service or by another program"),
            );
        }
        Err(error) => report.problem(
            "listener",
            format!("{address}: {error}"),
            "set BIND to an address of this machine, and PORT to a port that this user may open",
        ),
    }
}
