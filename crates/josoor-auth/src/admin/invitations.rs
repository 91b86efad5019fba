//! Invitations.

use crate::account::password;
use crate::act::{Client, Entry};
use crate::app::App;
use crate::domain::{Audit, Role};
use crate::error::{Error, Result};
use crate::store::{NewUser, User};

pub use crate::account::password::{create_reset_link, send_reset_to};

/// Creates an account without a password and sends its owner an invitation to choose one.
///
/// # Errors
/// `EmailTaken`.
pub async fn invite(app: &App, new: &NewUser<'_>, client: &Client) -> Result<User> {
    let mut act = app.act(client).await?;
    let new = NewUser {
        password_hash: None,
        email_verified_at: None,
        ..new.clone()
    };
    let user = act.tx.insert_user(&new).await?.ok_or(Error::EmailTaken)?;
    password::send_reset(&mut act, &user).await?;
    act.audit(
        Entry::success(Audit::UserInvite)
            .subject(user.id)
            .reason(new.role.as_str()),
    );
    if new.role == Role::Admin {
        let admins = act.admins_to_notify().await?;
        act.notify_of_new_admin(&admins, user.id, Audit::UserInvite)
            .await?;
    }
    act.commit().await?;
    Ok(user)
}
