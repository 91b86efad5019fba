//! Supabase's `auth.users`.

use super::fields::{Get, Parsed};
use super::options::Reading;
use super::user::{Incoming, Verified};
use crate::error::{FieldError, Invalid};

/// The columns of Supabase's `auth.users` that are understood.
pub const SUPABASE_COLUMNS: [&str; 12] = [
    "id",
    "email",
    "encrypted_password",
    "email_confirmed_at",
    "banned_until",
    "raw_user_meta_data",
    "raw_app_meta_data",
    "deleted_at",
    "is_sso_user",
    "created_at",
    "updated_at",
    "last_sign_in_at",
];

impl Reading {
    pub(super) fn supabase(&self, get: &Get<'_>) -> Parsed<Incoming> {
        if get.time("deleted_at")?.is_some() {
            return Err(Invalid::new("deleted", "The user is deleted at the source.").in_field("deleted_at"));
        }
        if get.flag("is_sso_user")? == Some(true) && !self.without_password {
            return Err(Invalid::new(
                "sso_user",
                "The user signs in through another service and has no password; --without-password takes such users.",
            )
            .in_field("is_sso_user"));
        }
        let metadata = get.object("raw_user_meta_data")?.unwrap_or_default();
        let metadata = Get(&metadata);
        let name = metadata.name("full_name").map_err(in_metadata)?;
        let name = name.or(metadata.name("name").map_err(in_metadata)?);
        let claims = get.object("raw_app_meta_data")?.unwrap_or_default();
        let role = self.role(&Get(&claims), "role").map_err(|mut reason| {
            reason.field.insert_str(0, "raw_app_meta_data.");
            reason
        })?;
        let banned = get
            .time_or_infinity("banned_until")?
            .is_some_and(|until| until > self.now);
        let email = get.email("email")?;
        let user = Incoming {
            role,
            is_active: Some(!banned),
            verified: get.time("email_confirmed_at")?.map_or(Verified::No, Verified::At),
            password_hash: self.password("encrypted_password", get.hash("encrypted_password")?)?,
            created_at: get.time("created_at")?,
            updated_at: get.time("updated_at")?,
            last_login_at: get.time("last_sign_in_at")?,
            ..Incoming::new(email)
        };
        Ok(name.inside("raw_user_meta_data.").given_to(user))
    }
}

fn in_metadata(mut reason: FieldError) -> FieldError {
    reason.field.insert_str(0, "raw_user_meta_data.");
    reason
}
