//! What a row of the outbox holds besides its columns.

use std::net::IpAddr;

use crate::domain::{DeviceLabel, MailKind, UserId};
use crate::error::{Error, Result};
use crate::store::users::user::User;

/// The name of a user whose address is verified: others may have given the account its name, to write to its recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
struct VerifiedName(String);

impl VerifiedName {
    /// The user's name, if the user has one and its address is verified.
    fn of(user: &User) -> Option<Self> {
        user.email_verified_at
            .and_then(|_| user.full_name.clone())
            .map(Self)
    }

    /// As the user wrote it.
    fn as_str(&self) -> &str {
        &self.0
    }
}

/// The verified address of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
struct VerifiedAddress(String);

impl VerifiedAddress {
    /// The user's address, if it is verified.
    fn of(user: &User) -> Option<Self> {
        user.email_verified_at.map(|_| Self(user.email.clone()))
    }

    /// As the user wrote it.
    fn as_str(&self) -> &str {
        &self.0
    }
}

/// From where an act came, in words of ours: a network address that parses, and names of known programs and systems.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    ip: Option<IpAddr>,
    device: Option<DeviceLabel>,
}

impl Origin {
    /// Of a client with this network address and this `User-Agent`.
    pub fn new(ip: &str, user_agent: &str) -> Self {
        Self {
            ip: ip.parse().ok(),
            device: DeviceLabel::of(user_agent),
        }
    }

    /// The network address.
    pub const fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// The program and the system.
    pub const fn device(&self) -> Option<DeviceLabel> {
        self.device
    }
}

/// What the text of a mail names besides its recipient and its link. Its fields hold no text that somebody else than the
/// verified owner of the recipient's account has chosen; only the types that they are made of say so, so there is no way
/// around them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailDetails {
    name: Option<VerifiedName>,
    new_address: Option<VerifiedAddress>,
    subject: Option<UserId>,
    audit_row: Option<i64>,
    origin: Origin,
}

impl MailDetails {
    /// Nothing but the link: for addresses that are not verified as anybody's.
    pub fn bare() -> Self {
        Self::default()
    }

    /// For the owner of an account: the name, if the account's address is verified, and from where the act came.
    pub fn for_owner(user: &User, origin: Origin) -> Self {
        Self {
            name: VerifiedName::of(user),
            origin,
            ..Self::default()
        }
    }

    /// Names the address that the account has `after` a change, in a mail to the one that it had `before`, if both are
    /// verified: an address that was not need not be the owner's, and learns nothing that the holder of the account chose.
    #[must_use]
    pub fn with_new_address(self, before: &User, after: &User) -> Self {
        Self {
            new_address: VerifiedAddress::of(before).and_then(|_| VerifiedAddress::of(after)),
            ..self
        }
    }

    /// Names, in a mail to an administrator, another user by the id and the row of the audit trail that records the act.
    #[must_use]
    pub fn with_subject(self, subject: UserId, audit_row: i64) -> Self {
        Self {
            subject: Some(subject),
            audit_row: Some(audit_row),
            ..self
        }
    }

    /// The user whom the mail tells of.
    pub const fn subject(&self) -> Option<UserId> {
        self.subject
    }

    /// The id of the row of the audit trail.
    pub const fn audit_row(&self) -> Option<i64> {
        self.audit_row
    }

    /// The name for the greeting.
    pub fn name(&self) -> Option<&str> {
        self.name.as_ref().map(VerifiedName::as_str)
    }

    /// The new address of the account.
    pub fn new_address(&self) -> Option<&str> {
        self.new_address.as_ref().map(VerifiedAddress::as_str)
    }

    /// From where the act came.
    pub const fn origin(&self) -> Origin {
        self.origin
    }
}

/// Who made a request, for its audit row. Never part of a mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestOrigin {
    /// The client's network address.
    pub ip: String,
    /// The client's `User-Agent`.
    pub user_agent: String,
    /// The request's id.
    pub request_id: String,
    /// The id that the client gave the request; empty where it gave none.
    pub client_request_id: String,
}

/// What a row holds besides the columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Of a request.
    Request(RequestOrigin),
    /// Of a mail.
    Mail(MailDetails),
}

/// [`Content`] as JSON in the column `details`. The nodes of the version before read and write the same column: they know `ip`,
/// `user_agent` and `request_id`; their `name`, `email` and `new_email` are of unknown origin and are not read.
#[derive(Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
struct StoredContent {
    #[serde(skip_serializing_if = "String::is_empty")]
    ip: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    user_agent: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    request_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    client_request_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    device: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit_row: Option<i64>,
}

impl Content {
    pub(super) fn to_json(&self) -> Result<String> {
        let stored = match self.clone() {
            Self::Request(origin) => StoredContent {
                ip: origin.ip,
                user_agent: origin.user_agent,
                request_id: origin.request_id,
                client_request_id: origin.client_request_id,
                ..StoredContent::default()
            },
            Self::Mail(details) => StoredContent {
                ip: details.origin.ip.map_or_else(String::new, |ip| ip.to_string()),
                device: details
                    .origin
                    .device
                    .map_or_else(String::new, |device| device.to_string()),
                verified_name: details.name.map(|name| name.0),
                new_address: details.new_address.map(|address| address.0),
                subject: details.subject.map(|id| id.0),
                audit_row: details.audit_row,
                ..StoredContent::default()
            },
        };
        serde_json::to_string(&stored).map_err(Error::internal)
    }

    pub(super) fn from_json(kind: MailKind, text: &str) -> Result<Self> {
        let stored: StoredContent = serde_json::from_str(text).map_err(Error::internal)?;
        Ok(if kind.is_request() {
            Self::Request(RequestOrigin {
                ip: stored.ip,
                user_agent: stored.user_agent,
                request_id: stored.request_id,
                client_request_id: stored.client_request_id,
            })
        } else {
            Self::Mail(MailDetails {
                name: stored.verified_name.map(VerifiedName),
                new_address: stored.new_address.map(VerifiedAddress),
                subject: stored.subject.map(UserId),
                audit_row: stored.audit_row,
                origin: Origin {
                    ip: stored.ip.parse().ok(),
                    device: DeviceLabel::parse(&stored.device)
                        .or_else(|| DeviceLabel::of(&stored.user_agent)),
                },
            })
        })
    }
}
