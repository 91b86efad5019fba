//! On whose behalf a task works: what it logs and traces goes by that.

use crate::domain::RequestId;

use super::traces::trace::Trace;

tokio::task_local! {
    /// Not a span of `tracing`: that would be a lookup, an allocation and a formatted text for each request, most of which
    /// log nothing.
    static SCOPE: Scope;
}

/// What a task works for: a request, a traced piece of background work, or both.
#[derive(Clone, Debug)]
pub struct Scope {
    pub(super) request: Option<RequestId>,
    pub(super) trace: Option<Trace>,
}

impl Scope {
    /// Work for a request, and its trace if it is sampled.
    pub fn of_request(id: RequestId, trace: Option<Trace>) -> Self {
        Self {
            request: Some(id),
            trace,
        }
    }

    /// Work that no request waits for.
    pub fn of_background(trace: Option<Trace>) -> Self {
        Self { request: None, trace }
    }

    /// The scope of this task, to pass it on to another one.
    pub fn current() -> Option<Self> {
        SCOPE.try_with(Self::clone).ok()
    }

    /// Does work in this scope.
    pub fn run<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        SCOPE.scope(self, work)
    }

    /// What `read` gives for the scope of this task, if it has one.
    pub(super) fn with<T>(read: impl FnOnce(&Self) -> Option<T>) -> Option<T> {
        SCOPE.try_with(read).ok().flatten()
    }

    /// As [`run`](Self::run), for work that does not wait.
    #[cfg(test)]
    pub(super) fn run_sync<T>(self, work: impl FnOnce() -> T) -> T {
        SCOPE.sync_scope(self, work)
    }
}
