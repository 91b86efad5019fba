//! `josoor-auth serve`.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::output::{Outcome, note, user_error};
use super::systemd;
use crate::account::setup;
use crate::app::App;
use crate::audit;
use crate::clock::Clock;
use crate::config::{Config, Database, LogFormat};
use crate::error::Error;
use crate::http::server::ServeOptions;
use crate::mail::Mailer;
use crate::store::Db;
use crate::telemetry::codes;
use crate::{http, telemetry};

/// Signals that ask the service to stop (SIGTERM, SIGINT), handled from now on: the first process of a container has no default
/// handlers, so that what comes before would be lost. The second signal ends the process at once.
pub(super) fn handle_signals() -> Outcome<CancellationToken> {
    let stop = CancellationToken::new();
    tokio::spawn(wait_for_signal(stop.clone())?);
    Ok(stop)
}

/// Runs the service until `stop`, then drains: not ready, no new connections, what is in flight finishes, exit. A start that is
/// stopped ends where it is: what a migration has not committed is rolled back.
pub(super) async fn serve(config: Config, stop: CancellationToken) -> Outcome {
    let format = match config.log.format {
        LogFormat::Text => telemetry::LogFormat::Text,
        LogFormat::Auto if std::io::stderr().is_terminal() => telemetry::LogFormat::Text,
        LogFormat::Json | LogFormat::Auto => telemetry::LogFormat::Json,
    };
    telemetry::init(format, &config.log.level).map_err(Error::Internal)?;
    if let Some(report) = &config.env_file_report {
        tracing::info!("{report}");
    } else if Path::new(".env").is_file() {
        tracing::info!("the file .env is not read; --env-file .env reads it");
    }
    for warning in &config.warnings {
        tracing::warn!(code = codes::CONFIGURATION_WARNING, "{warning}");
    }
    // Before anything is opened: a second server on the same port should not touch the database.
    let listener = listen(&config).await?;
    let metrics = match config.metrics.bind {
        Some(address) => Some(bind(address, "set JOSOOR_AUTH__METRICS__BIND to a free address").await?),
        None => None,
    };
    let address = listener.local_addr()?;
    let options = ServeOptions {
        max_connections: connections_at_most(&config),
        exempt: [
            &config.server.connection_exempt[..],
            &config.server.trusted_proxies,
        ]
        .concat()
        .into(),
        header_timeout: config.server.header_timeout,
        drain_delay: config.server.drain_delay,
        drain_timeout: config.server.drain_timeout,
        ..ServeOptions::default()
    };
    let public_url = config.server.public_url.clone();
    let opened = async {
        Db::wait(&config.database).await?;
        let app = App::open(config, Clock::System).await?;
        audit::record_configuration(&app).await?;
        Ok::<_, Error>(app)
    };
    let app = tokio::select! {
        biased;
        () = stop.cancelled() => {
            tracing::info!("JOSOOR Auth has stopped before it was running");
            return Ok(());
        }
        app = opened => app?,
    };
    let mark = app.db.claim();
    if mark.is_none() {
        tracing::warn!(
            code = codes::SECOND_SERVER,
            "another server runs on the same SQLite file: its link for the first administrator ends with this start, and each counts limits \
             alone. Several nodes want PostgreSQL and Redis"
        );
    }
    crate::worker::start(&app);
    offer_setup(&app).await?;
    tracing::info!(
        %address,
        %public_url,
        docs = public_url.join("docs"),
        database = app.db.engine(),
        redis = app.cache.redis().map_or("none", |redis| redis.state().kind),
        version = env!("CARGO_PKG_VERSION"),
        "JOSOOR Auth is running"
    );
    systemd::report(stop.clone());
    match app.mailer {
        Mailer::Smtp(_) => {}
        Mailer::Mailbox => tracing::warn!(
            code = codes::DEVELOPMENT_MAILBOX,
            page = public_url.join("dev/mail"),
            "--dev: mails leave for nowhere and can be read at this page, on this machine"
        ),
        Mailer::Nowhere => tracing::warn!(
            code = codes::NO_MAIL_SERVER,
            "no mail server (SMTP_URL): mails wait in the outbox"
        ),
    }
    if std::io::stderr().is_terminal() {
        note(&format!(
            "\n  API and its documentation   {}\n  Readiness                   {}\n",
            public_url.join("docs"),
            public_url.join("readyz")
        ));
    }
    let metrics = metrics.map(|listener| {
        let router = http::health::metrics_router(&app);
        let stop = stop.clone().cancelled_owned();
        tokio::spawn(http::server::serve(
            listener,
            router,
            ServeOptions {
                max_connections: METRICS_CONNECTIONS,
                ..ServeOptions::default()
            },
            stop,
            Arc::new(AtomicBool::new(true)),
        ))
    });
    let drained = http::server::serve(
        listener,
        http::service(&app),
        options,
        stop.cancelled(),
        app.readiness(),
    )
    .await;
    if let Some(metrics) = metrics {
        metrics.abort();
    }
    app.close().await;
    tracing::info!(cut_connections = drained.cut, "JOSOOR Auth has stopped");
    Ok(())
}

