//! Connections to PostgreSQL: what they carry, whether a pooler is in between, and which of them are used again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgPool, Postgres, Row as _, Transaction};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::conn::{Conn, STATEMENT_TIMEOUT, Shared, answered};
use super::failure::{explain, store_error};
use crate::config::{DatabaseConfig, PostgresOptions, RootCertificates};
use crate::crypto;
use crate::domain::Secret;
use crate::error::{Error, Result};

/// A pool of connections to PostgreSQL. It is a [`PgPool`] where one is asked for by reference.
#[derive(Clone, Debug)]
pub struct PgStore {
    pool: PgPool,
    pub(super) shared: Arc<Shared>,
    /// The last cause for which there was no connection, and when it was found.
    cause: Arc<Mutex<Option<(Instant, String)>>>,
}

impl std::ops::Deref for PgStore {
    type Target = PgPool;

    fn deref(&self) -> &PgPool {
        &self.pool
    }
}

/// How long a connection may have been idle and is used without a ping.
const PING_IF_IDLE_FOR: Duration = Duration::from_secs(1);

/// What PostgreSQL shows connections as. The version that writes no codes into audit rows shows `josoor-auth`
/// (`Db::count_previous_connections`).
const APPLICATION: &str = "josoor-auth/2";

/// How long the first connection may take, unless the URL has `connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long is spent to find out why there was no connection, and how long the finding counts.
const EXPLAIN_TIMEOUT: Duration = Duration::from_millis(200);
const EXPLAINED_FOR: Duration = Duration::from_secs(1);

/// A setting of our own, by which it is seen whether what a connection asks for at its start reaches the server.
const MARK: &str = "josoor_auth.mark";

impl PgStore {
    /// Connects once, which tells why the database cannot be used and whether a pooler is in between.
    pub(super) async fn open(url: &Secret, more: &PostgresOptions, config: &DatabaseConfig) -> Result<Self> {
        let options: PgConnectOptions = url.expose().parse().map_err(store_error)?;
        let options = with_certificates(options, more.root_certificates.as_ref())?
            .application_name(APPLICATION)
            // Poolers refuse it, and there are no such numbers here.
            .extra_float_digits(None);
        let limit = more.connect_timeout.unwrap_or(CONNECT_TIMEOUT);
        let direct = options.clone().options([
            ("search_path", config.schema.as_str()),
            ("statement_timeout", STATEMENT_TIMEOUT),
            ("idle_in_transaction_session_timeout", STATEMENT_TIMEOUT),
            ("timezone", "UTC"),
        ]);
        let is_pooled = more.is_pooled || is_pooled(&direct, limit).await?;
        let (options, pooled) = if is_pooled {
            close(connect(&options, limit).await?).await;
            tracing::info!(
                "a connection pooler is in front of PostgreSQL: each statement is in a transaction, and none is prepared"
            );
            // The configuration admits lower-case letters, digits and underscores only.
            let begin = format!(
                "begin; set local search_path = \"{}\"; set local statement_timeout = '{STATEMENT_TIMEOUT}'; \
                 set local idle_in_transaction_session_timeout = '{STATEMENT_TIMEOUT}'; set local timezone = 'UTC'",
                config.schema
            );
            (options.statement_cache_capacity(0), Some(Arc::from(begin)))
        } else {
            (direct, None)
        };
        let shared = Arc::new(Shared {
            pooled,
            ..Shared::default()
        });
        Ok(Self {
            pool: pool(config, options, Arc::clone(&shared)),
            shared,
            cause: Arc::default(),
        })
    }

    /// A connection of the pool.
    pub(super) async fn acquire(&self) -> Result<Conn> {
        match self.pool.acquire().await {
            Ok(conn) => Ok(Conn::postgres(conn, Arc::clone(&self.shared))),
            Err(sqlx::Error::PoolTimedOut) => {
                Err(Error::unavailable(anyhow::anyhow!(self.explain_wait().await)))
            }
            Err(error) => Err(store_error(error)),
        }
    }

