//! A cache of sessions and users in the memory of this process, for the few seconds in which its entries are fresh.
//!
//! Entries are used only while the process is subscribed to invalidations, and none for longer than a few seconds. The rules
//! cover the case that a session or a user changes while a copy of it is being read:
//!
//! * Before a read, the reader takes a snapshot of the invalidation counters of the session and the user
//!   ([`LocalCache::snapshot`]); the result is cached only if neither counter has moved since.
//! * A revocation replaces every copy of the session, and no copy replaces a revocation.
//! * The highest retired generation of a session is kept. It only grows here, in whatever order reads and messages arrive.
//! * A user's copies carry a version; no copy is cached where a higher version is known.
//!
//! So the duration of a read, and what happens during it, do not matter. `tests/local_cache.rs` runs this file under every
//! order in which its steps can happen.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use uuid::Uuid;

use crate::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, PoisonError};

/// Invalidations are counted by stripe, so that a read can tell whether one came in since it began.
const STRIPES: u64 = 256;

/// Bytes of a session's entry, with its share of the cache's own bookkeeping.
const SESSION_BYTES: u64 = 160;

/// Bytes of a user's entry besides the copy itself.
const USER_BYTES: u64 = 128;

/// A copy of a user.
pub trait Versioned {
    /// Grows with every change of the user.
    fn version(&self) -> i64;

    /// About how many bytes the copy takes.
    fn bytes(&self) -> u64;
}

/// A session, as this process knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CachedSession<E> {
    /// Live.
    Live {
        /// The id of its user.
        user: i64,
        /// Its end unless a use moves it, in microseconds since 1970.
        expires_at: i64,
        /// Access tokens of this generation and of earlier ones are rejected; 0 for none.
        retired: i64,
    },
    /// Revoked, for this reason. Never stale.
    Revoked(E),
}

#[derive(Clone)]
enum SessionEntry<E> {
    Live {
        user: i64,
        expires_at: i64,
        retired: i64,
        filled: Instant,
    },
    /// Only the highest retired generation is known.
    RetiredUpTo(i64),
    Revoked(E),
}

enum UserEntry<U> {
    Copy {
        copy: Arc<U>,
        filled: Instant,
    },
    /// Only the lowest version that may be used is known.
    AtLeast(i64),
}

impl<U> Clone for UserEntry<U> {
    fn clone(&self) -> Self {
        match self {
            Self::Copy { copy, filled } => Self::Copy {
                copy: Arc::clone(copy),
                filled: *filled,
            },
            Self::AtLeast(version) => Self::AtLeast(*version),
        }
    }
}

#[derive(Clone)]
struct ByBytes;

impl<E> Weighter<Uuid, SessionEntry<E>> for ByBytes {
    fn weight(&self, _: &Uuid, _: &SessionEntry<E>) -> u64 {
        SESSION_BYTES
    }
}

impl<U: Versioned> Weighter<i64, UserEntry<U>> for ByBytes {
    fn weight(&self, _: &i64, entry: &UserEntry<U>) -> u64 {
        match entry {
            UserEntry::Copy { copy, .. } => USER_BYTES + copy.bytes(),
            UserEntry::AtLeast(_) => USER_BYTES,
        }
    }
}

/// A live session, as read from a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadSession {
    /// The id of its user.
    pub user: i64,
    /// Its end unless a use moves it, in microseconds since 1970.
    pub expires_at: i64,
    /// The highest generation that a change of the password has retired; 0 for none.
    pub retired: i64,
}

/// Whether an access token of `generation` is rejected where generations up to `retired` are retired.
pub const fn is_retired(generation: i64, retired: i64) -> bool {
    retired > 0 && generation <= retired
}

/// The invalidation counters of a session and of a user at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    session: u64,
    user: u64,
}

/// The cache. `U` is the copy of a user, `E` the reason of a revocation.
pub struct LocalCache<U: Versioned, E: Clone> {
    sessions: Cache<Uuid, SessionEntry<E>, ByBytes>,
    users: Cache<i64, UserEntry<U>, ByBytes>,
    stripes: Box<[Mutex<u64>]>,
    time_to_live: Duration,
    created: Instant,
    /// Entries filled before this moment, in nanoseconds since `created`, are stale.
    fresh_from: AtomicU64,
    subscribed: AtomicBool,
}

impl<U: Versioned, E: Clone> LocalCache<U, E> {
    /// A cache of about `bytes`, at least 64 KiB, whose copies are fresh for at most `time_to_live`. `subscribed` from the
    /// beginning is a process that makes all changes itself.
    pub fn new(bytes: u64, time_to_live: Duration, subscribed: bool) -> Self {
        let half = bytes.max(64 * 1024) / 2;
        // An estimate; what bounds the cache is the weight.
        let sessions = usize::try_from(half / SESSION_BYTES).unwrap_or(usize::MAX);
        Self {
            sessions: Cache::with_weighter(sessions, half, ByBytes),
            users: Cache::with_weighter(sessions / 4, half, ByBytes),
            stripes: (0..STRIPES).map(|_| Mutex::new(0)).collect(),
            time_to_live,
            created: Instant::now(),
            fresh_from: AtomicU64::new(0),
            subscribed: AtomicBool::new(subscribed),
        }
    }

    /// The session, if it is known to be revoked or its entry is fresh at `now`.
    pub fn session(&self, id: Uuid, now: Instant) -> Option<CachedSession<E>> {
        match self.sessions.get(&id)? {
            SessionEntry::Revoked(reason) => Some(CachedSession::Revoked(reason)),
            SessionEntry::RetiredUpTo(_) => None,
            SessionEntry::Live {
                user,
                expires_at,
                retired,
                filled,
            } => self.is_fresh(filled, now).then_some(CachedSession::Live {
                user,
                expires_at,
                retired,
            }),
        }
    }

