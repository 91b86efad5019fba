//! A user to bring in, and where it comes from.

use serde::Serialize;
use uuid::Uuid;

use crate::auth::factors::moved::MovedFactors;
use crate::domain::{Email, FullName, Locale, PasswordHash, Role, Timestamp, UserId};
use crate::error::FieldError;
use crate::store::{NewUser, User};

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

    /// What the table of users is called at the source.
    pub fn table(self) -> &'static str {
        match self {
            Self::Supabase => "auth.users",
            _ => "users",
        }
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
    /// The second factors, where the address is verified.
    pub factors: MovedFactors,
    /// When the password was set.
    pub password_changed_at: Option<Timestamp>,
    /// When the account was made.
    pub created_at: Option<Timestamp>,
    /// When it was last changed.
    pub updated_at: Option<Timestamp>,
    /// The time of the last sign-in.
    pub last_login_at: Option<Timestamp>,
    /// The source's own id.
    pub source_id: Option<String>,
    /// A UUID of the source, to keep as `uid` unless it is another user's.
    pub preferred_uid: Option<Uuid>,
    /// What was changed so that the user could be taken.
    pub warnings: Vec<FieldError>,
}

impl Incoming {
    /// A user with this address, of whom the source says nothing else.
    pub(super) const fn new(email: Email) -> Self {
        Self {
            id: None,
            uid: None,
            email,
            full_name: None,
            role: None,
            is_active: None,
            verified: Verified::Unknown,
            locale: None,
            password_hash: None,
            factors: MovedFactors {
                totp: None,
                passkeys: Vec::new(),
                recovery_codes: Vec::new(),
            },
            password_changed_at: None,
            created_at: None,
            updated_at: None,
            last_login_at: None,
            source_id: None,
            preferred_uid: None,
            warnings: Vec::new(),
        }
    }

    /// In what a user differs from what its line says. What the line leaves open does not count, nor does what changes by
    /// itself with time.
    pub(super) fn differences(&self, there: &User) -> Vec<&'static str> {
        let verified = match self.verified {
            Verified::Unknown => None,
            Verified::No => Some(false),
            Verified::Yes | Verified::At(_) => Some(true),
        };
        let name = self.full_name.as_ref().map(FullName::as_str);
        let pairs = [
            ("uid", self.uid.is_some_and(|uid| uid != there.uid)),
            ("email", self.email.address() != there.email),
            ("full_name", name.is_some() && name != there.full_name.as_deref()),
            ("role", self.role.is_some_and(|role| role != there.role)),
            (
                "is_active",
                self.is_active.is_some_and(|active| active != there.is_active),
            ),
            (
                "email_verified",
                verified.is_some_and(|verified| verified != there.email_verified_at.is_some()),
            ),
            ("locale", self.locale.is_some_and(|locale| locale != there.locale)),
            (
                "created_at",
                self.created_at.is_some_and(|at| at != there.created_at),
            ),
            (
                "password_hash",
                self.password_hash
                    .as_ref()
                    .is_some_and(|hash| self.has_other_password(hash, there)),
            ),
        ];
        pairs
            .into_iter()
            .filter(|(_, differs)| *differs)
            .map(|(name, _)| name)
            .collect()
    }

    /// A sign-in replaces an imported hash by one of the same password and leaves the time of the password alone; another
    /// password sets that time.
    fn has_other_password(&self, hash: &PasswordHash, there: &User) -> bool {
        let Some(stored) = &there.password_hash else {
            return true;
        };
        if stored.as_str() == hash.as_str() {
            return false;
        }
        let imported_at = self.password_changed_at.or(self.created_at);
        match (imported_at, there.password_changed_at) {
            (Some(imported), Some(changed)) => imported != changed,
            // The import gave the password the time of the account.
            (None, Some(changed)) => changed != there.created_at,
            (_, None) => true,
        }
    }

    /// Fills in what the source leaves open. `uid` is the one to keep.
    pub(super) fn complete(&self, uid: Option<Uuid>, locale: Locale, now: Timestamp) -> NewUser<'_> {
        let created_at = self.created_at.unwrap_or(now);
        let new = NewUser::new(&self.email, self.locale.unwrap_or(locale), created_at);
        NewUser {
            id: self.id,
            uid: uid.unwrap_or(new.uid),
            password_hash: self.password_hash.as_ref(),
            full_name: self.full_name.as_ref(),
            role: self.role.unwrap_or(Role::User),
            is_active: self.is_active.unwrap_or(true),
            email_verified_at: match self.verified {
                Verified::Unknown | Verified::No => None,
                Verified::Yes => Some(created_at),
                Verified::At(at) => Some(at),
            },
            updated_at: self.updated_at.unwrap_or(created_at),
            password_changed_at: self.password_changed_at,
            last_login_at: self.last_login_at,
            ..new
        }
    }
}

/// A line that was not taken, or not as it is, and why. Never holds a password hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReportRow {
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
    /// The source's own id, where it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_id: Option<String>,
    /// The user was taken all the same.
    #[serde(skip_serializing_if = "is_refusal")]
    pub warning: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_refusal(warning: &bool) -> bool {
    !warning
}

impl ReportRow {
    pub(super) fn refused(line: u64, reason: FieldError) -> Self {
        Self {
            line,
            field: (!reason.field.is_empty()).then_some(reason.field),
            code: reason.code,
            message: reason.message,
            email: None,
            source_id: None,
            warning: false,
        }
    }

    pub(super) fn warning(line: u64, reason: FieldError) -> Self {
        Self {
            warning: true,
            ..Self::refused(line, reason)
        }
    }

    pub(super) fn of(self, user: &Incoming) -> Self {
        Self {
            email: Some(user.email.address().to_owned()),
            source_id: user.source_id.clone(),
            ..self
        }
    }
}

/// Which user of the service a user of the source is.
#[derive(Debug)]
pub struct Mapping {
    /// The source's own id.
    pub source_id: Option<String>,
    /// The user's id here.
    pub id: UserId,
    /// The user's identifier for other systems here.
    pub uid: Uuid,
    /// The address.
    pub email: String,
}

impl Mapping {
    /// The columns of a file of these.
    pub const COLUMNS: [&str; 4] = ["source_id", "id", "uid", "email"];
}

/// The largest id that every program reads exactly: JSON's numbers are doubles to many (RFC 8259, 6).
pub(super) const LARGEST_ID: i64 = 1 << 53;