    /// A connection beside the pool, for what takes long and leaves things behind on its connection: it is closed when it is
    /// dropped.
    pub(super) async fn connect_alone(&self) -> Result<PgConnection> {
        connect(&self.pool.connect_options(), CONNECT_TIMEOUT).await
    }

    /// Whether a pooler is in between that gives a connection of the server for one transaction only.
    pub(super) fn is_pooled(&self) -> bool {
        self.shared.pooled.is_some()
    }

    /// Why there was no connection in time: the pool itself does not say.
    async fn explain_wait(&self) -> String {
        let mut cause = self.cause.lock().await;
        if let Some((at, cause)) = &*cause
            && at.elapsed() < EXPLAINED_FOR
        {
            return cause.clone();
        }
        let options = self.pool.connect_options();
        let found = match timeout(EXPLAIN_TIMEOUT, options.connect()).await {
            Ok(Ok(conn)) => {
                close(conn).await;
                "all connections are in use (database.max_connections)".to_owned()
            }
            Ok(Err(error)) => format!("{}: PostgreSQL at {}", explain(&error), address(&options)),
            Err(_) => format!("no answer: PostgreSQL at {}", address(&options)),
        };
        *cause = Some((Instant::now(), found.clone()));
        found
    }
}

fn pool(config: &DatabaseConfig, options: PgConnectOptions, shared: Arc<Shared>) -> PgPool {
    // What remains is for a new connection.
    let ping_timeout = config.acquire_timeout * 3 / 4;
    PgPoolOptions::new()
        .max_connections(config.max_connections)
        .acquire_timeout(config.acquire_timeout)
        // A ping costs a round trip, and a connection that has just served needs none.
        .test_before_acquire(false)
        .before_acquire(move |connection, idle| {
            let shared = Arc::clone(&shared);
            Box::pin(async move {
                if shared.health.is_stale(idle.age) {
                    return Ok(false);
                }
                if idle.idle_for < PING_IF_IDLE_FOR {
                    return Ok(true);
                }
                let answers = matches!(timeout(ping_timeout, connection.ping()).await, Ok(Ok(())));
                if !answers {
                    shared.health.replace_all();
                }
                Ok(answers)
            })
        })
        .connect_lazy_with(options)
}

/// Whether what a connection asks for at its start does not reach the server, or is refused because it would not: then a pooler
/// is in between.
async fn is_pooled(direct: &PgConnectOptions, limit: Duration) -> Result<bool> {
    let mark = u64::from_ne_bytes(crypto::random_bytes()).to_string();
    let marked = direct.clone().options([(MARK, &mark)]);
    let mut conn = match timeout(limit, marked.connect()).await {
        Ok(Err(error)) if refuses_settings(&error) => return Ok(true),
        Ok(connected) => connected.map_err(|error| not_connected(&marked, error))?,
        Err(_) => return Err(no_answer(&marked, limit)),
    };
    // Not a prepared statement: it would be prepared on one connection of the server and run on another.
    let shown = sqlx::raw_sql("select current_setting('josoor_auth.mark', true)");
    let row = answered(shown.fetch_one(&mut conn)).await.map_err(store_error)?;
    let shown: Option<String> = row.try_get(0).map_err(store_error)?;
    close(conn).await;
    Ok(shown.as_ref() != Some(&mark))
}

/// PgBouncer: "unsupported startup parameter"; others say that the feature is not supported.
fn refuses_settings(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else {
        return false;
    };
    matches!(error.code().as_deref(), Some("08P01" | "0A000"))
        && ["startup", "options"]
            .iter()
            .any(|word| error.message().contains(word))
}

async fn connect(options: &PgConnectOptions, limit: Duration) -> Result<PgConnection> {
    match timeout(limit, options.connect()).await {
        Ok(connected) => connected.map_err(|error| not_connected(options, error)),
        Err(_) => Err(no_answer(options, limit)),
    }
}

