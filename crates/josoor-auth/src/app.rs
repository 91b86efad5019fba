//! The one place where everything is wired together.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::account::register::Turns;
use crate::admin::stats;
use crate::audit;
use crate::cache::{Effects, Hot, TailMemory};
use crate::clock::Clock;
use crate::config::{Config, PasswordScheme};
use crate::error::{Error, Result};
use crate::hasher::{Hasher, HasherConfig, Scheme};
use crate::keys::{self, Keys};
use crate::limits::Limiter;
use crate::mail::Mailer;
use crate::passwords::Policy;
use crate::redis::{Kv, KvConfig, KvEvent};
use crate::store::{Conn, Db};
use crate::telemetry::{self, Metrics};
use crate::worker::outbox;
use crate::worker::purge;

/// A running service, cheap to clone. It has no state of its own: what it knows is in the parts.
#[derive(Clone, Debug)]
pub struct App(Arc<Parts>);

/// The parts of the service.
#[derive(Debug)]
pub struct Parts {
    /// The settings.
    pub config: Config,
    /// The source of time.
    pub clock: Clock,
    /// The database.
    pub db: Db,
    /// The hot copies of sessions and users.
    pub hot: Hot,
    /// Which passwords may be set.
    pub passwords: Policy,
    /// The password hasher.
    pub hasher: Hasher,
    /// Keys, and the tokens made with them.
    pub keys: Keys,
    /// Counters.
    pub metrics: Metrics,
    /// How mail leaves.
    pub mailer: Mailer,
    /// How often something may happen.
    pub limits: Limiter,
    /// Wakes the job that sends mails, after a commit that queued one. It looks by itself each second, too.
    pub mail_queued: Notify,
    /// What this node remembers of the audit trail.
    pub audit: audit::Watch,
    /// What is known of the mails that wait.
    pub outbox: outbox::State,
    /// What the console counted lately.
    pub stats: stats::Memory,
    /// Turns at registering one address.
    pub registrations: Turns,
    /// False while the node is starting or draining.
    ready: Arc<AtomicBool>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl App {
    /// Opens the stores, brings the tables up to date and loads the keys. No task of the service's own runs yet.
    pub async fn open(config: Config, clock: Clock) -> Result<Self> {
        let passwords = Policy::open(&config).map_err(Error::Internal)?;
        let db = Db::open(&config.database).await?;
        let clock = db.clock(clock).await?;
        db.migrate(&config.database.schema).await?;
        let unlocked = keys::unlock(&config, &db).await?;
        db.sign_audit_with(unlocked.audit_key());
        let format = audit::begin(&db, &unlocked, clock.now()).await?;
        let keys = Keys::load(&config, &db, &unlocked, format, clock.now()).await?;
        let kv = match &config.redis.url {
            None => Kv::InProcess,
            Some(target) => {
                let settings = KvConfig::new(target.url.clone(), config.redis.prefix.clone());
                let settings = settings.map_err(Error::internal)?;
                Kv::connect(KvConfig {
                    timeout: config.redis.timeout,
                    ..settings
                })
                .map_err(Error::internal)?
            }
        };
        let metrics = Metrics::new();
        let hasher = Hasher::new(HasherConfig {
            threads: match config.hash.threads {
                0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
                threads => threads,
            },
            queue: config.hash.queue,
            scheme: match config.password.scheme {
                PasswordScheme::Bcrypt => Scheme::Bcrypt {
                    cost: config.password.bcrypt_cost,
                },
                PasswordScheme::Argon2id => Scheme::Argon2id {
                    memory_kib: config.password.argon2_memory_kib,
                    iterations: config.password.argon2_iterations,
                    parallelism: config.password.argon2_parallelism,
                },
            },
        })?
        .measured_by(metrics.clone());
        let limits = Limiter::new(
            config.limits,
            keys.limits_key(),
            kv.clone(),
            clock.clone(),
            metrics.clone(),
        );
        let hot = Hot::new(&config.cache, kv, db.clone(), clock.clone(), &metrics);
        let mailer = Mailer::new(&config.mail, config.dev).map_err(Error::Internal)?;
        Ok(Self(Arc::new(Parts {
            config,
            clock,
            db,
            hot,
            passwords,
            hasher,
            keys,
            metrics,
            mailer,
            limits,
            mail_queued: Notify::new(),
            audit: audit::Watch::default(),
            outbox: outbox::State::default(),
            stats: stats::Memory::default(),
            registrations: Turns::default(),
            ready: Arc::new(AtomicBool::new(false)),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })))
    }

    /// Starts the background work: listening to Redis, the tail of `changes`, notes of use, purging.
    pub fn start(&self) {
        self.spawn(listen);
        self.spawn(tail);
        self.spawn(write_touches);
        self.spawn(write_refreshed);
        self.spawn(purge::purge_regularly);
        self.spawn(outbox::deliver);
        self.spawn(outbox::watch);
        self.spawn(audit::seal_regularly);
    }

    fn spawn<F>(&self, task: fn(Self) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (app, stop) = (self.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            // A panic in one of these must not go unnoticed: without its tail a node would believe what is long over.
            while !stop.is_cancelled() {
                let run = std::panic::AssertUnwindSafe(task(app.clone())).catch_unwind();
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = run => {}
                }
                tracing::error!("a background task ended; it is started again");
                app.hot.distrust();
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(RESTART_PAUSE) => {}
                }
            }
        });
    }

    /// Runs work to its end, also while the service stops.
    pub fn finish<F>(&self, work: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(work)
    }

    /// Whether this node wants new requests.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// The flag behind [`is_ready`](Self::is_ready), for the accept loop, which sets it.
    pub fn readiness(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.ready)
    }

    /// Commits an act and makes it hold everywhere, also when the caller goes away in between: a client that hangs up
    /// must not leave its own revocation unheard.
    pub async fn commit(&self, tx: Conn, effects: Effects) -> Result<()> {
        let app = self.clone();
        let work = async move {
            tx.commit().await?;
            app.hot.announce(effects).await;
            Ok(())
        };
        let task = match telemetry::current_request() {
            Some(id) => tokio::spawn(telemetry::in_request(id, work)),
            None => tokio::spawn(work),
        };
        task.await.map_err(Error::internal)?
    }

    /// Ends the background work, writes what is left to write and closes the database.
    pub async fn close(&self) {
        self.ready.store(false, Ordering::Release);
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        if let Err(error) = self.hot.flush_touches().await {
            tracing::warn!(error = ?error, "the last notes of use were not written");
        }
        audit::log_head(self).await;
        self.db.close().await;
    }
}

