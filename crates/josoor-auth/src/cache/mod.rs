//! The hot copies of sessions and users: what an authenticated request reads instead of the database.
//!
//! Three tiers, each a copy of the one below: this node's **near cache**, the shared copies in **Redis** (where there
//! is one), and the **database**, which is the truth. The whole point is that a revocation wins against every copy,
//! whatever fails and in whatever order things arrive:
//!
//! * A session's end is final. Its tombstone replaces any copy and is replaced by none, in Redis by the script that
//!   writes copies; and the near cache takes a fill only if nothing was heard of its key since the fill began.
//! * A user's copies carry the user's version; a lower one never replaces a higher one.
//! * A session's copies say which generations of it are retired, and a lower number never replaces a higher one, whatever their
//!   versions are. A copy that does not say is not enough: nodes of the release before write such copies.
//! * The near cache is believed only while this node hears Redis, and no entry for longer than `cache.near_ttl`.
//!   What it knows to be ended is believed always.
//! * Redis is believed only while every write to it has succeeded and the connection has not been lost since. After
//!   that the **tail** first re-applies the table `changes` from the moment up to which Redis is known to be whole (a
//!   watermark that lives in Redis itself, so that a failover or an old snapshot takes it back along with the rest).
//! * The tail also re-reads the last moments of `changes` every second. That covers a crash between commit and
//!   announcement, and another process, such as the command line, that works on the same database.

pub mod stats;

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use josoor_auth_verify::{
    CachedSession, Claims, LocalCache, ReadSession, SingleFlight, Versioned, is_retired,
};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::clock::Clock;
use crate::config::CacheConfig;
use crate::domain::{Locale, Profile, Role, SessionId, Timestamp, UserId};
use crate::error::{Error, Refusal, Result};
use crate::redis::{Kv, KvError};
use crate::store::{Change, Conn, Db, RevokeReason, SessionRow, Touch, User};
use crate::telemetry::{CacheCounters, Metrics};

/// How long a user's copy stays in Redis without being written again.
const USER_COPY_LIFE: Duration = Duration::from_hours(24);

/// Changes are stamped before they are committed, by the database's clock. The stamp is taken inside the transaction, whose few
/// statements may take 5 s each: longer than that.
const COMMIT_WINDOW: Duration = Duration::from_mins(1);

/// How far back Redis is mended at least after a failure, whatever its watermark says.
const MEND_AT_LEAST: Duration = Duration::from_mins(15);

/// The longest that the tail waits for one answer of the database. A connection whose other end has gone silent answers
/// never; giving it up costs a connection.
const LOOK_AT_MOST: Duration = Duration::from_secs(5);

/// A watermark further ahead of the database's time was made by a node with a wrong clock, and says nothing.
const MARK_AHEAD_AT_MOST: Duration = Duration::from_mins(1);

/// Changes read in one step.
const PAGE: i64 = 1000;

/// Tombstones in one message.
const MESSAGE_ITEMS: usize = 200;

/// The watermark's key.
const WATERMARK: &str = "josoor-auth:applied";

/// Longer than any session that can be configured to matter; renewed every second.
const WATERMARK_LIFE: Duration = Duration::from_hours(9600);

/// How long a node believes that a note of use was written, before it writes the last-seen time again.
const SEEN_EVERY: Duration = Duration::from_mins(1);

/// What stands under [`WATERMARK`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Watermark {
    /// Every change committed before this moment has been applied to Redis; microseconds since 1970.
    version: i64,
}

/// What the tail remembers from round to round.
#[derive(Debug, Default)]
pub struct TailMemory {
    /// The changes applied lately, so that the window that is read again costs no writes.
    applied: HashMap<i64, Timestamp>,
    /// The watermark as this node last saw it.
    mark: i64,
}

/// The copy of a live session under `session:<sid>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionCopy {
    /// Whose it is.
    pub user_id: i64,
    /// For display.
    pub email: String,
    /// The role when the copy was written; informational. Authorisation reads [`UserCopy`].
    pub role: Role,
    /// When the user signed in.
    pub login_at: Timestamp,
    /// When the session ends if nothing more happens; a refresh moves it.
    pub expires_at: Timestamp,
    /// When the row was last touched, in microseconds since 1970: tells the newer of two copies.
    pub version: i64,
    /// Tokens of this generation and of earlier ones are refused; 0 for none. Absent in the copies of older releases.
    #[serde(default)]
    pub retired_generation: Option<i64>,
}

/// What stands under `session:<sid>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum SessionEntry {
    Tombstone { revoked: String },
    Live(SessionCopy),
}

