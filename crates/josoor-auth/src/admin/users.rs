//! What administrators and operators do with users.

use crate::act::{Client, Entry};
use crate::app::App;
use crate::domain::{Audit, Email, FullName, Locale, Password, Role, UserId};
use crate::error::{Error, Result};
use crate::passwords::Person;
use crate::store::{NewUser, Start, User, UserFilter, UserPage, UserSort};

pub use crate::account::deletion::{delete, delete_now, restore};
pub use crate::account::profile::update;

/// One page of users.
pub async fn list(
    app: &App,
    filter: &UserFilter,
    sort: UserSort,
    start: &Start,
    page_size: i64,
) -> Result<UserPage> {
    app.db
        .read()
        .await?
        .list_users(filter, sort, start, page_size)
        .await
}

/// The ids of all users that a filter lets through, in order.
pub async fn list_ids(app: &App, filter: &UserFilter, sort: UserSort) -> Result<Vec<i64>> {
    app.db.read().await?.list_user_ids(filter, sort).await
}

/// The users with these ids that are still there, in the order of the ids.
pub async fn get_many(app: &App, ids: &[i64]) -> Result<Vec<User>> {
    app.db.read().await?.users_by_ids(ids).await
}

/// The user with this id.
pub async fn get(app: &App, id: UserId) -> Result<User> {
    app.db.read().await?.user_by_id(id).await?.ok_or(Error::NotFound)
}

/// The user with this address.
pub async fn get_by_email(app: &App, email: &Email) -> Result<User> {
    app.db
        .read()
        .await?
        .user_by_email(email)
        .await?
        .ok_or(Error::NotFound)
}

/// Creates an account without signing it in, for an operator. Without a password it cannot be signed in to yet.
///
/// # Errors
/// `Invalid` for a password against the policy; `EmailTaken`.
pub async fn create(
    app: &App,
    email: &Email,
    password: Option<Password>,
    full_name: Option<FullName>,
    role: Role,
    locale: Locale,
    client: &Client,
) -> Result<User> {
    let hash = match password {
        Some(password) => {
            let person = Person {
                email: email.address(),
                full_name: full_name.as_ref().map(FullName::as_str),
            };
            let password = app.passwords.accept("password", password, person).await?;
            Some(app.hasher.hash(password, client.requester()).await?)
        }
        None => None,
    };
    let mut act = app.act(client).await?;
    let new = NewUser {
        password_hash: hash.as_ref(),
        full_name: full_name.as_ref(),
        role,
        ..NewUser::new(email, locale, act.now)
    };
    let user = act.tx.insert_user(&new).await?.ok_or(Error::EmailTaken)?;
    act.audit(
        Entry::success(Audit::Register)
            .subject(user.id)
            .reason(role.as_str()),
    );
    if role == Role::Admin {
        let admins = act.admins_to_notify().await?;
        act.notify_of_new_admin(&admins, user.id, Audit::Register).await?;
    }
    act.commit().await?;
    Ok(user)
}
