//! The service's copies of sessions and users: as they stand in Redis, and as they are kept in this process.

use std::sync::Once;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::caller::CurrentUser;
use crate::claims::Claims;
use crate::local_cache::{CachedSession, LocalCache, ReadSession, Versioned, is_retired};
use crate::refusal::Refusal;
use crate::role::Role;
use crate::single_flight::SingleFlight;
use crate::{clock, json};

/// The longest that the service may not have moved the watermark for its copies to be used, here or in Redis.
pub(super) const WATERMARK_LIFE: Duration = Duration::from_secs(5);

/// A user who is admitted, and how long the session goes on unless it is used.
pub(super) struct Admitted {
    pub(super) user: CurrentUser,
    pub(super) left: Duration,
}

/// The copies that were read lately.
pub(super) struct LocalCopies {
    pub(super) copies: LocalCache<UserCopy, Refusal>,
    pub(super) reads: SingleFlight,
    /// The subscription starts with the first check, which runs where tasks can be spawned.
    pub(super) subscribing: Once,
}

impl LocalCopies {
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            copies: LocalCache::new(bytes, WATERMARK_LIFE, false),
            reads: SingleFlight::default(),
            subscribing: Once::new(),
        }
    }

    /// The outcome by the cached copies, if they are fresh.
    pub(super) fn lookup(&self, claims: &Claims) -> Option<Result<Admitted, Refusal>> {
        let now = Instant::now();
        let micros = clock::now_micros();
        match self.copies.session(claims.sid, now)? {
            CachedSession::Revoked(reason) => Some(Err(reason)),
            CachedSession::Live { expires_at, .. } if expires_at <= micros => None,
            CachedSession::Live { user, .. } if user != claims.sub => Some(Err(Refusal::TokenInvalid)),
            CachedSession::Live { retired, .. } if is_retired(claims.generation, retired) => {
                Some(Err(Refusal::PasswordChanged))
            }
            CachedSession::Live { user, expires_at, .. } => {
                let copy = self.copies.user(user, now)?;
                let left = Duration::from_micros(expires_at.abs_diff(micros));
                Some(copy.admit(claims).map(|user| Admitted { user, left }))
            }
        }
    }

    /// Applies an invalidation message of the service.
    pub(super) fn apply(&self, message: &[u8]) {
        // Any program that can write to Redis can publish; no message here makes a request accepted.
        let Some(message) = json::object(message) else {
            return;
        };
        let list = |name: &str| message.get(name).and_then(Value::as_array).into_iter().flatten();
        for revoked in list("revoked") {
            let session = revoked.get(0).and_then(Value::as_str);
            let reason = revoked.get(1).and_then(Value::as_str).unwrap_or_default();
            if let Some(session) = session.and_then(|session| Uuid::try_parse(session).ok()) {
                self.copies.revoke_session(session, Refusal::from_reason(reason));
            }
        }
        for retired in list("retired") {
            let session = retired.get(0).and_then(Value::as_str);
            let session = session.and_then(|session| Uuid::try_parse(session).ok());
            if let (Some(session), Some(up_to)) = (session, retired.get(1).and_then(Value::as_i64)) {
                self.copies.retire_generations(session, up_to);
            }
        }
        for changed in list("users") {
            let (user, version) = (changed.get(0), changed.get(1));
            if let (Some(user), Some(version)) =
                (user.and_then(Value::as_i64), version.and_then(Value::as_i64))
            {
                self.copies.raise_user_version(user, version);
            }
        }
    }
}

pub(super) struct UserCopy {
    version: i64,
    uid: Option<Uuid>,
    email: Box<str>,
    email_verified: bool,
    role: Role,
    is_active: bool,
    /// Since when the account has had a second factor without a break, in seconds since 1970.
    factor_since: Option<i64>,
}

impl Versioned for UserCopy {
    fn version(&self) -> i64 {
        self.version
    }

    fn bytes(&self) -> u64 {
        96 + self.email.len() as u64
    }
}

impl UserCopy {
    pub(super) fn admit(&self, claims: &Claims) -> Result<CurrentUser, Refusal> {
        if !self.is_active {
            return Err(Refusal::AccountInactive);
        }
        Ok(CurrentUser {
            id: claims.sub,
            uid: self.uid,
            email: self.email.as_ref().to_owned(),
            email_verified: self.email_verified,
            role: self.role,
            session_id: claims.sid,
            acr: claims.acr_given(self.factor_since),
        })
    }
}

/// How long ago the service last delivered its revocations to this Redis; `None` when that is too long ago. It does not
/// deliver them while all its nodes are cut off from this Redis, or while writes that this Redis lost are not repaired.
pub(super) fn watermark_age(mark: &Map<String, Value>, now: i64) -> Option<Duration> {
    let applied = mark.get("version").and_then(Value::as_i64)?;
    // The service's clock may be a little ahead. A watermark further ahead than one may be old is not used: one of the two
    // clocks is wrong.
    let distance = Duration::from_micros(now.abs_diff(applied));
    let age = if applied > now { Duration::ZERO } else { distance };
    (distance < WATERMARK_LIFE).then_some(age)
}

/// The state that two copies describe.
pub(super) enum CopyState {
    /// The session is live, and this is its user.
    Live { user: UserCopy, session: ReadSession },
    /// The session was revoked.
    Revoked(Refusal),
    /// The session belongs to another user.
    OtherUser,
}

/// The state, or `None` when the copies do not decide it. A tombstone needs no second copy.
pub(super) fn evaluate(
    session: &Map<String, Value>,
    user: Option<&Map<String, Value>>,
    claims: &Claims,
    now: i64,
) -> Option<CopyState> {
    if let Some(reason) = session.get("revoked") {
        return Some(CopyState::Revoked(Refusal::from_reason(reason.as_str()?)));
    }
    let expires_at = OffsetDateTime::parse(session.get("expires_at")?.as_str()?, &Rfc3339).ok()?;
    let expires_at = i64::try_from(expires_at.unix_timestamp_nanos() / 1000).ok()?;
    // The copy may be older than a refresh that moved the end: only the service knows.
    if expires_at <= now {
        return None;
    }
    if session.get("user_id")?.as_i64()? != claims.sub {
        return Some(CopyState::OtherUser);
    }
    let user = user?;
    let user = UserCopy {
        version: user.get("version")?.as_i64()?,
        uid: match user.get("uid") {
            Some(uid) => Some(Uuid::try_parse(uid.as_str()?).ok()?),
            None => None,
        },
        email: user.get("email")?.as_str()?.into(),
        email_verified: match user.get("email_verified") {
            Some(verified) => verified.as_bool()?,
            None => false,
        },
        role: user.get("role")?.as_str()?.parse().ok()?,
        is_active: user.get("is_active")?.as_bool()?,
        factor_since: user.get("factor_since").and_then(Value::as_i64),
    };
    // Copies of a release that retires no generations lack the member; then only the service itself knows.
    let session = ReadSession {
        user: claims.sub,
        expires_at,
        retired: session.get("retired_generation")?.as_i64()?,
    };
    Some(CopyState::Live { user, session })
}