/// Follows the state of the invalidation channel, and hears what comes over it.
async fn listen(app: App) {
    // However this ends, from then on the node is deaf.
    let _deaf = Deaf(&app);
    let mut events = app.hot.kv().events();
    while let Some(event) = events.recv().await {
        match event {
            KvEvent::Subscribed => app.hot.start_hearing(),
            KvEvent::Message(payload) => app.hot.hear(&payload),
            KvEvent::Lost => app.hot.stop_hearing(),
        }
    }
    // In process there is nothing to hear, ever.
    std::future::pending::<()>().await;
}

/// Stops believing what needs invalidations, when dropped. In process there are none, and nothing needs them.
struct Deaf<'a>(&'a App);

impl Drop for Deaf<'_> {
    fn drop(&mut self) {
        if !matches!(self.0.hot.kv(), Kv::InProcess) {
            self.0.hot.stop_hearing();
        }
    }
}

/// Between the end of a background task that should not have ended and its next start.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// The longest that one round of writing notes of use may take. A connection whose other end has gone silent answers
/// never; giving it up costs a connection.
const ROUND_AT_MOST: Duration = Duration::from_secs(10);

/// The longest that a change made elsewhere goes unheard when nobody tells.
const TAIL_EVERY: Duration = Duration::from_secs(1);

/// In one process the command line's acts come only this way, and a look costs microseconds.
const TAIL_EVERY_ALONE: Duration = Duration::from_millis(250);

/// The shortest pause between two rounds, however often something fails.
const TAIL_PAUSE: Duration = Duration::from_millis(100);

async fn tail(app: App) {
    let every = if matches!(app.hot.kv(), Kv::InProcess) {
        TAIL_EVERY_ALONE
    } else {
        TAIL_EVERY
    };
    let mut memory = TailMemory::default();
    let mut failing = false;
    let mut skewed = false;
    loop {
        match app.hot.tail(&mut memory).await {
            Ok(()) => {
                if failing {
                    tracing::info!("changes are read again");
                }
                failing = false;
                if app.clock.is_skewed() != skewed {
                    skewed = !skewed;
                    report_skew(&app.clock);
                }
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(error = ?error, "changes cannot be read; trying again each second");
                }
                failing = true;
            }
        }
        tokio::time::sleep(TAIL_PAUSE).await;
        let _ = tokio::time::timeout(every.saturating_sub(TAIL_PAUSE), app.hot.woken()).await;
    }
}

fn report_skew(clock: &Clock) {
    let seconds = clock.skew() / 1_000_000;
    if clock.is_skewed() {
        tracing::warn!(
            seconds,
            "this machine's clock differs from the database's, which the service goes by; programs that verify tokens \
             by this clock may reject good ones: let both machines follow a time server"
        );
    } else {
        tracing::info!("this machine's clock agrees with the database's again");
    }
}

/// Gathers for a moment, so that many notes share a transaction.
const TOUCH_PAUSE: Duration = Duration::from_millis(100);

/// Between two tries while the database is away.
const TOUCH_RETRY: Duration = Duration::from_secs(1);

/// The pause between two rounds of writing refreshed copies, in which more of them gather.
const REFRESHED_PAUSE: Duration = Duration::from_millis(2);

async fn write_refreshed(app: App) {
    loop {
        app.hot.write_refreshed().await;
        tokio::time::sleep(REFRESHED_PAUSE).await;
    }
}

async fn write_touches(app: App) {
    let mut failing = false;
    loop {
        app.hot.has_touches().await;
        let flushed = tokio::time::timeout(ROUND_AT_MOST, app.hot.flush_touches()).await;
        let failed = match flushed {
            Ok(Ok(())) => false,
            Ok(Err(error)) => {
                if !failing {
                    tracing::warn!(error = ?error, "notes of use cannot be written; trying again each second");
                }
                true
            }
            Err(_) => {
                if !failing {
                    tracing::warn!("notes of use cannot be written in time; trying again each second");
                }
                app.hot.keep_flushing();
                true
            }
        };
        failing = failed;
        tokio::time::sleep(if failed { TOUCH_RETRY } else { TOUCH_PAUSE }).await;
    }
}
