//! The threads that compute, and what waits for them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use tokio::sync::oneshot;

use super::background;
use super::bcrypt::{Bcrypt, Ready};
use super::queue::Queue;
use super::verifier::{Verdict, Verifier};
use crate::domain::{Password, PasswordHash, Requester};
use crate::error::Error;
use crate::telemetry::{Step, codes, steps};

/// The longest `Retry-After`.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_mins(1);

/// Ends the pool when the last [`Hasher`] goes. The threads hold the pool, not this.
pub(super) struct Handle(pub(super) Arc<Pool>);

impl Drop for Handle {
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.0.lock();
            state.closed = true;
            std::mem::take(&mut state.waiting)
        };
        self.0.wake.notify_all();
        drop(waiting);
    }
}

pub(super) struct Pool {
    pub(super) verifier: Verifier,
    pub(super) threads: usize,
    pub(super) capacity: usize,
    pub(super) state: Mutex<State>,
    pub(super) wake: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) waiting: Queue<Job>,
    /// Jobs that are computed now.
    pub(super) running: usize,
    /// Threads that compute now.
    pub(super) busy: usize,
    pub(super) closed: bool,
    pub(super) shed_total: u64,
    pub(super) done_total: u64,
    pub(super) skipped_total: u64,
    pub(super) busy_total: Duration,
    /// What a thread needed for each of the last jobs, the latest weighing most.
    pub(super) mean: Duration,
}

pub(super) struct Job {
    pub(super) password: Password,
    pub(super) task: Task,
    /// What `task` needs first, if that is bcrypt: may be computed together with that of others.
    pub(super) first: Option<Bcrypt>,
    pub(super) reply: oneshot::Sender<Result<Answer, Error>>,
    /// The wait, then the computation, in a trace.
    pub(super) step: Step,
}

pub(super) enum Task {
    Hash {
        salt: [u8; 16],
    },
    Verify(Option<PasswordHash>),
    #[cfg(test)]
    Call(Box<dyn FnOnce() + Send>),
}

pub(super) enum Answer {
    Hash(PasswordHash),
    Verdict(Verdict),
    #[cfg(test)]
    Called,
}

impl Pool {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock, so a poisoned one is as good as any.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enqueues a job; evicts the lowest-priority job when the queue is full.
    pub(super) fn enqueue(&self, job: Job, requester: Requester) {
        let mut state = self.lock();
        let capacity = self.current_capacity(&mut state);
        let refused = state.waiting.push(requester, job, capacity);
        if let Some(mut refused) = refused {
            refused.step.fail("overloaded");
            let rejection = self.rejection(&mut state);
            drop(state);
            // The caller may have gone meanwhile.
            let _ = refused.reply.send(Err(rejection));
        } else {
            drop(state);
        }
        self.wake.notify_one();
    }

    /// How many jobs may wait. Callers that have gone do not keep others out.
    pub(super) fn current_capacity(&self, state: &mut State) -> usize {
        let capacity = self.capacity.saturating_add(self.threads - state.busy);
        if state.waiting.len() >= capacity {
            state.skipped_total += state.waiting.retain(|job| !job.reply.is_closed());
        }
        capacity
    }

    /// The error of a rejected job.
    pub(super) fn rejection(&self, state: &mut State) -> Error {
        state.shed_total += 1;
        Error::Overloaded {
            retry_after: retry_after(state.mean, state.waiting.len(), self.threads),
        }
    }