/// The copy of a user under `user:<id>`. A copy that a node of the release before has written lacks `uid`, and is read again from
/// the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserCopy {
    /// Grows with every change.
    pub version: i64,
    /// What is shown of the user.
    #[serde(flatten)]
    pub profile: Profile,
    /// What was made of this copy.
    #[serde(skip)]
    pub memo: Memo,
}

impl std::ops::Deref for UserCopy {
    type Target = Profile;

    fn deref(&self) -> &Profile {
        &self.profile
    }
}

/// What somebody has made of a copy, such as its text in JSON: made once and kept as long as the copy, which never changes.
/// Says nothing about the copy itself.
#[derive(Default)]
pub struct Memo(OnceLock<Box<dyn Any + Send + Sync>>);

impl Memo {
    /// What a memo is taken to have in a cache.
    const BYTES: u64 = 512;

    /// What was made before, or what `make` makes now. `None` when something of another type is kept here.
    pub fn get_or_make<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.0.get_or_init(|| Box::new(make())).downcast_ref()
    }
}

impl Clone for Memo {
    /// Empty: the clone may be about to become another copy.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Memo {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Memo {}

impl std::fmt::Debug for Memo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Memo")
    }
}

impl From<&User> for UserCopy {
    fn from(user: &User) -> Self {
        Self {
            version: user.version,
            profile: user.into(),
            memo: Memo::default(),
        }
    }
}

impl UserCopy {
    /// What replaces the copy of a user who was deleted: newer than any.
    fn gone(id: UserId, now: Timestamp) -> Self {
        Self {
            version: i64::MAX,
            profile: Profile {
                id: id.0,
                uid: Uuid::nil(),
                email: String::new(),
                role: Role::User,
                is_active: false,
                full_name: None,
                email_verified: false,
                locale: Locale::En.as_str().to_owned(),
                created_at: now,
                updated_at: now,
            },
            memo: Memo::default(),
        }
    }

    const fn is_gone(&self) -> bool {
        self.version == i64::MAX
    }
}

/// What is told to other nodes on the channel `josoor-auth:invalidate`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Message {
    /// Sessions that were ended, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    revoked: Vec<(Uuid, String)>,
    /// Users that changed, and their versions now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    users: Vec<(i64, i64)>,
    /// Sessions whose generations up to a number are retired.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    retired: Vec<(Uuid, i64)>,
    /// A generation whose access token another service accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used: Option<Used>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Used {
    sid: Uuid,
    #[serde(rename = "gen")]
    generation: i64,
}

/// What an act did that others must hear of, after its commit.
#[derive(Debug, Default)]
pub struct Effects {
    revoked: Vec<(SessionId, RevokeReason, Timestamp)>,
    users: Vec<UserCopy>,
    retired: Vec<(SessionRow, UserCopy)>,
}

impl Effects {
    /// Adds an ended session.
    pub fn revoke(&mut self, session: &SessionRow, reason: RevokeReason) {
        self.revoked.push((session.id(), reason, session.expires_at));
    }

    /// Adds a session, as it is now, whose earlier generations were retired.
    pub fn retire(&mut self, session: &SessionRow, user: &User) {
        self.retired.push((session.clone(), user.into()));
    }

    /// Whether there is nothing to tell.
    pub const fn is_empty(&self) -> bool {
        self.revoked.is_empty() && self.users.is_empty() && self.retired.is_empty()
    }

    /// Adds a changed user.
    pub fn change(&mut self, user: &User) {
        self.users.push(user.into());
    }

    /// Adds a deleted user.
    pub fn delete(&mut self, user: UserId, now: Timestamp) {
        self.users.push(UserCopy::gone(user, now));
    }
}

impl Versioned for UserCopy {
    fn version(&self) -> i64 {
        self.version
    }

    fn bytes(&self) -> u64 {
        // The address and the name stand in the memo, too.
        let texts = self.email.len() + self.full_name.as_ref().map_or(0, String::len);
        192 + Memo::BYTES + 4 * texts as u64
    }
}

/// Whether Redis can be believed: while no write was lost and no other connection made since the tail last mended it.
struct Belief {
    failures: AtomicU64,
    mended: AtomicU64,
    /// Over which connection ([`Kv::epoch`]) it was mended.
    epoch: AtomicU64,
}

impl Belief {
    /// Starts in doubt: what Redis holds when a node comes up was written by others.
    fn new() -> Self {
        Self {
            failures: AtomicU64::new(1),
            mended: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
        }
    }

    fn holds(&self, epoch: u64) -> bool {
        self.epoch.load(Ordering::Acquire) == epoch
            && self.failures.load(Ordering::Acquire) == self.mended.load(Ordering::Acquire)
    }

    fn mend(&self, failures: u64, epoch: u64) {
        self.epoch.store(epoch, Ordering::Release);
        self.mended.store(failures, Ordering::Release);
    }

