//! Standard error behind a thread of its own, so that no request waits for whoever reads the log.
//!
//! Lines leave in the order in which they came, the first at once; while a write is under way, and for a moment after it, the
//! next lines gather and leave together. When more than [`MOST`] bytes wait, whoever logs waits as well, so that nothing is lost.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Bytes that may wait.
const MOST: usize = 1024 * 1024;

/// How long lines may gather after a write.
const GATHERING: Duration = Duration::from_millis(2);

/// How long the end of the program waits for the last lines. Who reads them may have stopped reading.
const PATIENCE: Duration = Duration::from_secs(1);

/// The way to standard error. Clones lead to the same place.
#[derive(Clone)]
pub(super) struct Stderr(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Something waits to be written.
    some: Condvar,
    /// Something was written.
    written: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Whether a write is under way.
    busy: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while it is held leaves whole bytes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of the thread.
    fn write(&self, mut out: impl io::Write) {
        let mut taken = Vec::new();
        loop {
            {
                let mut state = self.lock();
                while state.waiting.is_empty() {
                    state = self.some.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                std::mem::swap(&mut state.waiting, &mut taken);
                state.busy = true;
            }
            // There is nobody left to tell that the log cannot be written.
            let _ = out.write_all(&taken).and_then(|()| out.flush());
            taken.clear();
            // Lines gather meanwhile, and whoever logs them need not wake this thread.
            std::thread::sleep(GATHERING);
            self.lock().busy = false;
            self.written.notify_all();
        }
    }
}

impl Stderr {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<Self> {
        Self::start_to(io::stderr())
    }

    fn start_to(out: impl io::Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let writer = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.write(out))?;
        Ok(Self(shared))
    }

    /// Waits until what was logged so far is written, but not for ever.
    pub(super) fn flush(&self) {
        let state = self.0.lock();
        let unfinished = |state: &mut State| state.busy || !state.waiting.is_empty();
        // Either way there is no more to be done.
        let _ = self.0.written.wait_timeout_while(state, PATIENCE, unfinished);
    }
}

impl io::Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        while state.waiting.len() > MOST {
            state = self.0.written.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let wakes = state.waiting.is_empty() && !state.busy;
        state.waiting.extend_from_slice(bytes);
        drop(state);
        // A thread that is writing looks again by itself.
        if wakes {
            self.0.some.notify_one();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'writer> MakeWriter<'writer> for Stderr {
    type Writer = Self;

    fn make_writer(&'writer self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::mpsc;

    use super::*;

    /// Keeps what is written, and holds every write until it is let go.
    struct Held(Arc<Mutex<Vec<u8>>>, mpsc::Receiver<()>);

    impl io::Write for Held {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.1.recv();
            self.0.lock().expect("unpoisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_of_many_threads_arrive_whole_and_none_is_lost() {
        let (text, (go, held)) = (Arc::<Mutex<Vec<u8>>>::default(), mpsc::channel());
        let log = Stderr::start_to(Held(Arc::clone(&text), held)).expect("a thread");
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let mut log = log.clone();
                scope.spawn(move || {
                    for line in 0..10_000 {
                        // Long enough that the bound is met.
                        let line = format!("{thread} {line} {}\n", "x".repeat(40));
                        log.write_all(line.as_bytes()).expect("taken");
                    }
                });
            }
            drop(go);
        });
        log.flush();
        let text = String::from_utf8(text.lock().expect("unpoisoned").clone()).expect("UTF-8");
        let mut next = [0; 4];
        for line in text.lines() {
            let mut parts = line.split(' ');
            let thread: usize = parts.next().and_then(|part| part.parse().ok()).expect("a thread");
            assert_eq!(parts.next(), Some(next[thread].to_string().as_str()), "{line}");
            assert_eq!(parts.next().map(str::len), Some(40));
            next[thread] += 1;
        }
        assert_eq!(next, [10_000; 4]);
    }
}
