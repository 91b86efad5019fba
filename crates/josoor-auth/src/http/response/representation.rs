//! The bodies of successful answers.

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::cache::{UserCopy, ends_at};
pub use crate::domain::{LocaleName, Profile as UserResponse, RoleName};
use crate::domain::{Role, SessionId, Timestamp, device_label};
use crate::sessions::Issued;
use crate::store::{Device, SessionPage, SessionRow, User};

/// A user, as administrators see it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AdminUserResponse {
    /// What the user sees, too.
    #[serde(flatten)]
    pub user: UserResponse,
    /// The last sign-in, here or in the system that the account was imported from.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub last_login_at: Option<Timestamp>,
    /// Since when the account waits for its owner to recover it, after a change of its address was taken back. Then it is not
    /// active.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub frozen_at: Option<Timestamp>,
    /// When the account was deleted, if it still can be restored. Then it is not active.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub deleted_at: Option<Timestamp>,
    /// When a deleted account is removed for good.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub purge_at: Option<Timestamp>,
}

impl From<&User> for AdminUserResponse {
    fn from(user: &User) -> Self {
        Self {
            user: user.into(),
            last_login_at: user.last_login_at,
            frozen_at: user.frozen_at,
            deleted_at: user.deleted_at,
            purge_at: user.purge_at,
        }
    }
}

/// The answers about a user, prepared once for each copy of the user.
#[derive(Clone, Debug)]
pub struct PreparedUser {
    /// The [`UserResponse`], as JSON.
    pub body: Bytes,
    /// The id, as a header has it.
    pub id: HeaderValue,
    /// The identifier for other systems, as a header has it.
    pub uid: Option<HeaderValue>,
    /// The address, as a header has it: always percent-encoded, so that no two addresses share a spelling.
    pub email: Option<HeaderValue>,
    /// Whether the address is verified, as a header has it.
    pub email_verified: HeaderValue,
    /// The role, as a header has it.
    pub role: HeaderValue,
    /// The version of the user, as a header has it.
    pub version: HeaderValue,
}

impl PreparedUser {
    /// This user.
    pub fn of(user: &UserCopy) -> Cow<'_, Self> {
        let prepared = user.memo.get_or_make(|| Self::make(user));
        prepared.map_or_else(|| Cow::Owned(Self::make(user)), Cow::Borrowed)
    }

    fn make(user: &UserCopy) -> Self {
        /// Besides characters outside of ASCII, which are always encoded; `%` so that decoding gives the address back.
        const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');
        let email = HeaderValue::from_str(&utf8_percent_encode(&user.email, ENCODED).to_string());
        Self {
            // Texts and numbers into memory: this cannot fail.
            body: serde_json::to_vec(&user.profile).unwrap_or_default().into(),
            id: HeaderValue::from(user.id),
            uid: HeaderValue::from_str(&user.uid.to_string()).ok(),
            email: email.ok(),
            email_verified: HeaderValue::from_static(if user.email_verified { "true" } else { "false" }),
            role: HeaderValue::from_static(user.role.as_str()),
            version: HeaderValue::from(user.version),
        }
    }
}

/// The tokens of a session (RFC 6749, 5.1), and whose they are.
#[derive(Serialize, ToSchema)]
pub struct TokenResponse {
    /// A JWT for `Authorization: Bearer`.
    pub access_token: String,
    /// For the next refresh. Absent in cookie transport, and where only the access token was renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub refresh_token: Option<String>,
    /// Always `bearer`.
    #[schema(pattern = "^bearer$")]
    pub token_type: &'static str,
    /// Until the access token expires, in seconds.
    #[schema(minimum = 0)]
    pub expires_in: i64,
    /// The user, as of now.
    pub user: UserResponse,
}

impl From<&Issued> for TokenResponse {
    fn from(issued: &Issued) -> Self {
        Self {
            access_token: issued.access_token.expose().to_owned(),
            refresh_token: issued
                .refresh_token
                .as_ref()
                .map(|token| token.expose().to_owned()),
            token_type: "bearer",
            expires_in: issued.expires_in,
            user: issued.user.profile.clone(),
        }
    }
}

/// That something was done.
#[derive(Debug, Serialize, ToSchema)]
pub struct BaseResponse {
    /// Always true.
    pub success: bool,
    /// One English sentence.
    pub message: &'static str,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
}

impl BaseResponse {
    /// That the request is done.
    pub fn done(app: &App, message: &'static str) -> Self {
        Self {
            success: true,
            message,
            timestamp: app.clock.now(),
        }
    }
}

/// A live session of a user.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionResponse {
    /// The session.
    #[schema(value_type = String, format = Uuid)]
    pub id: String,
    /// When the user signed in.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When a token of it was last accepted, to some seconds.
    #[schema(value_type = String, format = DateTime)]
    pub last_seen_at: Timestamp,
    /// When it ends if nothing more happens: by `session.idle` and `session.absolute`, and by the shorter lifetimes of the user's role
    /// and of the level of the session.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// The address that signed in.
    pub ip: String,
    /// The program that signed in, as it calls itself.
    pub user_agent: String,
    /// A short name for it, such as "Firefox on Windows".
    pub device: String,
    /// Whether the request was made with it.
    pub current: bool,
}

