//! Answers which user a token belongs to: local copies, then Redis, then the database.

use std::sync::Arc;
use std::time::Instant;

use josoor_auth_verify::{CachedSession, Claims, ReadSession};
use uuid::Uuid;

use super::copies::{SessionCopy, SessionEntry, UserCopy, admit, check_generation, check_owner};
use super::ends;
use super::session_cache::SessionCache;
use crate::domain::{RevokeReason, SessionId, Timestamp, UserId};
use crate::error::{Refusal, Result};
use crate::store::Conn;

impl SessionCache {
    /// The user of a live session, as of now; or why there is none.
    ///
    /// `claims` are those of a verified token; another user's session and a retired generation are refused.
    pub async fn resolve(&self, claims: &Claims, now: Timestamp) -> Result<Arc<UserCopy>> {
        if let Some(found) = self.lookup_local(claims, now) {
            self.local_hits.hits.inc();
            return found;
        }
        self.local_hits.misses.inc();
        // Boxed, so that the future of a hit does not hold the space that a miss needs.
        Box::pin(self.read(claims, now)).await
    }

    /// The answer of the local cache.
    fn lookup_local(&self, claims: &Claims, now: Timestamp) -> Option<Result<Arc<UserCopy>>> {
        let began = Instant::now();
        match self.local.session(claims.sid, began)? {
            CachedSession::Revoked(why) => Some(Err(why.into())),
            // Past its end only the database can say whether a refresh has moved it.
            CachedSession::Live { expires_at, .. } if expires_at <= now.as_micros() => None,
            CachedSession::Live {
                user: owner, retired, ..
            } => {
                let found = check_owner(UserId(owner), UserId(claims.sub))
                    .and_then(|()| check_generation(claims, retired))
                    .map(|()| self.local.user(claims.sub, began))
                    .transpose()?;
                Some(found.and_then(|copy| admit(&copy)))
            }
        }
    }

    async fn read(&self, claims: &Claims, now: Timestamp) -> Result<Arc<UserCopy>> {
        // Without a subscription no request may use what another one has read.
        let flight = if self.local.is_subscribed() {
            self.flights.acquire(claims.sid).await
        } else {
            None
        };
        if flight.is_none()
            && let Some(found) = self.lookup_local(claims, now)
        {
            return found;
        }
        self.fill(claims, now).await.and_then(|copy| admit(&copy))
    }

    /// Reads both copies from Redis, and what is not there from the database.
    async fn fill(&self, claims: &Claims, now: Timestamp) -> Result<Arc<UserCopy>> {
        let (session, user) = (SessionId(claims.sid), UserId(claims.sub));
        let filled = Instant::now();
        let snapshot = self.local.snapshot(session.0, user.0);
        let (mut owner, mut copy) = (None, None);
        if let Some((session_entry, user_entry)) = self.read_shared(session, user).await {
            match session_entry {
                Some(SessionEntry::Tombstone { revoked }) => {
                    let why = RevokeReason::read(&revoked).refusal();
                    self.local.revoke_session(session.0, why);
                    return Err(why.into());
                }
                // Written for another role, it may have another end.
                Some(SessionEntry::Live(live))
                    if now < live.expires_at && self.is_of_role(&live, user_entry.as_ref()) =>
                {
                    check_owner(UserId(live.user_id), user)?;
                    // A copy that does not say which generations are retired says too little.
                    if let Some(retired) = live.retired_generation {
                        let read = ReadSession {
                            user: live.user_id,
                            expires_at: live.expires_at.as_micros(),
                            retired,
                        };
                        check_generation(claims, self.local.fill_session(session.0, snapshot, read, filled))?;
                        owner = Some(UserId(live.user_id));
                    }
                }
                _ => {}
            }
            if let Some(shared) = user_entry.filter(|shared| shared.id == user.0) {
                let shared = Arc::new(shared);
                if self.local.fill_user(user.0, snapshot, &shared, filled) {
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
                self.local.revoke_session(session.0, why);
                self.write_tombstones(&[(session, reason, row.expires_at)]).await;
            }
            return Err(why.into());
        }
        check_owner(row.user_id(), user)?;
        let stored = stored.ok_or(Refusal::SessionRevoked)?;
        if let Some(why) = ends::ended(&self.lifetimes, &row, stored.role, now) {
            return Err(why.into());
        }
        let copy = Arc::new(UserCopy::from(&stored));
        let read = ReadSession {
            user: user.0,
            expires_at: ends::ends_at(&self.lifetimes, &row, stored.role).as_micros(),
            retired: row.retired_generation,
        };
        let retired = self.local.fill_session(session.0, snapshot, read, filled);
        self.local.fill_user(user.0, snapshot, &copy, filled);
        self.publish(&row, &copy).await;
        check_generation(claims, retired)?;
        Ok(copy)
    }

    /// Whether a session's copy was written for the role that its user has now; it makes no difference without lifetimes by role.
    fn is_of_role(&self, session: &SessionCopy, user: Option<&UserCopy>) -> bool {
        !self.lifetimes.has_lifetimes_by() || user.is_some_and(|user| user.role == session.role)
    }

    /// A user, as far as this node knows by itself.
    pub fn known_user(&self, id: UserId) -> Option<Arc<UserCopy>> {
        self.local
            .user(id.0, Instant::now())
            .filter(|copy| !copy.is_deleted())
    }

    /// A user, as of now: what this node knows, or else what the database says.
    pub async fn user(&self, conn: &mut Conn, id: UserId) -> Result<Option<Arc<UserCopy>>> {
        if let Some(copy) = self.known_user(id) {
            return Ok(Some(copy));
        }
        let filled = Instant::now();
        let snapshot = self.local.snapshot(Uuid::nil(), id.0);
        let Some(user) = conn.user_by_id(id).await? else {
            return Ok(None);
        };
        let copy = Arc::new(UserCopy::from(&user));
        self.local.fill_user(id.0, snapshot, &copy, filled);
        Ok(Some(copy))
    }
}
