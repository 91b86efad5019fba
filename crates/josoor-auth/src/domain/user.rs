//! What a user is made of. Answers and the copies in caches are made of [`Profile`].

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use josoor_auth_verify::Role;

use super::ids::UserId;
use super::locale::Locale;
use super::name::Name;
use super::timestamp::Timestamp;

/// What a person is called, as one text: names have no parts that hold everywhere.
pub type FullName = Name<200>;

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = UserResponse)]
pub struct Profile {
    /// Positive; never given to another user.
    #[schema(minimum = 1)]
    pub id: i64,
    /// For other systems: random, and the same for the account's whole life.
    #[schema(value_type = String, format = Uuid)]
    pub uid: Uuid,
    /// As it was typed.
    pub email: String,
    /// Null when the user gave none.
    #[schema(required)]
    pub full_name: Option<String>,
    /// `user`, `analyst` or `admin`.
    #[schema(value_type = RoleName)]
    pub role: Role,
    /// Whether the user may sign in.
    pub is_active: bool,
    /// Whether the address was verified.
    pub email_verified: bool,
    /// Whether a sign-in takes a second factor.
    pub mfa_enabled: bool,
    /// `en` or `ar`.
    #[schema(value_type = LocaleName)]
    pub locale: String,
    /// When the account was created.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl Profile {
    /// The bytes of what its user has typed.
    pub fn typed_bytes(&self) -> usize {
        self.email.len() + self.full_name.as_ref().map_or(0, String::len)
    }

    /// In place of the profile of a user who was deleted: the id and nothing else.
    pub fn of_deleted(id: UserId, at: Timestamp) -> Self {
        Self {
            id: id.0,
            uid: Uuid::nil(),
            email: String::new(),
            full_name: None,
            role: Role::User,
            is_active: false,
            email_verified: false,
            mfa_enabled: false,
            locale: Locale::En.as_str().to_owned(),
            created_at: at,
            updated_at: at,
        }
    }
}

/// The roles, lowest first.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RoleName {
    /// Every registered user.
    User,
    /// May see and build analyses.
    Analyst,
    /// May manage users.
    Admin,
}

/// The languages.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LocaleName {
    /// English.
    En,
    /// Arabic.
    Ar,
}