    fn doubt(&self) {
        self.failures.fetch_add(1, Ordering::AcqRel);
    }
}

/// The hot copies of this node and of Redis.
pub struct Hot {
    near: LocalCache<UserCopy, Refusal>,
    flights: SingleFlight,
    kv: Kv,
    db: Db,
    clock: Clock,
    near_hits: CacheCounters,
    shared_hits: CacheCounters,
    belief: Belief,
    /// Wakes the tail.
    wake: Notify,
    /// When the tail last read `changes` to its end, in microseconds since 1970.
    tailed_at: AtomicI64,
    /// The same by the monotonic clock.
    tailed: Mutex<Instant>,
    /// Which generations this node has noted lately, and when.
    noted: Cache<Uuid, (i64, Timestamp)>,
    /// When the users of sessions signed in, which never changes.
    sign_ins: Cache<Uuid, Timestamp>,
    /// The latest generations that this node has seen.
    generations: Cache<Uuid, i64>,
    touches: Mutex<VecDeque<Touch>>,
    touched: Notify,
    /// Refreshed sessions whose copies are still to be written.
    refreshed: Mutex<Vec<(SessionRow, Arc<UserCopy>)>>,
    some_refreshed: Notify,
}

impl std::fmt::Debug for Hot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hot").finish_non_exhaustive()
    }
}

/// Notes of use that wait to be written; more are dropped, and made again by the next request.
const MAX_TOUCHES: usize = 50_000;

/// Copies of refreshed sessions that wait to be written.
const MAX_REFRESHED: usize = 10_000;

/// Notes in one go: few enough that nobody waits long for SQLite's writer.
const TOUCHES_AT_ONCE: usize = 200;

impl Hot {
    /// Copies over these stores.
    pub fn new(config: &CacheConfig, kv: Kv, db: Db, clock: Clock, metrics: &Metrics) -> Self {
        let alone = matches!(kv, Kv::InProcess);
        Self {
            // A quarter is for the memory of tokens, which `keys` keeps.
            near: LocalCache::new(config.near_bytes / 4 * 3, config.near_ttl, alone),
            flights: SingleFlight::default(),
            near_hits: metrics.cache("near", "session"),
            shared_hits: metrics.cache("redis", "session"),
            belief: Belief::new(),
            wake: Notify::new(),
            tailed_at: AtomicI64::new(clock.now().as_micros()),
            tailed: Mutex::new(Instant::now()),
            noted: Cache::new(100_000),
            sign_ins: Cache::new(10_000),
            generations: Cache::new(100_000),
            touches: Mutex::default(),
            touched: Notify::new(),
            refreshed: Mutex::default(),
            some_refreshed: Notify::new(),
            kv,
            db,
            clock,
        }
    }

    /// The user of a live session, as of now; or why there is none.
    ///
    /// `claims` are those of a verified token; a session of somebody else and a retired generation are refused.
    pub async fn resolve(&self, claims: &Claims, now: Timestamp) -> Result<Arc<UserCopy>> {
        if let Some(found) = self.look_near(claims, now) {
            self.near_hits.hits.inc();
            return found;
        }
        self.near_hits.misses.inc();
        // In a box, so that a hit does not carry room for all that a miss may take.
        Box::pin(self.read(claims, now)).await
    }

    /// What this node knows by itself.
    fn look_near(&self, claims: &Claims, now: Timestamp) -> Option<Result<Arc<UserCopy>>> {
        let began = Instant::now();
        match self.near.session(claims.sid, began)? {
            CachedSession::Revoked(why) => Some(Err(why.into())),
            // Past its end only the database can say whether a refresh has moved it.
            CachedSession::Live { expires_at, .. } if expires_at <= now.as_micros() => None,
            CachedSession::Live {
                user: owner, retired, ..
            } => {
                let found = check_owner(UserId(owner), UserId(claims.sub))
                    .and_then(|()| check_generation(claims, retired))
                    .map(|()| self.near.user(claims.sub, began))
                    .transpose()?;
                Some(found.and_then(|copy| admit(&copy)))
            }
        }
    }

    async fn read(&self, claims: &Claims, now: Timestamp) -> Result<Arc<UserCopy>> {
        // Where nothing is believed that somebody else has read, everybody reads.
        let flight = if self.near.is_subscribed() {
            self.flights.acquire(claims.sid).await
        } else {
            None
        };
        if flight.is_none()
            && let Some(found) = self.look_near(claims, now)
        {
            return found;
        }
        self.fill(claims, now).await.and_then(|copy| admit(&copy))
    }

