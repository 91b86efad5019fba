//! Readings under way, so that many requests that need the same thing wait for one of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

/// Who reads what. One reading for each session at a time.
#[derive(Debug, Default)]
pub struct Flights(Mutex<HashMap<Uuid, Arc<tokio::sync::Mutex<()>>>>);

/// The right to read. Others wait until it is dropped.
#[derive(Debug)]
pub struct Flight<'a> {
    flights: &'a Flights,
    session: Uuid,
    turn: Option<OwnedMutexGuard<()>>,
}

impl Flights {
    /// The right to read a session. When somebody reads it already, waits for that and gives `None`: what was read may be in
    /// the cache now. If it is not, because something has changed meanwhile, do not ask again but read it yourself, so that
    /// nobody waits for more than one reading.
    pub async fn board(&self, session: Uuid) -> Option<Flight<'_>> {
        let lock = Arc::clone(self.lock().entry(session).or_default());
        if let Ok(turn) = Arc::clone(&lock).try_lock_owned() {
            return Some(Flight {
                flights: self,
                session,
                turn: Some(turn),
            });
        }
        drop(lock.lock().await);
        None
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<tokio::sync::Mutex<()>>>> {
        // A panic elsewhere leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        // Out of the map first: who comes from now on begins anew.
        self.flights.lock().remove(&self.session);
        self.turn = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn one_reads_and_the_others_wait() {
        let (flights, session) = (Flights::default(), Uuid::from_u128(7));
        let first = flights.board(session).await.expect("nobody reads");
        assert!(
            flights.board(Uuid::from_u128(8)).await.is_some(),
            "another session"
        );
        let read = AtomicUsize::new(0);
        let others = futures_util::future::join_all((0..10).map(|_| async {
            let alone = flights.board(session).await.is_some();
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
        assert!(flights.lock().is_empty());
        assert!(flights.board(session).await.is_some(), "the next one begins anew");
    }
}
