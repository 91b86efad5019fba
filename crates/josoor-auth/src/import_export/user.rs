//! A user to bring in, and where it comes from.

use serde::Serialize;
use uuid::Uuid;

use crate::domain::{Email, FullName, Locale, PasswordHash, Role, Timestamp, UserId};
use crate::error::FieldError;

/// Who wrote the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Preset {
    /// `user export`, or written by hand.
    Native,
    /// The platform's own table `users`.
    Document,
    /// Supabase's `auth.users`.
    Supabase,
    /// A realm export.
    Keycloak,
    /// A users' export, with or without password hashes.
    Auth0,
    /// `firebase auth:export`.
    Firebase,
}

impl Preset {
    /// Its name on the command line and in the audit trail.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Format {
    /// RFC 4180, with a header.
    Csv,
    /// One JSON object on each line.
    Ndjson,
    /// One JSON document.
    Json,
}

impl Format {
    /// Its name on the command line.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Whether an address is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// The source does not say.
    Unknown,
    /// It is not.
    No,
    /// It is, at an unknown time.
    Yes,
    /// It is, since then.
    At(Timestamp),
}

/// A user to bring in, every value checked. What the source leaves open is `None`.
#[derive(Debug)]
pub struct Incoming {
    /// The id to keep.
    pub id: Option<UserId>,
    /// The identifier for other systems, to keep.
    pub uid: Option<Uuid>,
    /// The address.
    pub email: Email,
    /// The name to show.
    pub full_name: Option<FullName>,
    /// What the user may do.
    pub role: Option<Role>,
    /// Whether the user may sign in.
    pub is_active: Option<bool>,
    /// Whether the address is verified.
    pub verified: Verified,
    /// The language.
    pub locale: Option<Locale>,
    /// The hash, as its source wrote it.
    pub password_hash: Option<PasswordHash>,
    /// When the password was set.
    pub password_changed_at: Option<Timestamp>,
    /// When the account was made.
    pub created_at: Option<Timestamp>,
    /// When it was last changed.
    pub updated_at: Option<Timestamp>,
    /// The time of the last sign-in.
    pub last_login_at: Option<Timestamp>,
}

/// A line that was not taken, and why. Never holds a password hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The line of the file, or the number of the row, from 1.
    pub line: u64,
    /// The field concerned; null when it is the line as a whole.
    pub field: Option<String>,
    /// Stable, `snake_case`.
    pub code: &'static str,
    /// One English sentence.
    pub message: String,
    /// The address, where it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

impl Refused {
    pub(super) fn new(line: u64, reason: FieldError, email: Option<&Email>) -> Self {
        Self {
            line,
            field: (!reason.field.is_empty()).then_some(reason.field),
            code: reason.code,
            message: reason.message,
            email: email.map(|email| email.address().to_owned()),
        }
    }
}

/// The largest id that every program reads exactly: JSON's numbers are doubles to many (RFC 8259, 6).
pub const LARGEST_ID: i64 = 1 << 53;

/// The columns of a native file, in the order in which they are written.
pub const COLUMNS: [&str; 14] = [
    "id",
    "uid",
    "email",
    "full_name",
    "role",
    "is_active",
    "email_verified",
    "email_verified_at",
    "locale",
    "password_hash",
    "password_changed_at",
    "last_login_at",
    "created_at",
    "updated_at",
];