    /// Reads both copies from Redis, and what is not there from the database.
    async fn fill(&self, claims: &Claims, now: Timestamp) -> Result<Arc<UserCopy>> {
        let (session, user) = (SessionId(claims.sid), UserId(claims.sub));
        let filled = Instant::now();
        let heard = self.near.snapshot(session.0, user.0);
        let (mut owner, mut copy) = (None, None);
        if let Some((session_entry, user_entry)) = self.read_shared(session, user).await {
            match session_entry {
                Some(SessionEntry::Tombstone { revoked }) => {
                    let why = RevokeReason::read(&revoked).refusal();
                    self.near.revoke_session(session.0, why);
                    return Err(why.into());
                }
                Some(SessionEntry::Live(live)) if now < live.expires_at => {
                    check_owner(UserId(live.user_id), user)?;
                    // A copy that does not say which generations are retired says too little.
                    if let Some(retired) = live.retired_generation {
                        let read = ReadSession {
                            user: live.user_id,
                            expires_at: live.expires_at.as_micros(),
                            retired,
                        };
                        check_generation(claims, self.near.fill_session(session.0, heard, read, filled))?;
                        owner = Some(UserId(live.user_id));
                    }
                }
                _ => {}
            }
            if let Some(shared) = user_entry.filter(|shared| shared.id == user.0) {
                let shared = Arc::new(shared);
                if self.near.fill_user(user.0, heard, &shared, filled) {
                    copy = Some(shared);
                }
            }
        }
        if let (Some(_), Some(copy)) = (owner, &copy) {
            self.shared_hits.hits.inc();
            return Ok(Arc::clone(copy));
        }
        if self.is_shared() {
            self.shared_hits.misses.inc();
        }
        let mut conn = self.db.read().await?;
        let row = conn.session_by_id(session).await?;
        let stored = conn.user_by_id(user).await?;
        drop(conn);
        // Rows go when their account goes, or long after their end.
        let row = row.ok_or(Refusal::SessionRevoked)?;
        if let Some(why) = row.ended(now) {
            if let (Some(reason), true) = (row.revoke_reason, now < row.expires_at) {
                self.near.revoke_session(session.0, why);
                self.write_tombstones(&[(session, reason, row.expires_at)]).await;
            }
            return Err(why.into());
        }
        check_owner(row.user_id(), user)?;
        let stored = stored.ok_or(Refusal::SessionRevoked)?;
        let copy = Arc::new(UserCopy::from(&stored));
        let read = ReadSession {
            user: user.0,
            expires_at: row.ends_at().as_micros(),
            retired: row.retired_generation,
        };
        let retired = self.near.fill_session(session.0, heard, read, filled);
        self.near.fill_user(user.0, heard, &copy, filled);
        self.publish(&row, &copy).await;
        check_generation(claims, retired)?;
        Ok(copy)
    }

    /// When the user of a session signed in. The session has been resolved.
    pub async fn signed_in_at(&self, session: SessionId) -> Result<Timestamp> {
        if let Some(at) = self.sign_ins.get(&session.0) {
            return Ok(at);
        }
        let row = self.db.read().await?.session_by_id(session).await?;
        let at = row.ok_or(Refusal::SessionRevoked)?.created_at;
        self.sign_ins.insert(session.0, at);
        Ok(at)
    }

    async fn read_shared(
        &self,
        session: SessionId,
        user: UserId,
    ) -> Option<(Option<SessionEntry>, Option<UserCopy>)> {
        let epoch = self.kv.epoch();
        if matches!(self.kv, Kv::InProcess) || !self.belief.holds(epoch) {
            return None;
        }
        let (session, user) = match self.kv.get_pair(&session_key(session), &user_key(user)).await {
            // Connected anew in between: the answer may come from a server that nobody has mended yet.
            Ok(_) if self.kv.epoch() != epoch => return None,
            Ok(pair) => pair,
            // Somebody else's value under our name says nothing about the rest; the fill replaces it.
            Err(KvError::WrongType) => (None, None),
            Err(error) => {
                self.doubt(&error);
                return None;
            }
        };
        // What does not parse is no copy of ours.
        Some((
            session.and_then(|bytes| serde_json::from_slice(&bytes).ok()),
            user.and_then(|bytes| serde_json::from_slice(&bytes).ok()),
        ))
    }

    /// A user, as far as this node knows by itself.
    pub fn known_user(&self, id: UserId) -> Option<Arc<UserCopy>> {
        self.near
            .user(id.0, Instant::now())
            .filter(|copy| !copy.is_gone())
    }

    /// A user, as of now: what this node knows, or else what the database says.
    pub async fn user(&self, conn: &mut Conn, id: UserId) -> Result<Option<Arc<UserCopy>>> {
        if let Some(copy) = self.known_user(id) {
            return Ok(Some(copy));
        }
        let filled = Instant::now();
        let heard = self.near.snapshot(Uuid::nil(), id.0);
        let Some(user) = conn.user_by_id(id).await? else {
            return Ok(None);
        };
        let copy = Arc::new(UserCopy::from(&user));
        self.near.fill_user(id.0, heard, &copy, filled);
        Ok(Some(copy))
    }

