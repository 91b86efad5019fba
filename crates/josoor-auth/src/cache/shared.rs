//! The copies in Redis, and the messages between nodes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::copies::{SessionCopy, SessionEntry, USER_COPY_LIFE, UserCopy, session_key, to_json, user_key};
use super::effects::Effects;
use super::ends;
use super::session_cache::SessionCache;
use super::tail::tail_every;
use crate::domain::{RevokeReason, SessionId, Timestamp, UserId};
use crate::redis::{Redis, RedisError};
use crate::store::SessionRow;
use crate::telemetry::codes;

/// Tombstones in one message.
const MESSAGE_ITEMS: usize = 200;

/// What a round of the tail takes, on a busy machine.
const TAIL_MARGIN: Duration = Duration::from_millis(150);

/// Copies of refreshed sessions that wait to be written.
const MAX_REFRESHED: usize = 10_000;

/// The message to other nodes on the channel `josoor-auth:invalidate`.
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
    /// Signing keys changed: they are to be read again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    keys: bool,
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

impl SessionCache {
    pub(super) async fn read_shared(
        &self,
        session: SessionId,
        user: UserId,
    ) -> Option<(Option<SessionEntry>, Option<UserCopy>)> {
        let redis = self.redis.as_ref()?;
        let epoch = redis.epoch();
        if !self.redis_health.is_valid(epoch) {
            return None;
        }
        let (session, user) = match redis.get_pair(&session_key(session), &user_key(user)).await {
            // Reconnected in between: the answer may come from a server whose copies are not restored yet.
            Ok(_) if redis.epoch() != epoch => return None,
            Ok(pair) => pair,
            // Somebody else's value under our name says nothing about the rest; the fill replaces it.
            Err(RedisError::WrongType) => (None, None),
            Err(error) => {
                self.report_failure(&error);
                return None;
            }
        };
        // What does not parse is no copy of ours.
        Some((
            session.and_then(|bytes| serde_json::from_slice(&bytes).ok()),
            user.and_then(|bytes| serde_json::from_slice(&bytes).ok()),
        ))
    }

