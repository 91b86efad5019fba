//! Password hashing on a pool of its own.
//!
//! Hashing is slow on purpose, so it does not run where requests are served, and its queue is bounded: beyond the capacity
//! jobs are rejected at once instead of all waiting longer and longer.
//!
//! Formats, the same that Python's passlib 1.7 writes for `schemes=["bcrypt", "bcrypt_sha256"]`:
//! * `$2b$…`: bcrypt, for passwords of up to 71 bytes; bcrypt reads 72.
//! * `$bcrypt-sha256$v=2,…`: bcrypt of an HMAC-SHA-256 of the password, for longer ones.
//! * `$argon2id$v=19$…`: Argon2id (RFC 9106) in the PHC string format.
//!
//! Also verified: `$2a$`, `$2y$`, `$bcrypt-sha256$` of version 1, `$wp$2y$` of WordPress, Django's `bcrypt_sha256$`, and what
//! `foreign` lists. Not `$2x$`, which stands for a broken bcrypt.

mod argon2id;
mod background;
mod bcrypt;
mod bounds;
mod foreign;
mod pool;
mod queue;
mod scheme;
mod spelling;
mod stored;
#[cfg(test)]
mod tests;
mod verifier;

use std::fmt;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use tokio::sync::oneshot;

use self::pool::{Answer, Handle, Job, Pool, Task};
pub use self::scheme::Scheme;
pub use self::verifier::Verdict;
use self::verifier::Verifier;
use crate::crypto;
pub use crate::domain::PasswordHash;
use crate::domain::{Password, Requester};
use crate::error::Error;
use crate::limits::PasswordCheck;
use crate::passwords::NewPassword;
use crate::telemetry::{Metrics, steps};

/// How many threads hash, how many callers may wait, and what is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HasherConfig {
    /// Worker threads, at least 1. More than there are cores gain nothing and slow down everything else.
    pub threads: usize,
    /// Waiting jobs per thread.
    pub queue: usize,
    /// How new passwords are hashed.
    pub scheme: Scheme,
}

/// What the pool is doing and has done since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HasherStats {
    /// Worker threads.
    pub threads: usize,
    /// The most jobs that may wait.
    pub capacity: usize,
    /// Jobs that wait now.
    pub queued: usize,
    /// Jobs that are computed now.
    pub running: usize,
    /// Jobs rejected because the queue was full.
    pub shed_total: u64,
    /// Jobs computed, failed ones included.
    pub done_total: u64,
    /// Jobs skipped because their caller had gone.
    pub skipped_total: u64,
    /// Time that threads spent computing.
    pub busy_total: Duration,
}

/// Handle to the hashing pool. Clones share it; its threads end when the last one is dropped.
#[derive(Clone)]
pub struct Hasher(Arc<Handle>, Option<Metrics>);

impl Hasher {
    /// Starts the threads, named `hash-0` and so on.
    ///
    /// Fails if the parameters are not computable (see [`Scheme`]), there are no threads, or the system gives none.
    pub fn new(config: HasherConfig) -> Result<Self, Error> {
        Self::start(config).map_err(Error::Internal)
    }

    fn start(config: HasherConfig) -> anyhow::Result<Self> {
        let HasherConfig {
            threads,
            queue,
            scheme,
        } = config;
        ensure!(threads > 0, "the password hasher needs at least one thread");
        let pool = Arc::new(Pool {
            verifier: Verifier::new(scheme)?,
            threads,
            capacity: threads.saturating_mul(queue),
            state: Mutex::default(),
            wake: Condvar::new(),
        });
        // From here on, an early return drops the handle, which ends the threads started so far.
        let hasher = Self(Arc::new(Handle(Arc::clone(&pool))), None);
        for number in 0..threads {
            let pool = Arc::clone(&pool);
            thread::Builder::new()
                .name(format!("hash-{number}"))
                .spawn(move || pool.work())
                .context("cannot start a thread of the password hasher")?;
        }
        Ok(hasher)
    }

