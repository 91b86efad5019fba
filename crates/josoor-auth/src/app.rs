//! The one place where everything is wired together.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cache::SessionCache;
use crate::cache::audit_watch::Watch as AuditWatch;
use crate::cache::stats::StatsCache;
use crate::clock::Clock;
use crate::config::{Config, PasswordScheme};
use crate::domain::{Role, Timestamp};
use crate::error::{Error, Result};
use crate::hasher::{Hasher, HasherConfig, Scheme};
use crate::keys::Keys;
use crate::limits::Limiter;
use crate::limits::keyed_mutex::KeyedMutex;
use crate::mail::Mailer;
use crate::passwords::Policy;
use crate::redis::{ConnectionSettings, Redis};
use crate::store::{Db, OutboxState};
use crate::telemetry::{Metrics, Traces};

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
    /// The cache of sessions and users.
    pub cache: SessionCache,
    /// Which passwords may be set.
    pub passwords: Policy,
    /// The password hasher.
    pub hasher: Hasher,
    /// Keys, and the tokens made with them.
    pub keys: Keys,
    /// Counters.
    pub metrics: Metrics,
    /// Begins traces, if the settings name a receiver.
    pub traces: Option<Traces>,
    /// How mail leaves.
    pub mailer: Mailer,
    /// How often something may happen.
    pub limits: Limiter,
    /// Wakes the task that sends mails, after a commit that queued one. It also wakes by itself each second.
    pub mail_queued: Notify,
    /// What this node remembers of the audit trail.
    pub audit: AuditWatch,
    /// What is known of the mails that wait.
    pub outbox: OutboxState,
    /// The latest counts for the console.
    pub stats: StatsCache,
    /// Roles whose users must have a second factor, each with since when.
    pub required_factors: Vec<(Role, Timestamp)>,
    /// One registration at a time for each address.
    pub registrations: KeyedMutex,
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
    /// Connects the parts. The database is migrated, and the keys are its.
    pub(crate) fn new(
        config: Config,
        clock: Clock,
        passwords: Policy,
        db: Db,
        keys: Keys,
        required_factors: Vec<(Role, Timestamp)>,
    ) -> Result<Self> {
        let redis = match &config.redis.url {
            None => None,
            Some(target) => {
                let settings = ConnectionSettings::new(target.url.clone(), config.redis.prefix.clone());
                let settings = settings.map_err(Error::internal)?;
                let redis = Redis::connect(ConnectionSettings {
                    timeout: config.redis.timeout,
                    ..settings
                });
                Some(redis.map_err(Error::internal)?)
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
            redis.clone(),
            clock.clone(),
            metrics.clone(),
        );
        let cache = SessionCache::new(&config, redis, db.clone(), clock.clone(), &metrics);
        let mailer = Mailer::new(&config.mail, config.dev).map_err(Error::Internal)?;
        let traces = Traces::start(&config.tracing, &metrics);
        Ok(Self(Arc::new(Parts {
            config,
            clock,
            db,
            cache,
            passwords,
            hasher,
            keys,
            metrics,
            traces,
            mailer,
            limits,
            mail_queued: Notify::new(),
            audit: AuditWatch::default(),
            outbox: OutboxState::default(),
            stats: StatsCache::default(),
            required_factors,
            registrations: KeyedMutex::default(),
            ready: Arc::new(AtomicBool::new(false)),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })))
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

    /// Cancelled when the background tasks are to stop.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// Stops the background tasks and waits for them and for what [`finish`](Self::finish) runs.
    pub(crate) async fn stop(&self) {
        self.ready.store(false, Ordering::Release);
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