    /// The life of a thread.
    pub(super) fn work(&self) {
        // Where the system does not allow it, it is still a pool of its own.
        if let Err(error) = background::lower_priority() {
            tracing::warn!(code = codes::HASHER_PRIORITY, %error, "passwords are computed at the priority of requests");
        }
        while let Some(mut jobs) = self.next() {
            let started = Instant::now();
            for job in &mut jobs {
                job.step = std::mem::take(&mut job.step).then(steps::HASH);
            }
            let ready = catch_unwind(AssertUnwindSafe(|| compute_first(&mut jobs))).unwrap_or_default();
            let count = jobs.len();
            let mut replies = Vec::with_capacity(count);
            for (job, mut ready) in jobs
                .into_iter()
                .zip(ready.into_iter().chain(std::iter::repeat_with(Ready::default)))
            {
                let Job {
                    password,
                    task,
                    reply,
                    step,
                    ..
                } = job;
                let answer = catch_unwind(AssertUnwindSafe(|| self.answer(&password, task, &mut ready)));
                drop(step);
                replies.push((reply, answer));
            }
            let took = started.elapsed();
            {
                let each = took / u32::try_from(count).unwrap_or(u32::MAX);
                let mut state = self.lock();
                state.busy -= 1;
                state.running -= count;
                state.done_total += count as u64;
                state.busy_total += took;
                state.mean = if state.mean.is_zero() {
                    each
                } else {
                    (state.mean * 7 + each) / 8
                };
            }
            for (reply, answer) in replies {
                let answer = answer.unwrap_or_else(|_| Err(anyhow!("a password computation panicked")));
                // The caller may have gone meanwhile.
                let _ = reply.send(answer.map_err(Error::Internal));
            }
        }
    }

    /// Waits for jobs whose callers are still there: one, or as many as bcrypt computes at once, this thread's
    /// share of what waits. `None` when the pool ends.
    fn next(&self) -> Option<Vec<Job>> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            match state.waiting.pop() {
                Some(job) if job.reply.is_closed() => state.skipped_total += 1,
                Some(job) => {
                    let mut jobs = vec![job];
                    if let Some(cost) = jobs[0].first.as_ref().map(|bcrypt| bcrypt.cost) {
                        let like = |job: &Job| job.first.as_ref().is_some_and(|first| first.cost == cost);
                        state.skipped_total += state.waiting.retain(|job| !job.reply.is_closed());
                        let idle = self.threads - state.busy;
                        let share = (1 + state.waiting.count(like))
                            .div_ceil(idle)
                            .min(bcrypt_interleaved::LANES);
                        jobs.extend(state.waiting.pop_like(share - 1, like));
                    }
                    state.busy += 1;
                    state.running += jobs.len();
                    return Some(jobs);
                }
                None => state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// What a task begins with, if that is bcrypt.
    pub(super) fn first_bcrypt(&self, password: &Password, task: &Task) -> Option<Bcrypt> {
        let password = password.as_bytes();
        match task {
            Task::Hash { salt } => self.verifier.scheme.bcrypt(password, *salt),
            Task::Verify(stored) => self.verifier.first_bcrypt(password, stored.as_ref()),
            #[cfg(test)]
            Task::Call(_) => None,
        }
    }

    /// The one place where jobs become computations.
    fn answer(&self, password: &Password, task: Task, ready: &mut Ready) -> anyhow::Result<Answer> {
        match task {
            Task::Hash { salt } => self
                .verifier
                .scheme
                .hash(password.as_bytes(), salt, ready)
                .map(Answer::Hash),
            Task::Verify(stored) => self
                .verifier
                .verify_both_forms(password, stored, ready)
                .map(Answer::Verdict),
            #[cfg(test)]
            Task::Call(call) => {
                call();
                Ok(Answer::Called)
            }
        }
    }
}

/// Computes what jobs of one cost begin with, at once, and gives each its own.
fn compute_first(jobs: &mut [Job]) -> Vec<Ready> {
    let firsts: Vec<Option<Bcrypt>> = jobs.iter_mut().map(|job| job.first.take()).collect();
    let mut digests = Bcrypt::compute_all(&firsts.iter().flatten().collect::<Vec<_>>()).into_iter();
    firsts
        .into_iter()
        .map(|first| Ready(first.and_then(|first| Some((first, digests.next()?)))))
        .collect()
}

/// When a queue of this length is likely to have been worked off, in whole seconds, at least one.
pub(super) fn retry_after(mean: Duration, waiting: usize, threads: usize) -> Duration {
    let rounds = u32::try_from(waiting.div_ceil(threads.max(1))).unwrap_or(u32::MAX);
    let wait = mean.saturating_mul(rounds).min(MAX_RETRY_AFTER);
    Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(Duration::from_secs(1))
}