/// Begins a transaction on a connection of its own. The driver's migrator prepares statements; behind a pooler they would stay on
/// the server's connection, where those of an earlier run may still be.
pub(super) async fn begin_alone<'c>(
    store: &PgStore,
    conn: &'c mut PgConnection,
) -> Result<Transaction<'c, Postgres>> {
    let Some(sql) = &store.shared.pooled else {
        return conn.begin().await.map_err(store_error);
    };
    let begun = conn.begin_with(AssertSqlSafe(Arc::clone(sql))).await;
    let mut tx = begun.map_err(store_error)?;
    forget_statements(&mut tx).await?;
    Ok(tx)
}

/// Commits what [`begin_alone`] began.
pub(super) async fn commit_alone(store: &PgStore, mut tx: Transaction<'_, Postgres>) -> Result<()> {
    if store.is_pooled() {
        forget_statements(&mut tx).await?;
    }
    tx.commit().await.map_err(store_error)
}

async fn forget_statements(conn: &mut PgConnection) -> Result<()> {
    let forget = sqlx::raw_sql("deallocate all").execute(conn).await;
    forget.map(drop).map_err(store_error)
}

async fn close(conn: PgConnection) {
    // Nothing is under way on it, so an error changes nothing.
    let _ = answered(conn.close()).await;
}

fn no_answer(options: &PgConnectOptions, limit: Duration) -> Error {
    Error::unavailable(anyhow::anyhow!(
        "no answer within {limit:?}: PostgreSQL at {}",
        address(options)
    ))
}

fn not_connected(options: &PgConnectOptions, error: sqlx::Error) -> Error {
    match error {
        sqlx::Error::Io(_) => Error::unavailable(anyhow::anyhow!(
            "{}: PostgreSQL at {}",
            explain(&error),
            address(options)
        )),
        other => store_error(other),
    }
}

fn address(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(folder) => format!("{}/.s.PGSQL.{}", folder.display(), options.get_port()),
        None if options.get_host().starts_with('/') => {
            format!("{}/.s.PGSQL.{}", options.get_host(), options.get_port())
        }
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

/// The certificates that the server's is verified with: those of the file that the URL names, or those of the system, which
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` replace.
fn with_certificates(options: PgConnectOptions, root: Option<&RootCertificates>) -> Result<PgConnectOptions> {
    let is_verified = matches!(
        options.get_ssl_mode(),
        PgSslMode::VerifyCa | PgSslMode::VerifyFull
    );
    let pem = match root {
        Some(RootCertificates::File(path)) => read_certificates(path)?,
        Some(RootCertificates::System) => system_certificates()?,
        None if is_verified => system_certificates()?,
        None => return Ok(options),
    };
    Ok(options.ssl_root_cert_from_pem(pem))
}

fn read_certificates(path: &Path) -> Result<Vec<u8>> {
    use rustls::pki_types::pem::PemObject as _;

    let refused = |reason: String| {
        Error::Internal(anyhow::anyhow!(
            "{reason}: {}, which DATABASE_URL names as sslrootcert",
            path.display()
        ))
    };
    let pem = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
    let mut certificates = rustls::pki_types::CertificateDer::pem_slice_iter(&pem);
    match certificates.next() {
        Some(Ok(_)) => Ok(pem),
        _ => Err(refused("there is no certificate in PEM in it".to_owned())),
    }
}

fn system_certificates() -> Result<Vec<u8>> {
    use base64::Engine as _;

    let loaded = rustls_native_certs::load_native_certs();
    if loaded.certs.is_empty()
        && let Some(error) = loaded.errors.first()
        && (std::env::var_os("SSL_CERT_FILE").is_some() || std::env::var_os("SSL_CERT_DIR").is_some())
    {
        return Err(Error::Internal(anyhow::anyhow!(
            "{error}: SSL_CERT_FILE or SSL_CERT_DIR, whose certificates the database's is verified with"
        )));
    }
    let mut pem = String::new();
    for certificate in &loaded.certs {
        let text = base64::engine::general_purpose::STANDARD.encode(certificate);
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in text.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    Ok(pem.into_bytes())
}
