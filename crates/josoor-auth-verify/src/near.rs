//! Copies of sessions and users in the memory of this process, for the few seconds in which they can be believed.
//!
//! They are believed only while invalidations are heard, and none for longer than a few seconds. The whole point is what
//! happens when a copy is read elsewhere while the thing that it is a copy of changes:
//!
//! * Whoever is about to read takes a note of what was heard of the two so far ([`Near::heard_of`]), and the copies that come
//!   of the reading are kept only if nothing more was heard of them since.
//! * The end of a session replaces every copy of it, and no copy replaces an end.
//! * The generations of a session that are retired are known by the highest of them. That number only grows here, whatever is
//!   read or heard in whatever order.
//! * A user's copies carry a version; none is taken in where a higher one is known.
//!
//! So it does not matter how long a reading takes and what overtakes it. `tests/near.rs` runs this file under every order in
//! which its steps can happen.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use uuid::Uuid;

use crate::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, PoisonError};

/// What is heard is counted by stripe, so that a reading that began before can tell.
const STRIPES: u64 = 256;

/// Bytes of a session's entry, with its share of the cache's own bookkeeping.
const SESSION_BYTES: u64 = 160;

/// Bytes of a user's entry besides what the copy itself takes.
const USER_BYTES: u64 = 128;

/// A copy of a user.
pub trait Versioned {
    /// Grows with every change of the user.
    fn version(&self) -> i64;

    /// About how many bytes the copy takes.
    fn bytes(&self) -> u64;
}

/// What is known of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session<E> {
    /// It is live.
    Live {
        /// Whose it is.
        user: i64,
        /// When it ends unless a refresh moves that, in microseconds since 1970.
        expires_at: i64,
        /// Access tokens of this generation and of earlier ones are refused; 0 for none.
        retired: i64,
    },
    /// It has ended, for this reason. That is believed always.
    Ended(E),
}

#[derive(Clone)]
enum SessionEntry<E> {
    Live {
        user: i64,
        expires_at: i64,
        retired: i64,
        filled: Instant,
    },
    /// Generations up to this one are known to be retired.
    RetiredUpTo(i64),
    Ended(E),
}

enum UserEntry<U> {
    Copy {
        copy: Arc<U>,
        filled: Instant,
    },
    /// Something with this version is known to exist.
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

/// What was read of a live session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadSession {
    /// Whose it is.
    pub user: i64,
    /// When it ends unless a refresh moves that, in microseconds since 1970.
    pub expires_at: i64,
    /// The highest generation that a change of the password has retired; 0 for none.
    pub retired: i64,
}

/// Whether an access token of `generation` is refused where generations up to `retired` are.
pub const fn is_retired(generation: i64, retired: i64) -> bool {
    retired > 0 && generation <= retired
}

/// What was heard of a session and of a user up to some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    session: u64,
    user: u64,
}

/// The copies. `U` is a user's copy, `E` why a session has ended.
pub struct Near<U: Versioned, E: Clone> {
    sessions: Cache<Uuid, SessionEntry<E>, ByBytes>,
    users: Cache<i64, UserEntry<U>, ByBytes>,
    stripes: Box<[Mutex<u64>]>,
    life: Duration,
    born: Instant,
    /// Entries filled before this moment, in nanoseconds since `born`, are not believed.
    believed_from: AtomicU64,
    hearing: AtomicBool,
}

impl<U: Versioned, E: Clone> Near<U, E> {
    /// Room for about `bytes`, at least 64 KiB; no copy is believed for longer than `life`. `hearing` says whether
    /// invalidations are heard from the beginning, because all of them are made in this process.
    pub fn new(bytes: u64, life: Duration, hearing: bool) -> Self {
        let half = bytes.max(64 * 1024) / 2;
        // An estimate; what bounds the cache is the weight.
        let sessions = usize::try_from(half / SESSION_BYTES).unwrap_or(usize::MAX);
        Self {
            sessions: Cache::with_weighter(sessions, half, ByBytes),
            users: Cache::with_weighter(sessions / 4, half, ByBytes),
            stripes: (0..STRIPES).map(|_| Mutex::new(0)).collect(),
            life,
            born: Instant::now(),
            believed_from: AtomicU64::new(0),
            hearing: AtomicBool::new(hearing),
        }
    }

    /// What is known of a session and can be believed at `now`.
    pub fn session(&self, id: Uuid, now: Instant) -> Option<Session<E>> {
        match self.sessions.get(&id)? {
            SessionEntry::Ended(why) => Some(Session::Ended(why)),
            SessionEntry::RetiredUpTo(_) => None,
            SessionEntry::Live {
                user,
                expires_at,
                retired,
                filled,
            } => self.is_believed(filled, now).then_some(Session::Live {
                user,
                expires_at,
                retired,
            }),
        }
    }