    /// Puts the copy of a session that was refreshed in place, after its commit and behind the answer: the copy that is there is
    /// right but for a later end, so nobody has to wait for this one.
    pub fn publish_later(&self, session: SessionRow, user: Arc<UserCopy>) {
        if !self.is_shared() {
            return;
        }
        let mut waiting = self.refreshed();
        // More only gather while Redis hangs; the next fill writes what is missing then.
        if waiting.len() < MAX_REFRESHED {
            waiting.push((session, user));
            drop(waiting);
            self.some_refreshed.notify_one();
        }
    }

    /// Waits for copies of refreshed sessions and writes those that have gathered, on one connection at once.
    pub async fn write_refreshed(&self) {
        self.some_refreshed.notified().await;
        let waiting = std::mem::take(&mut *self.refreshed());
        let written = waiting
            .iter()
            .map(|(session, user)| self.write_session(session, user));
        if let Err(error) = try_join_all(written).await {
            self.doubt(&error);
        }
    }

    fn refreshed(&self) -> std::sync::MutexGuard<'_, Vec<(SessionRow, Arc<UserCopy>)>> {
        // A panic while it is held leaves whole entries.
        self.refreshed
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Puts copies of a session that is new, or was read anew, and of its user where the next request finds them. May fail
    /// without harm.
    pub async fn publish(&self, session: &SessionRow, user: &UserCopy) {
        if !self.is_shared() {
            return;
        }
        let written = tokio::try_join!(self.write_session(session, user), self.write_user(user));
        if let Err(error) = written {
            self.doubt(&error);
        }
    }

    async fn write_session(&self, session: &SessionRow, user: &UserCopy) -> Result<(), KvError> {
        let now = self.clock.now();
        let version = session.last_seen_at.max(session.generation_issued_at).as_micros();
        let copy = SessionEntry::Live(SessionCopy {
            user_id: user.id,
            email: user.email.clone(),
            role: user.role,
            login_at: session.created_at,
            expires_at: session.ends_at(),
            version,
            retired_generation: Some(session.retired_generation),
        });
        let life = session.ends_at().since(now).max(Duration::from_secs(1));
        self.kv
            .set_versioned(
                &session_key(session.id()),
                version,
                session.retired_generation,
                &to_json(&copy),
                life,
            )
            .await
            .map(drop)
    }

    async fn write_user(&self, copy: &UserCopy) -> Result<(), KvError> {
        self.kv
            .set_versioned(
                &user_key(UserId(copy.id)),
                copy.version,
                0,
                &to_json(copy),
                USER_COPY_LIFE,
            )
            .await
            .map(drop)
    }

    /// Writes tombstones; whether Redis took them all.
    async fn write_tombstones(&self, revoked: &[(SessionId, RevokeReason, Timestamp)]) -> bool {
        if matches!(self.kv, Kv::InProcess) {
            return true;
        }
        let now = self.clock.now();
        let entries = revoked
            .iter()
            .map(|(session, reason, until)| {
                let tombstone = SessionEntry::Tombstone {
                    revoked: reason.as_str().to_owned(),
                };
                (
                    session_key(*session),
                    to_json(&tombstone).into_bytes(),
                    until.since(now).max(Duration::from_secs(1)),
                )
            })
            .collect();
        match self.kv.set_many(entries).await {
            Ok(()) => true,
            Err(error) => {
                self.doubt(&error);
                false
            }
        }
    }

