//! What a session is.

use std::str::FromStr;

use uuid::Uuid;

use crate::domain::{RevokeReason, SessionId, Timestamp, UserId};
use crate::error::{Refusal, Result};
use crate::store::row::from_row;

/// Where a session's refresh token lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// With the client, which got it in a body.
    #[default]
    Body,
    /// In a cookie.
    Cookie,
}

impl Transport {
    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Cookie => "cookie",
        }
    }
}

impl FromStr for Transport {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Body, Self::Cookie]
            .into_iter()
            .find(|transport| transport.as_str() == text)
            .ok_or(())
    }
}

/// A session, as stored.
#[derive(Clone, Debug)]
pub struct SessionRow {
    id: Uuid,
    user_id: i64,
    /// When the user signed in.
    pub created_at: Timestamp,
    /// When a token of it was last accepted, to some seconds (`SessionConfig::note_every`).
    pub last_seen_at: Timestamp,
    /// The absolute end.
    pub expires_at: Timestamp,
    /// The idle end.
    pub idle_expires_at: Timestamp,
    /// The address that signed in.
    pub ip: String,
    /// The program that signed in.
    pub user_agent: String,
    /// The current refresh generation.
    pub generation: i64,
    /// `iat` of the current refresh token.
    pub generation_issued_at: Timestamp,
    /// `exp` of the current refresh token.
    pub generation_expires_at: Timestamp,
    /// The highest generation of which an access token was accepted.
    pub used_generation: i64,
    /// The generation that the current one replaced.
    pub replaced_generation: Option<i64>,
    /// The generations superseded last, as `rotation` writes them.
    pub superseded: String,
    /// Generations up to this one were retired by a change of the password; their reuse is no theft.
    pub retired_generation: i64,
    /// When the session was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Why.
    pub revoke_reason: Option<RevokeReason>,
    /// Where its refresh token lies.
    pub transport: Transport,
    /// How often a change of the password has begun a new generation; the other new generations were refreshes.
    pub retirements: i64,
    /// The device that the user signed in on.
    pub device_id: Option<Uuid>,
    /// Whether the account knew it then.
    pub on_known_device: bool,
    /// The last interactive verification of the user; `None` for a sign-in of a release that does not record it.
    pub auth_time: Option<Timestamp>,
    /// The methods of that verification (RFC 8176), separated by blanks.
    pub amr: String,
    /// The level of that verification: `1` or `2`.
    pub acr: String,
}

from_row!(SessionRow as columns {
    id,
    user_id,
    created_at,
    last_seen_at,
    expires_at,
    idle_expires_at,
    ip,
    user_agent,
    generation,
    generation_issued_at,
    generation_expires_at,
    used_generation,
    replaced_generation,
    superseded,
    retired_generation,
    revoked_at,
    revoke_reason,
    transport,
    retirements,
    device_id,
    on_known_device,
    auth_time,
    amr,
    acr
});
pub(super) use columns;

impl SessionRow {
    /// The session's id.
    pub const fn id(&self) -> SessionId {
        SessionId(self.id)
    }

    /// The user's id.
    pub const fn user_id(&self) -> UserId {
        UserId(self.user_id)
    }

    /// When the user was last verified interactively.
    pub fn authenticated_at(&self) -> Timestamp {
        self.auth_time.unwrap_or(self.created_at)
    }

    /// When the session ends unless a use moves its idle end.
    pub fn ends_at(&self) -> Timestamp {
        self.idle_expires_at.min(self.expires_at)
    }

    /// Why the session is over, or `None` when it is live.
    pub fn ended(&self, now: Timestamp) -> Option<Refusal> {
        if let Some(reason) = self.revoke_reason {
            return Some(reason.refusal());
        }
        (self.revoked_at.is_some() || now >= self.ends_at()).then_some(Refusal::SessionExpired)
    }
}

#[cfg(test)]
impl SessionRow {
    /// A session that has just begun, for tests of what is decided about one.
    pub(crate) fn begun(at: Timestamp, expires_at: Timestamp) -> Self {
        Self {
            id: Uuid::from_u128(1),
            user_id: 1,
            created_at: at,
            last_seen_at: at,
            expires_at,
            idle_expires_at: expires_at,
            ip: String::new(),
            user_agent: String::new(),
            generation: 1,
            generation_issued_at: at,
            generation_expires_at: expires_at,
            used_generation: 0,
            replaced_generation: None,
            superseded: String::new(),
            retired_generation: 0,
            revoked_at: None,
            revoke_reason: None,
            transport: Transport::Body,
            retirements: 0,
            device_id: None,
            on_known_device: false,
            auth_time: None,
            amr: "pwd".to_owned(),
            acr: "1".to_owned(),
        }
    }
}

/// What a session begins with; its first generation is 1.
#[derive(Debug)]
pub struct NewSession<'a> {
    /// Fresh.
    pub id: SessionId,
    /// The user's id.
    pub user_id: UserId,
    /// Now.
    pub created_at: Timestamp,
    /// The absolute end.
    pub expires_at: Timestamp,
    /// The idle end.
    pub idle_expires_at: Timestamp,
    /// `exp` of the first refresh token.
    pub refresh_expires_at: Timestamp,
    /// The client's address.
    pub ip: &'a str,
    /// The client's `User-Agent`.
    pub user_agent: &'a str,
    /// Where its refresh token lies.
    pub transport: Transport,
    /// The device that the user signs in on.
    pub device: Option<Uuid>,
    /// Whether the account knew it before.
    pub on_known_device: bool,
    /// When the user was verified.
    pub auth_time: Timestamp,
    /// The methods of that verification (RFC 8176), separated by blanks.
    pub amr: &'a str,
    /// The level of that verification: `1` or `2`.
    pub acr: &'a str,
}