    /// The copy of a user, if it is fresh at `now`.
    pub fn user(&self, id: i64, now: Instant) -> Option<Arc<U>> {
        match self.users.get(&id)? {
            UserEntry::Copy { copy, filled } => self.is_fresh(filled, now).then_some(copy),
            UserEntry::AtLeast(_) => None,
        }
    }

    /// The counters, to be taken before anything is read. One lock after the other: the two may share a stripe, and holding
    /// the first while asking for the second would deadlock.
    pub fn snapshot(&self, session: Uuid, user: i64) -> Snapshot {
        let session = *self.session_stripe(session);
        let user = *self.user_stripe(user);
        Snapshot { session, user }
    }

    /// Caches a session that was read as live at `filled`, unless it was invalidated since `snapshot` or is known to be
    /// revoked: a revocation reaches this cache before the stores below, so a store may still show the session as live then.
    /// Returns the highest generation whose tokens are rejected, by the read and by what is known.
    #[must_use]
    pub fn fill_session(&self, id: Uuid, snapshot: Snapshot, read: ReadSession, filled: Instant) -> i64 {
        let count = self.session_stripe(id);
        let known = self.sessions.get(&id);
        let retired = match known {
            Some(SessionEntry::Live { retired, .. } | SessionEntry::RetiredUpTo(retired)) => {
                retired.max(read.retired)
            }
            Some(SessionEntry::Revoked(_)) => return read.retired,
            None => read.retired,
        };
        if *count == snapshot.session {
            let entry = SessionEntry::Live {
                user: read.user,
                expires_at: read.expires_at,
                retired,
                filled,
            };
            self.sessions.insert(id, entry);
        }
        retired
    }

    /// Records that a session's generations up to this one are retired. In effect when this returns.
    pub fn retire_generations(&self, id: Uuid, up_to: i64) {
        let mut count = self.session_stripe(id);
        *count += 1;
        let entry = match self.sessions.get(&id) {
            Some(SessionEntry::Revoked(_)) => return,
            Some(SessionEntry::Live {
                user,
                expires_at,
                retired,
                filled,
            }) => SessionEntry::Live {
                user,
                expires_at,
                retired: retired.max(up_to),
                filled,
            },
            Some(SessionEntry::RetiredUpTo(retired)) => SessionEntry::RetiredUpTo(retired.max(up_to)),
            None => SessionEntry::RetiredUpTo(up_to),
        };
        self.sessions.insert(id, entry);
    }

    /// Caches a copy of a user that was read at `filled`, unless the user was invalidated since `snapshot`. Returns whether the
    /// copy may be used: not where a higher version is known.
    pub fn fill_user(&self, id: i64, snapshot: Snapshot, copy: &Arc<U>, filled: Instant) -> bool {
        let count = self.user_stripe(id);
        if self.known_version(id).is_some_and(|known| copy.version() < known) {
            return false;
        }
        if *count == snapshot.user {
            let entry = UserEntry::Copy {
                copy: Arc::clone(copy),
                filled,
            };
            self.users.insert(id, entry);
        }
        true
    }

    /// Records that a session is revoked. In effect when this returns.
    pub fn revoke_session(&self, id: Uuid, reason: E) {
        let mut count = self.session_stripe(id);
        *count += 1;
        self.sessions.insert(id, SessionEntry::Revoked(reason));
    }

    /// Records that a user has this version by now: copies with a lower one are stale.
    pub fn raise_user_version(&self, id: i64, version: i64) {
        let mut count = self.user_stripe(id);
        *count += 1;
        if self.known_version(id).is_none_or(|known| known < version) {
            self.users.insert(id, UserEntry::AtLeast(version));
        }
    }

    /// Invalidations arrive from now on. Everything that was filled until now is stale.
    pub fn on_subscribed(&self) {
        self.invalidate_all();
        self.subscribed.store(true, Ordering::Release);
    }

    /// Invalidations may be missed from now on. Only revocations are used.
    pub fn on_unsubscribed(&self) {
        self.subscribed.store(false, Ordering::Release);
    }

    /// Whether invalidations arrive.
    pub fn is_subscribed(&self) -> bool {
        self.subscribed.load(Ordering::Acquire)
    }

    /// Makes everything stale that was filled until now.
    pub fn invalidate_all(&self) {
        self.fresh_from
            .store(self.nanos(Instant::now()).saturating_add(1), Ordering::Release);
    }

    fn is_fresh(&self, filled: Instant, now: Instant) -> bool {
        self.is_subscribed()
            && now.saturating_duration_since(filled) < self.time_to_live
            && self.nanos(filled) >= self.fresh_from.load(Ordering::Acquire)
    }

    fn known_version(&self, id: i64) -> Option<i64> {
        self.users.get(&id).map(|entry| match entry {
            UserEntry::Copy { copy, .. } => copy.version(),
            UserEntry::AtLeast(version) => version,
        })
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.created).as_nanos()).unwrap_or(u64::MAX)
    }

    fn session_stripe(&self, id: Uuid) -> MutexGuard<'_, u64> {
        self.stripe(id.as_u64_pair().1)
    }

    fn user_stripe(&self, id: i64) -> MutexGuard<'_, u64> {
        self.stripe(id.unsigned_abs())
    }

    fn stripe(&self, hash: u64) -> MutexGuard<'_, u64> {
        let index = usize::try_from(hash % STRIPES).unwrap_or(0);
        // A panic while a counter is held leaves it in order.
        self.stripes[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