    /// Makes an act hold: on this node before this returns, on the others as fast as Redis carries it, and with
    /// Redis away as soon as their tails read it. Call it after the commit, which must hold a row in `changes` for
    /// every effect.
    pub async fn announce(&self, effects: Effects) {
        for (session, reason, _) in &effects.revoked {
            self.near.revoke_session(session.0, reason.refusal());
        }
        for user in &effects.users {
            self.near.raise_user_version(user.id, user.version);
        }
        for (session, _) in &effects.retired {
            self.near
                .retire_generations(session.id().0, session.retired_generation);
            self.note_generation(session.id(), session.generation);
        }
        // Also while this node does not believe Redis: the others may, and hear this. Without a connection each command
        // fails at once, and the tails bring it.
        if matches!(self.kv, Kv::InProcess) {
            return;
        }
        // The message goes out even if Redis takes no copies (out of memory, say): what the others hear ends their own
        // entries, which count before Redis's.
        self.write_tombstones(&effects.revoked).await;
        for user in &effects.users {
            if let Err(error) = self.write_user(user).await {
                self.doubt(&error);
                break;
            }
        }
        for (session, user) in &effects.retired {
            if let Err(error) = self.write_session(session, user).await {
                self.doubt(&error);
                break;
            }
        }
        let mut messages: Vec<Message> = effects
            .revoked
            .chunks(MESSAGE_ITEMS)
            .map(|chunk| Message {
                revoked: chunk
                    .iter()
                    .map(|(id, reason, _)| (id.0, reason.as_str().to_owned()))
                    .collect(),
                ..Message::default()
            })
            .collect();
        messages.extend(effects.users.chunks(MESSAGE_ITEMS).map(|chunk| Message {
            users: chunk.iter().map(|user| (user.id, user.version)).collect(),
            ..Message::default()
        }));
        messages.extend(effects.retired.chunks(MESSAGE_ITEMS).map(|chunk| {
            Message {
                retired: chunk
                    .iter()
                    .map(|(session, _)| (session.id().0, session.retired_generation))
                    .collect(),
                ..Message::default()
            }
        }));
        for message in &messages {
            if let Err(error) = self.kv.publish(&to_json(message)).await {
                return self.doubt(&error);
            }
        }
    }

    /// Takes in what another node tells.
    pub fn hear(&self, payload: &str) {
        // Anybody who can write to Redis can say anything; nothing said here lets anyone in.
        let Ok(message) = serde_json::from_str::<Message>(payload) else {
            return;
        };
        for (session, reason) in message.revoked {
            let why = RevokeReason::read(&reason).refusal();
            self.near.revoke_session(session, why);
        }
        for (user, version) in message.users {
            self.near.raise_user_version(user, version);
        }
        for (session, up_to) in message.retired {
            self.near.retire_generations(session, up_to);
            self.note_generation(SessionId(session), up_to.saturating_add(1));
        }
        if let Some(used) = message.used {
            self.note_use(SessionId(used.sid), used.generation, self.clock.now());
        }
    }

    /// Invalidations are heard from now on.
    pub fn start_hearing(&self) {
        self.near.on_subscribed();
        self.wake.notify_one();
    }

    /// Invalidations may be missed from now on.
    pub fn stop_hearing(&self) {
        self.near.on_unsubscribed();
        self.belief.doubt();
    }

    fn doubt(&self, error: &KvError) {
        let held = self.is_shared();
        self.belief.doubt();
        if held {
            tracing::warn!(%error, "Redis is not believed until its copies have been mended");
            self.wake.notify_one();
        }
    }

    /// Whether the shared copies are in use.
    pub fn is_shared(&self) -> bool {
        !matches!(self.kv, Kv::InProcess) && self.belief.holds(self.kv.epoch())
    }

    /// The store of the shared copies.
    pub const fn kv(&self) -> &Kv {
        &self.kv
    }

    /// Resolves when the tail should run before its time.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// One round of the tail: re-applies what `changes` holds since the last round, or since Redis was last known to
    /// be whole. All times in it are the database's, which stamps the changes: nodes' own clocks do not matter. The round
    /// begins with a reading of that clock, which corrects this node's.
    pub async fn tail(&self, memory: &mut TailMemory) -> Result<()> {
        let started = self.in_time(self.db.read_clock(&self.clock)).await?;
        let shared = !matches!(self.kv, Kv::InProcess);
        // A new connection may lead to another master, or in a Cluster to one, which has not got all writes.
        let epoch = self.kv.epoch();
        let failures = self.belief.failures.load(Ordering::Acquire);
        let mending = shared && !self.belief.holds(epoch);
        let mut since = Timestamp::from_micros(self.tailed_at.load(Ordering::Acquire)).minus(COMMIT_WINDOW);
        // While Redis does not answer nothing can be mended, but this node still needs what it would have heard.
        let mut reachable = shared;
        if mending {
            let stored = match self.kv.get(WATERMARK).await {
                // Not ours, and replaced at the end of the round.
                Err(KvError::WrongType) => Ok(None),
                other => other,
            };
            match stored {
                Ok(mark) => {
                    let mark = mark
                        .and_then(|bytes| serde_json::from_slice::<Watermark>(&bytes).ok())
                        .map_or(0, |mark| mark.version);
                    let is_ahead = mark > started.plus(MARK_AHEAD_AT_MOST).as_micros();
                    if is_ahead {
                        tracing::warn!(
                            "the watermark in Redis lies in the future: a node's clock is or was wrong; all changes are \
                             applied again"
                        );
                    }
                    memory.mark = if is_ahead { 0 } else { mark };
                    // Without a mark it is not known what Redis holds. As a rule nothing, but the mark may have gone alone.
                    // In a Cluster it says nothing about the other shards. Then only the whole table, which is kept as
                    // short as copies live, corrects what may be there.
                    let whole = if self.kv.is_sharded() { 0 } else { memory.mark };
                    let whole = Timestamp::from_micros(whole).min(started.minus(MEND_AT_LEAST));
                    since = since.min(whole.minus(COMMIT_WINDOW));
                    memory.applied.clear();
                }
                Err(_) => reachable = false,
            }
        }
        let mut whole = reachable;
        let mut after = 0;
        loop {
            let page = async { self.db.read().await?.changes_since(since, after, PAGE).await };
            let page = self.in_time(page).await?;
            let Some(last) = page.last() else { break };
            (since, after) = (last.at, last.id);
            let is_last = page.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
            let fresh: Vec<Change> = page
                .into_iter()
                .filter(|change| !memory.applied.contains_key(&change.id))
                .collect();
            let taken = self.apply(&fresh, reachable).await?;
            whole &= taken;
            // One refusal is enough: what follows only this node needs now.
            reachable &= taken;
            if taken {
                memory
                    .applied
                    .extend(fresh.iter().map(|change| (change.id, change.at)));
            }
            if is_last {
                break;
            }
        }
        memory
            .applied
            .retain(|_, at| *at >= started.minus(2 * COMMIT_WINDOW));
        self.tailed_at.store(started.as_micros(), Ordering::Release);
        *self.tailed() = Instant::now();
        // What failed meanwhile may be what this round did not write.
        if whole && self.belief.failures.load(Ordering::Acquire) == failures {
            self.mark_whole(memory, started, mending.then_some((failures, epoch)))
                .await;
        }
        Ok(())
    }