    /// The copy of a user that can be believed at `now`.
    pub fn user(&self, id: i64, now: Instant) -> Option<Arc<U>> {
        match self.users.get(&id)? {
            UserEntry::Copy { copy, filled } => self.is_believed(filled, now).then_some(copy),
            UserEntry::AtLeast(_) => None,
        }
    }

    /// What was heard so far, to be noted before anything is read. One lock after the other: the two may share a stripe, and
    /// who held the first while asking for the second would wait for ever.
    pub fn heard_of(&self, session: Uuid, user: i64) -> Heard {
        let session = *self.session_stripe(session);
        let user = *self.user_stripe(user);
        Heard { session, user }
    }

    /// Takes in a session that was read as live at `filled`, unless something was heard of it since `heard`, or it is known to
    /// have ended: the act that ends it tells this cache before the stores below, so what is read there may still be live after
    /// that. Gives the generation up to which tokens are refused, by what was read and by what is known.
    #[must_use]
    pub fn fill_session(&self, id: Uuid, heard: Heard, read: ReadSession, filled: Instant) -> i64 {
        let now_heard = self.session_stripe(id);
        let known = self.sessions.get(&id);
        let retired = match known {
            Some(SessionEntry::Live { retired, .. } | SessionEntry::RetiredUpTo(retired)) => {
                retired.max(read.retired)
            }
            Some(SessionEntry::Ended(_)) => return read.retired,
            None => read.retired,
        };
        if *now_heard == heard.session {
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

    /// Takes in that a session's generations up to this one are retired. Holds from the moment that this returns.
    pub fn retire_generations(&self, id: Uuid, up_to: i64) {
        let mut heard = self.session_stripe(id);
        *heard += 1;
        let entry = match self.sessions.get(&id) {
            Some(SessionEntry::Ended(_)) => return,
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

    /// Takes in a copy of a user that was read at `filled`, unless something was heard of the user since `heard`. Whether the
    /// copy may be used: not where a higher version is known.
    pub fn fill_user(&self, id: i64, heard: Heard, copy: &Arc<U>, filled: Instant) -> bool {
        let now_heard = self.user_stripe(id);
        if self.known_version(id).is_some_and(|known| copy.version() < known) {
            return false;
        }
        if *now_heard == heard.user {
            let entry = UserEntry::Copy {
                copy: Arc::clone(copy),
                filled,
            };
            self.users.insert(id, entry);
        }
        true
    }

    /// Takes in that a session has ended. Holds from the moment that this returns.
    pub fn end_session(&self, id: Uuid, why: E) {
        let mut heard = self.session_stripe(id);
        *heard += 1;
        self.sessions.insert(id, SessionEntry::Ended(why));
    }

    /// Takes in that a user has this version by now: copies with a lower one are not believed any more.
    pub fn user_at_least(&self, id: i64, version: i64) {
        let mut heard = self.user_stripe(id);
        *heard += 1;
        if self.known_version(id).is_none_or(|known| known < version) {
            self.users.insert(id, UserEntry::AtLeast(version));
        }
    }

    /// Invalidations are heard from now on. Nothing is believed that was filled until now.
    pub fn start_hearing(&self) {
        self.forget_all();
        self.hearing.store(true, Ordering::Release);
    }

    /// Invalidations may be missed from now on. Nothing is believed but ends.
    pub fn stop_hearing(&self) {
        self.hearing.store(false, Ordering::Release);
    }

    /// Whether invalidations are heard.
    pub fn is_hearing(&self) -> bool {
        self.hearing.load(Ordering::Acquire)
    }

    /// From now on nothing is believed that was filled until now.
    pub fn forget_all(&self) {
        self.believed_from
            .store(self.nanos(Instant::now()).saturating_add(1), Ordering::Release);
    }

    fn is_believed(&self, filled: Instant, now: Instant) -> bool {
        self.is_hearing()
            && now.saturating_duration_since(filled) < self.life
            && self.nanos(filled) >= self.believed_from.load(Ordering::Acquire)
    }

    fn known_version(&self, id: i64) -> Option<i64> {
        self.users.get(&id).map(|entry| match entry {
            UserEntry::Copy { copy, .. } => copy.version(),
            UserEntry::AtLeast(version) => version,
        })
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.born).as_nanos()).unwrap_or(u64::MAX)
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