    /// Puts the copy of a session that was refreshed in place, after its commit and behind the answer: the copy that is there is
    /// right but for a later expiry, so no request has to wait for this one.
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
            self.report_failure(&error);
        }
    }

    fn refreshed(&self) -> std::sync::MutexGuard<'_, Vec<(SessionRow, Arc<UserCopy>)>> {
        // A panic while it is held leaves whole entries.
        self.refreshed
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Puts copies of a session that is new, or was read again, and of its user where the next request finds them. May fail
    /// without harm.
    pub async fn publish(&self, session: &SessionRow, user: &UserCopy) {
        if !self.is_shared() {
            return;
        }
        let written = tokio::try_join!(self.write_session(session, user), self.write_user(user));
        if let Err(error) = written {
            self.report_failure(&error);
        }
    }

    pub(super) async fn write_session(
        &self,
        session: &SessionRow,
        user: &UserCopy,
    ) -> Result<(), RedisError> {
        let Some(redis) = &self.redis else {
            return Ok(());
        };
        let now = self.clock.now();
        let version = session.last_seen_at.max(session.generation_issued_at).as_micros();
        let ends_at = ends::ends_at(&self.lifetimes, session, user.role);
        let copy = SessionEntry::Live(SessionCopy {
            user_id: user.id,
            email: user.email.clone(),
            role: user.role,
            login_at: session.created_at,
            expires_at: ends_at,
            version,
            retired_generation: Some(session.retired_generation),
        });
        let life = ends_at.since(now).max(Duration::from_secs(1));
        redis
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

    pub(super) async fn write_user(&self, copy: &UserCopy) -> Result<(), RedisError> {
        let Some(redis) = &self.redis else {
            return Ok(());
        };
        redis
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
    pub(super) async fn write_tombstones(&self, revoked: &[(SessionId, RevokeReason, Timestamp)]) -> bool {
        let Some(redis) = &self.redis else {
            return true;
        };
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
        match redis.set_many(entries).await {
            Ok(()) => true,
            Err(error) => {
                self.report_failure(&error);
                false
            }
        }
    }

    /// Publishes what an act changed: to this node before this returns, to the others through Redis, and without Redis when
    /// their tails read it. Call it after the commit, which must hold a row in `changes` for every effect.
    pub async fn publish_effects(&self, effects: Effects) {
        self.has_published.store(true, Ordering::Relaxed);
        for (session, reason, _) in &effects.revoked {
            self.local.revoke_session(session.0, reason.refusal());
        }
        for user in &effects.users {
            self.local.raise_user_version(user.id, user.version);
        }
        for (session, _) in &effects.retired {
            self.local
                .retire_generations(session.id().0, session.retired_generation);
            self.note_generation(session.id(), session.generation);
        }
        if effects.keys {
            self.keys_changed.notify_one();
        }
        // Also while the copies in Redis are invalid for this node: other nodes may use them. Without a connection each command
        // fails at once, and the tails apply the change.
        let Some(redis) = &self.redis else {
            return;
        };
        // The message goes out even if Redis takes no copies (out of memory, say): it invalidates the local
        // entries of the others, which count before Redis's.
        self.write_tombstones(&effects.revoked).await;
        for user in &effects.users {
            if let Err(error) = self.write_user(user).await {
                self.report_failure(&error);
                break;
            }
        }
        for (session, user) in &effects.retired {
            if let Err(error) = self.write_session(session, user).await {
                self.report_failure(&error);
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
        messages.extend(effects.keys.then(|| Message {
            keys: true,
            ..Message::default()
        }));
        for message in &messages {
            if let Err(error) = redis.publish(&to_json(message)).await {
                return self.report_failure(&error);
            }
        }
    }

    /// Applies a message of another node.
    pub fn on_message(&self, payload: &str) {
        // Every client of Redis can publish; a message can only revoke, never grant.
        let Ok(message) = serde_json::from_str::<Message>(payload) else {
            return;
        };
        for (session, reason) in message.revoked {
            let why = RevokeReason::read(&reason).refusal();
            self.local.revoke_session(session, why);
        }
        for (user, version) in message.users {
            self.local.raise_user_version(user, version);
        }
        for (session, up_to) in message.retired {
            self.local.retire_generations(session, up_to);
            self.note_generation(SessionId(session), up_to.saturating_add(1));
        }
        if message.keys {
            self.keys_changed.notify_one();
        }
        if let Some(used) = message.used {
            self.note_use(SessionId(used.sid), used.generation, self.clock.now());
        }
    }

    /// Waits until signing keys have changed, at this node or another. Without Redis those of others are not seen here.
    pub async fn keys_changed(&self) {
        self.keys_changed.notified().await;
    }

    /// Waits until running servers have read what this process has changed, if it has: for commands, which report that something is
    /// done once it is. With Redis they have received it already.
    pub async fn wait_until_read(&self) {
        if self.has_published.load(Ordering::Relaxed) && !self.is_connected() {
            let every = tail_every(self.redis.is_none());
            tokio::time::sleep(every + TAIL_MARGIN).await;
        }
    }

    fn is_connected(&self) -> bool {
        self.redis.as_ref().is_some_and(|redis| redis.state().connected)
    }

    /// Messages arrive from now on.
    pub fn on_subscribed(&self) {
        self.local.on_subscribed();
        self.wake.notify_one();
    }

    /// Messages may be lost from now on.
    pub fn on_unsubscribed(&self) {
        self.local.on_unsubscribed();
        self.redis_health.invalidate();
    }

    pub(super) fn report_failure(&self, error: &RedisError) {
        let held = self.is_shared();
        self.redis_health.invalidate();
        if held {
            tracing::warn!(code = codes::REDIS_COPIES_STALE, %error, "the copies in Redis are not used until they have been restored");
            self.wake.notify_one();
        }
    }

    /// Whether the shared copies are in use.
    pub fn is_shared(&self) -> bool {
        self.redis
            .as_ref()
            .is_some_and(|redis| self.redis_health.is_valid(redis.epoch()))
    }

    /// Where the shared copies are; `None` on a node alone.
    pub const fn redis(&self) -> Option<&Redis> {
        self.redis.as_ref()
    }

    /// Stops using the copies in Redis until they are restored, after a fault that is not an answer of Redis.
    pub fn invalidate_redis(&self) {
        self.redis_health.invalidate();
    }
}