    /// Moves the watermark on, after a round that Redis took as a whole; with `mended`, believes Redis again. A mark
    /// that has gone back since the last round shows that Redis has lost writes, be the connection as good as it may.
    async fn mark_whole(&self, memory: &mut TailMemory, started: Timestamp, mended: Option<(u64, u64)>) {
        let mark = Watermark {
            version: started.as_micros(),
        };
        match self
            .kv
            .advance(
                WATERMARK,
                memory.mark,
                mark.version,
                &to_json(&mark),
                WATERMARK_LIFE,
                MARK_AHEAD_AT_MOST.as_micros().try_into().unwrap_or(i64::MAX),
            )
            .await
        {
            Ok(None) => {
                memory.mark = mark.version.max(memory.mark);
                if let Some((failures, epoch)) = mended
                    && self.near.is_subscribed()
                {
                    self.belief.mend(failures, epoch);
                    if self.is_shared() {
                        tracing::info!("Redis is believed: its copies have been mended");
                    }
                }
            }
            Ok(Some(_)) => {
                tracing::warn!("Redis has lost writes; it is not believed until its copies have been mended");
                self.near.invalidate_all();
                self.belief.doubt();
                self.wake.notify_one();
            }
            Err(error) => self.doubt(&error),
        }
    }

    /// Gives up a look into the database that is not answered. Where it hangs, so may what this node should hear.
    async fn in_time<T>(&self, look: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::time::timeout(LOOK_AT_MOST, look)
            .await
            .unwrap_or_else(|_| {
                self.belief.doubt();
                Err(Error::StoreUnavailable(anyhow::anyhow!(
                    "no answer in {LOOK_AT_MOST:?}"
                )))
            })
    }

    /// How long ago the tail last read `changes` to its end.
    pub fn tail_age(&self) -> Duration {
        self.tailed().elapsed()
    }

    fn tailed(&self) -> std::sync::MutexGuard<'_, Instant> {
        // A panic while it is held leaves a whole instant.
        self.tailed
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Makes this node doubt Redis, for a fault that is not an answer of Redis.
    pub fn distrust(&self) {
        self.belief.doubt();
    }

    /// Applies changes to this node and, if asked, to Redis; whether all was taken.
    async fn apply(&self, changes: &[Change], to_redis: bool) -> Result<bool> {
        let now = self.clock.now();
        let mut tombstones = Vec::new();
        let mut users = Vec::new();
        let mut retired = Vec::new();
        for change in changes {
            if let Some((session, up_to)) = change.retired() {
                self.near.retire_generations(session.0, up_to);
                retired.push((session, change.user_id()));
            }
            match change.session_id() {
                Some(session) => {
                    let reason = change.reason.unwrap_or(RevokeReason::RevokedByAdmin);
                    self.near.revoke_session(session.0, reason.refusal());
                    if now < change.until {
                        tombstones.push((session, reason, change.until));
                    }
                }
                None if !users.contains(&change.user_id()) => users.push(change.user_id()),
                None => {}
            }
        }
        let mut whole = !to_redis || self.write_tombstones(&tombstones).await;
        for id in users {
            let user = async { self.db.read().await?.user_by_id(id).await };
            let copy = match self.in_time(user).await? {
                Some(user) => UserCopy::from(&user),
                None => UserCopy::gone(id, now),
            };
            self.near.raise_user_version(id.0, copy.version);
            if to_redis
                && whole
                && let Err(error) = self.write_user(&copy).await
            {
                self.doubt(&error);
                whole = false;
            }
        }
        for (session, user) in retired {
            if !(to_redis && whole) {
                break;
            }
            // As the rows are now; of a session or user that has gone there are changes of their own.
            let rows = async {
                let mut conn = self.db.read().await?;
                Ok((conn.session_by_id(session).await?, conn.user_by_id(user).await?))
            };
            let (Some(session), Some(user)) = self.in_time(rows).await? else {
                continue;
            };
            if session.ended(now).is_none()
                && let Err(error) = self.write_session(&session, &UserCopy::from(&user)).await
            {
                self.doubt(&error);
                whole = false;
            }
        }
        Ok(whole)
    }

