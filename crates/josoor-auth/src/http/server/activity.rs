//! What a connection is doing, for the time-outs and for the choice of the one to close.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http::Version;
use tokio::time::{Instant, sleep_until};

/// What a connection is doing. The time-outs read these when they are due, so that a request costs a few additions and wakes no
/// task.
pub(super) struct Activity {
    born: Instant,
    requests: AtomicU64,
    pub(super) in_flight: AtomicUsize,
    is_http2: AtomicBool,
    ends_with_answer: AtomicBool,
    /// When the connection last had something to do, in nanoseconds since `born`.
    since: AtomicU64,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            born: Instant::now(),
            requests: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            is_http2: AtomicBool::new(false),
            ends_with_answer: AtomicBool::new(false),
            since: AtomicU64::new(0),
        }
    }

    /// When the connection last had something to do, or began.
    pub(super) fn last(&self) -> Instant {
        self.born + Duration::from_nanos(self.since.load(Ordering::Relaxed))
    }

    /// Whether there was any request.
    pub(super) fn was_asked(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0
    }

    /// Whether the requests are of HTTP/2; false before the first one.
    pub(super) fn is_http2(&self) -> bool {
        self.is_http2.load(Ordering::Relaxed)
    }

    /// Makes every answer from now on the last one of its connection.
    pub(super) fn end_with_answer(&self) {
        self.ends_with_answer.store(true, Ordering::Relaxed);
    }

    pub(super) fn touch(&self) {
        let nanos = u64::try_from(self.born.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.since.store(nanos, Ordering::Relaxed);
    }

    /// Completes once no first request has come for `first`, or nothing was in flight for `idle`; says whether there was
    /// any request. A request that arrives byte by byte is none until its headers are there, and HTTP/2's pings, which keep
    /// an idle connection for ever, are none either.
    pub(super) async fn silence(&self, first: Duration, idle: Duration) -> bool {
        loop {
            let was_asked = self.was_asked();
            let now = Instant::now();
            let ends = if !was_asked {
                self.born + first
            } else if self.in_flight.load(Ordering::Relaxed) > 0 {
                now + idle
            } else {
                self.born + Duration::from_nanos(self.since.load(Ordering::Relaxed)) + idle
            };
            if now >= ends {
                return was_asked;
            }
            // The end may have come nearer by then: the first request is no reason to wake up.
            sleep_until(ends.min(now + first.min(idle))).await;
        }
    }
}

/// Counts a request as in flight until it is answered or dropped.
pub(super) struct InFlight(Arc<Activity>);

impl InFlight {
    pub(super) fn begin(activity: &Arc<Activity>, version: Version) -> Self {
        if version == Version::HTTP_2 {
            activity.is_http2.store(true, Ordering::Relaxed);
        }
        activity.requests.fetch_add(1, Ordering::Relaxed);
        activity.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }

    /// Whether its answer is the last one of the connection.
    pub(super) fn is_last(&self) -> bool {
        self.0.ends_with_answer.load(Ordering::Relaxed)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.touch();
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