    /// The same pool, which reports to `metrics` how long each computation took, waiting included.
    #[must_use]
    pub fn measured_by(self, metrics: Metrics) -> Self {
        Self(self.0, Some(metrics))
    }

    /// Whether a job of this requester would be accepted now: what is going to be rejected need not be prepared.
    ///
    /// # Errors
    /// `Overloaded`, counted like every rejected job.
    pub fn admit(&self, requester: Requester) -> Result<(), Error> {
        let pool = &self.0.0;
        let mut state = pool.lock();
        let capacity = pool.current_capacity(&mut state);
        if state.waiting.accepts(requester, capacity) {
            return Ok(());
        }
        Err(pool.rejection(&mut state))
    }

    /// Hashes a password for storing. Only one that the policy has accepted can be set: it alone makes a [`NewPassword`].
    ///
    /// Refuses with [`Error::Overloaded`] at once when too many wait already, or while it waits, when others come whose turn
    /// is before its own. If the caller drops the future before the computation began, it does not happen.
    pub async fn hash(&self, password: NewPassword, requester: Requester) -> Result<PasswordHash, Error> {
        self.hash_any(password.into_password(), requester).await
    }

    /// Hashes an account's own password once more, which was just verified, because its hash is outdated. It may be one that
    /// could not be set any more.
    ///
    /// Refuses as [`hash`](Self::hash) does.
    pub async fn hash_again(
        &self,
        password: Password,
        counted: PasswordCheck,
    ) -> Result<PasswordHash, Error> {
        self.hash_any(password, counted.requester()).await
    }

    async fn hash_any(&self, password: Password, requester: Requester) -> Result<PasswordHash, Error> {
        let task = Task::Hash {
            salt: crypto::random_bytes(),
        };
        let Answer::Hash(hash) = self.submit(password, task, requester).await? else {
            return Err(Error::Internal(anyhow!("the hasher answered another question")));
        };
        Ok(hash)
    }

    /// Compares a password with a stored hash. With none, or one that cannot be read, the work is that of a comparison under
    /// the configured scheme, so that the time does not reveal whether there is an account.
    ///
    /// A wrong password takes as long for an imported bcrypt hash of lower cost. For a hash of another scheme than the
    /// configured one, or of higher cost, the time differs until its owner has signed in once.
    ///
    /// Only what [`Limiter`](crate::limits::Limiter) has counted is verified: it alone makes a [`PasswordCheck`].
    ///
    /// Refuses as [`hash`](Self::hash) does.
    pub async fn verify(
        &self,
        password: Password,
        stored: Option<PasswordHash>,
        counted: PasswordCheck,
    ) -> Result<Verdict, Error> {
        let task = Task::Verify(stored);
        let Answer::Verdict(verdict) = self.submit(password, task, counted.requester()).await? else {
            return Err(Error::Internal(anyhow!("the hasher answered another question")));
        };
        Ok(verdict)
    }

    /// Figures for the metrics.
    pub fn stats(&self) -> HasherStats {
        let pool = &self.0.0;
        let state = pool.lock();
        HasherStats {
            threads: pool.threads,
            capacity: pool.capacity,
            queued: state.waiting.len(),
            running: state.running,
            shed_total: state.shed_total,
            done_total: state.done_total,
            skipped_total: state.skipped_total,
            busy_total: state.busy_total,
        }
    }

    async fn submit(&self, password: Password, task: Task, requester: Requester) -> Result<Answer, Error> {
        let begun = Instant::now();
        let (reply, answer) = oneshot::channel();
        let pool = &self.0.0;
        let first = pool.first_bcrypt(&password, &task);
        let job = Job {
            password,
            task,
            first,
            reply,
            step: steps::hash_wait(),
        };
        pool.enqueue(job, requester);
        let answer = answer
            .await
            .unwrap_or_else(|_| Err(Error::Internal(anyhow!("the password hasher has ended"))));
        if let Some(metrics) = &self.1 {
            metrics.password_hashed(begun.elapsed());
        }
        answer
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher")
            .field("scheme", &self.0.0.verifier.scheme)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