    /// Notes the current generation of a session, as a row has just said it.
    pub fn note_generation(&self, session: SessionId, generation: i64) {
        if self
            .generations
            .get(&session.0)
            .is_none_or(|known| known < generation)
        {
            self.generations.insert(session.0, generation);
        }
    }

    /// Whether this node knows that a session is past this generation. Generations only grow; what is not known counts as
    /// current.
    pub fn is_outdated(&self, session: SessionId, generation: i64) -> bool {
        self.generations
            .get(&session.0)
            .is_some_and(|known| generation < known)
    }

    /// Notes that an access token of this generation was accepted. Written to the database within a moment; once per
    /// generation, and once a minute for the last-seen time.
    pub fn note_use(&self, session: SessionId, generation: i64, now: Timestamp) {
        if let Some((noted, at)) = self.noted.get(&session.0)
            && noted >= generation
            && now.since(at) < SEEN_EVERY
        {
            return;
        }
        let mut touches = self.touches();
        if touches.len() < MAX_TOUCHES {
            self.noted.insert(session.0, (generation, now));
            touches.push_back(Touch {
                session,
                generation,
                at: now,
            });
            self.touched.notify_one();
        }
    }

    /// Resolves when there are notes of use to write.
    pub async fn has_touches(&self) {
        self.touched.notified().await;
    }

    /// Wakes who waits in [`has_touches`](Self::has_touches), after a flush that was given up.
    pub fn keep_flushing(&self) {
        self.touched.notify_one();
    }

    /// Writes the notes of use that have gathered. A note is forgotten only once it is written, also when this is given
    /// up half-way: a generation that was used must not pass for an unused one. One caller at a time.
    pub async fn flush_touches(&self) -> Result<()> {
        loop {
            let mut some: Vec<Touch> = self.touches().iter().take(TOUCHES_AT_ONCE).copied().collect();
            let taken = some.len();
            if taken == 0 {
                return Ok(());
            }
            // One note per session: the last, which has the highest generation unless it was overtaken on its way here.
            some.sort_by_key(|touch| (touch.session.0, touch.generation, touch.at));
            some.dedup_by(|later, kept| {
                let same = later.session == kept.session;
                if same {
                    *kept = *later;
                }
                same
            });
            if let Err(error) = self.db.write_touches(&some).await {
                self.touched.notify_one();
                return Err(error);
            }
            self.touches().drain(..taken);
        }
    }

    fn touches(&self) -> std::sync::MutexGuard<'_, VecDeque<Touch>> {
        // A panic while it is held leaves whole notes.
        self.touches
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn check_owner(owner: UserId, user: UserId) -> Result<()> {
    if owner == user {
        Ok(())
    } else {
        Err(Refusal::TokenInvalid.into())
    }
}

fn check_generation(claims: &Claims, retired: i64) -> Result<()> {
    if is_retired(claims.generation, retired) {
        Err(Refusal::PasswordChanged.into())
    } else {
        Ok(())
    }
}

fn admit(copy: &Arc<UserCopy>) -> Result<Arc<UserCopy>> {
    if copy.is_gone() {
        return Err(Refusal::SessionRevoked.into());
    }
    if !copy.is_active {
        return Err(Refusal::AccountInactive.into());
    }
    Ok(Arc::clone(copy))
}

fn session_key(id: SessionId) -> String {
    format!("session:{id}")
}

fn user_key(id: UserId) -> String {
    format!("user:{id}")
}

fn to_json<T: Serialize>(value: &T) -> String {
    // Our own types have string keys and no failing Serialize.
    serde_json::to_string(value).unwrap_or_default()
}

/// Until when copies of a user that changes now can be believed anywhere.
pub fn user_copies_until(now: Timestamp) -> Timestamp {
    now.plus(USER_COPY_LIFE)
}