/// Descriptors that are kept for files, Redis, the mail server and the listener for figures.
const OTHER_DESCRIPTORS: u64 = 64;

/// Connections to the listener for figures.
const METRICS_CONNECTIONS: usize = 64;

/// The fewest connections that are accepted, however few descriptors there are.
const LEAST_CONNECTIONS: usize = 16;

/// Raises the limit of open descriptors as far as the system allows, and gives how many of them connections may take: without
/// a reserve, a flood of connections would leave none for the database.
fn connections_at_most(config: &Config) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let wanted = config.server.max_connections;
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let allowed = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let for_metrics = if config.metrics.bind.is_some() {
        METRICS_CONNECTIONS as u64
    } else {
        0
    };
    let reserve = OTHER_DESCRIPTORS + for_metrics + 2 * u64::from(config.database.max_connections);
    let Some(allowed) = allowed else {
        return wanted;
    };
    let left = usize::try_from(allowed.saturating_sub(reserve)).unwrap_or(usize::MAX);
    let most = wanted.min(left.max(LEAST_CONNECTIONS));
    if most < wanted {
        tracing::warn!(
            code = codes::CONNECTIONS_ABOVE_SYSTEM_LIMIT,
            descriptors = allowed,
            max_connections = most,
            "server.max_connections is more than the system allows (LimitNOFILE, ulimit -n); some are kept for the stores"
        );
    }
    most
}

/// The main listener.
async fn listen(config: &Config) -> Outcome<TcpListener> {
    let remedy = if config.is_default("server.public_url") {
        "set BIND or PORT to a free address; PUBLIC_URL, which is not set, follows".to_owned()
    } else {
        format!(
            "set BIND or PORT to a free address, and PUBLIC_URL, which is {}, to what leads there",
            config.server.public_url
        )
    };
    bind(config.server.bind, &remedy).await
}

async fn bind(address: std::net::SocketAddr, remedy: &str) -> Outcome<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|error| user_error(format!("cannot listen on {address}: {error}\n{remedy}")))
}

/// A future that cancels `stop` at the first SIGTERM or SIGINT and ends the process at the second.
fn wait_for_signal(stop: CancellationToken) -> Outcome<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("asked to stop: finishing what is in flight");
        stop.cancel();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!(code = codes::STOPPED_AT_ONCE, "stopped at once");
        telemetry::flush();
        std::process::exit(130);
    })
}

/// Without any administrator, makes the one-time link for the first one. A link is a credential: it goes to a
/// terminal, where only the operator sees it, or else into a file that only the operator can read; never to the log.
async fn offer_setup(app: &App) -> Outcome {
    let file = match &app.config.database.url {
        Database::Sqlite { path } => path.with_file_name("setup-link"),
        Database::Postgres { .. } => std::env::current_dir()?.join("josoor-auth-setup-link"),
    };
    let Some(offer) = setup::offer_setup(app).await? else {
        // A link of an earlier start is worth nothing any more.
        let _ = std::fs::remove_file(file);
        return Ok(());
    };
    let link = zeroize::Zeroizing::new(format!(
        "{}#token={}",
        app.config.server.public_url.join("setup"),
        offer.token.expose()
    ));
    let minutes = offer.expires_at.since(app.clock.now()).as_secs().div_ceil(60);
    if std::io::stderr().is_terminal() {
        note(&format!(
            "\n  There is no administrator yet. This link makes the first one; it works once, for {minutes} minutes:\n\n  {}\n",
            *link
        ));
        return Ok(());
    }
    match write_private(&file, &link) {
        Ok(()) => {
            tracing::info!(file = %file.display(), minutes, "there is no administrator yet; the link in this file makes the first one, once, for so many minutes");
        }
        // The service works without; the command line makes administrators too.
        Err(error) => tracing::warn!(code = codes::SETUP_LINK_NOT_WRITTEN,
            file = %file.display(),
            %error,
            "there is no administrator yet, and the link for the first one could not be written; use: josoor-auth user create EMAIL --role admin"
        ),
    }
    Ok(())
}

fn write_private(file: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;

    // A file of that name may have other permissions, or be a link to another file.
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut handle = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?;
    writeln!(handle, "{text}")
}
