//! What is shown of a user: answers and the copies in caches are made of this one struct.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use josoor_auth_verify::Role;

use super::timestamp::Timestamp;

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