impl SessionResponse {
    /// A session of a user who has this role, as seen from another one, or from none.
    pub fn new(app: &App, session: &SessionRow, role: Role, current: Option<SessionId>) -> Self {
        Self {
            id: session.id().to_string(),
            created_at: session.created_at,
            last_seen_at: session.last_seen_at,
            expires_at: ends_at(&app.config.session, session, role),
            ip: session.ip.clone(),
            user_agent: session.user_agent.clone(),
            device: device_label(&session.user_agent),
            current: current == Some(session.id()),
        }
    }
}

/// How many sessions were revoked.
#[derive(Debug, Serialize, ToSchema)]
pub struct RevokedResponse {
    /// How many.
    #[schema(minimum = 0)]
    pub revoked: usize,
}

/// A device that the account knows.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeviceResponse {
    /// The device.
    #[schema(value_type = String, format = Uuid)]
    pub id: String,
    /// `known`; or `trusted`, where sign-ins take no second factor.
    pub kind: &'static str,
    /// Until when it is trusted.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub trusted_until: Option<Timestamp>,
    /// When the user first signed in on it.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When the user last signed in on it.
    #[schema(value_type = String, format = DateTime)]
    pub last_seen_at: Timestamp,
    /// The address of the last sign-in.
    pub ip: String,
    /// A short name for it, such as "Firefox on Windows".
    pub device: String,
    /// Whether the session of the request was opened on it.
    pub current: bool,
}

/// The devices that an account knows, the one that was used last first.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeviceList {
    /// The devices.
    pub items: Vec<DeviceResponse>,
    /// How many there are.
    #[schema(minimum = 0)]
    pub total: usize,
    /// This page, from 1.
    #[schema(minimum = 1)]
    pub page: i64,
    /// The most that a page holds.
    #[schema(minimum = 1, maximum = 100)]
    pub page_size: i64,
}

impl DeviceList {
    /// A page of devices as seen from a session that was opened on `current`.
    pub fn new(devices: &[Device], current: Option<Uuid>, now: Timestamp, page: i64, page_size: i64) -> Self {
        let count = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
        let items: Vec<DeviceResponse> = devices
            .iter()
            .skip(count((page - 1).saturating_mul(page_size)))
            .take(count(page_size))
            .map(|device| DeviceResponse {
                id: device.id.to_string(),
                kind: match device.trusted_until(now) {
                    Some(_) => "trusted",
                    None => "known",
                },
                trusted_until: device.trusted_until(now),
                created_at: device.created_at,
                last_seen_at: device.last_seen_at,
                ip: device.ip.clone(),
                device: device.label.clone(),
                current: current == Some(device.id),
            })
            .collect();
        Self {
            total: devices.len(),
            items,
            page,
            page_size,
        }
    }
}

/// How many devices were forgotten.
#[derive(Debug, Serialize, ToSchema)]
pub struct ForgottenResponse {
    /// How many.
    #[schema(minimum = 0)]
    pub forgotten: usize,
}

/// One page of users.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserList {
    /// The users of this page.
    pub items: Vec<AdminUserResponse>,
    /// How many there are on all pages; of a search, up to 100,000.
    #[schema(minimum = 0)]
    pub total: i64,
    /// Whether there are more than `total`.
    pub total_is_capped: bool,
    /// This page, from 1.
    #[schema(minimum = 1)]
    pub page: i64,
    /// The most that a page holds.
    #[schema(minimum = 1, maximum = 100)]
    pub page_size: i64,
    /// What `after` is for the next page; null on the last one.
    #[schema(required)]
    pub next: Option<String>,
}

/// Live sessions, the latest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionList {
    /// The sessions.
    pub items: Vec<SessionResponse>,
    /// How many there are on all pages, up to 10,000.
    #[schema(minimum = 0)]
    pub total: i64,
    /// Whether there are more than `total`.
    pub total_is_capped: bool,
    /// This page, from 1.
    #[schema(minimum = 1)]
    pub page: i64,
    /// The most that a page holds.
    #[schema(minimum = 1, maximum = 100)]
    pub page_size: i64,
}

impl SessionList {
    /// A page of the sessions of a user who has this role, as seen from one of them, or from another user's.
    pub fn new(
        app: &App,
        found: &SessionPage,
        role: Role,
        current: SessionId,
        page: i64,
        page_size: i64,
    ) -> Self {
        Self {
            items: found
                .sessions
                .iter()
                .map(|session| SessionResponse::new(app, session, role, Some(current)))
                .collect(),
            total: found.total,
            total_is_capped: found.total_is_capped,
            page,
            page_size,
        }
    }
}
