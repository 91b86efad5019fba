//! How a long computation leaves the core to requests.

use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Pauses between two looks at the clocks.
const PAUSES: u32 = 4;
/// The part of a core that a computation gets at least before it stops giving way: one of so many.
const LEAST_SHARE: u32 = 4;

/// Yields the core again and again, as long as enough of it is left for the computation itself.
///
/// A low priority is not enough: whenever a request's thread is interrupted in favour of another process, Linux may go on
/// with the thread that hashes, because that one has had less than its due, and then leaves it the core until a timer's
/// tick, which is up to ten milliseconds away. A yield is a moment at which the request goes on before. But whoever yields
/// also loses the rest of its turn: while requests want all cores, sign-ins would hardly get on at all. The priority then
/// has to do.
pub(super) struct GiveWay {
    begun: Instant,
    /// What the thread had used of a core before.
    used: Duration,
    pauses: u32,
    yields: bool,
}

impl GiveWay {
    /// For a computation that begins now, on this thread.
    pub(super) fn begin() -> Self {
        Self {
            begun: Instant::now(),
            used: thread_time(),
            pauses: 0,
            yields: true,
        }
    }

    /// To be called every tenth of a millisecond or so.
    pub(super) fn pause(&mut self) {
        self.pauses += 1;
        if self.pauses.is_multiple_of(PAUSES) {
            let used = thread_time().saturating_sub(self.used);
            self.yields = gets_enough(used, self.begun.elapsed());
        }
        if self.yields {
            thread::yield_now();
        }
    }
}

fn gets_enough(used: Duration, elapsed: Duration) -> bool {
    used.saturating_mul(LEAST_SHARE) >= elapsed
}

/// What this thread has used of a core since it began.
fn thread_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime)
        .try_into()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_way_while_it_gets_a_quarter_of_a_core() {
        let ms = Duration::from_millis;
        assert!(gets_enough(ms(0), ms(0)));
        assert!(gets_enough(ms(100), ms(100)));
        assert!(gets_enough(ms(25), ms(100)));
        assert!(!gets_enough(ms(24), ms(100)));
    }

    #[test]
    fn stops_when_it_is_kept_waiting() {
        let mut way = GiveWay::begin();
        // As if it had begun a minute ago and not been let run since.
        way.begun = way
            .begun
            .checked_sub(Duration::from_mins(1))
            .expect("the machine is up for longer");
        (0..PAUSES).for_each(|_| way.pause());
        assert!(!way.yields);
    }
}
