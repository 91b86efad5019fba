//! One read of a session at a time: many requests that need the same session wait for one of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

/// The reads under way, one for each session at a time.
#[derive(Debug, Default)]
pub struct SingleFlight(Mutex<HashMap<Uuid, Arc<tokio::sync::Mutex<()>>>>);

/// The right to read a session. The others wait until it is dropped.
#[derive(Debug)]
pub struct ReadGuard<'a> {
    reads: &'a SingleFlight,
    session: Uuid,
    lock: Option<OwnedMutexGuard<()>>,
}

impl SingleFlight {
    /// The right to read a session. While another request reads it, waits for that one and returns `None`: the result may be
    /// in the cache now. If it is not, because the session changed meanwhile, read without a guard rather than acquire
    /// again, so that no request waits for more than one read.
    pub async fn acquire(&self, session: Uuid) -> Option<ReadGuard<'_>> {
        let lock = Arc::clone(self.lock().entry(session).or_default());
        if let Ok(guard) = Arc::clone(&lock).try_lock_owned() {
            return Some(ReadGuard {
                reads: self,
                session,
                lock: Some(guard),
            });
        }
        drop(lock.lock().await);
        None
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<tokio::sync::Mutex<()>>>> {
        // A panic elsewhere cannot leave the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ReadGuard<'_> {
    fn drop(&mut self) {
        // Out of the map first, so that a request that comes now starts a read of its own.
        self.reads.lock().remove(&self.session);
        self.lock = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn one_request_reads_and_the_others_wait() {
        let (reads, session) = (SingleFlight::default(), Uuid::from_u128(7));
        let first = reads.acquire(session).await.expect("no read under way");
        assert!(
            reads.acquire(Uuid::from_u128(8)).await.is_some(),
            "another session"
        );
        let read = AtomicUsize::new(0);
        let others = futures_util::future::join_all((0..10).map(|_| async {
            let alone = reads.acquire(session).await.is_some();
            assert_eq!(read.load(Ordering::SeqCst), 1, "not before it was read");
            alone
        }));
        let reader = async {
            tokio::task::yield_now().await;
            read.store(1, Ordering::SeqCst);
            drop(first);
        };
        let (alone, ()) = tokio::join!(others, reader);
        assert!(!alone.contains(&true));
        assert!(reads.lock().is_empty());
        assert!(
            reads.acquire(session).await.is_some(),
            "the next request starts a read"
        );
    }
}
