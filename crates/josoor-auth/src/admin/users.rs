//! What administrators and operators do with users.

use std::time::Duration;

use crate::account::links::{self, Cause};
use crate::account::notices;
use crate::account::undo;
use crate::act::{Act, Client, Entry};
use crate::app::App;
use crate::domain::{Email, FullName, Locale, Password, Role, UserId};
use crate::error::{Error, Result};
use crate::passwords::Person;
use crate::store::{Audit, Conn, MailKind, NewUser, RevokeReason, User, UserFilter, UserPatch, UserSort};

/// Within this time of the last one, another change of one's own profile adds no audit row.
const REPEATED_WITHIN: Duration = Duration::from_mins(1);

/// One page of users, and how many there are in all.
pub async fn list(
    app: &App,
    filter: &UserFilter,
    sort: UserSort,
    page: i64,
    page_size: i64,
) -> Result<(Vec<User>, i64)> {
    let offset = (page - 1).saturating_mul(page_size);
    app.db
        .read()
        .await?
        .list_users(filter, sort, page_size, offset)
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
        let admins = notices::admins_to_notify(&mut act.tx).await?;
        notices::notify_of_new_admin(&mut act, &admins, user.id, Audit::Register).await?;
    }
    act.commit().await?;
    Ok(user)
}

/// Changes a user. A deactivation revokes the user's sessions; it and a change of role hold from the next request on.
///
/// # Errors
/// `NotFound`; `LastAdmin` when no active administrator would be left.
pub async fn update(app: &App, id: UserId, patch: UserPatch, client: &Client) -> Result<User> {
    let mut act = app.act(client).await?;
    let now = act.now;
    let may_remove_admin =
        patch.role.is_some_and(|role| role != Role::Admin) || patch.is_active == Some(false);
    if may_remove_admin {
        act.tx.pass_guard("admins").await?;
    }
    let updated = act.tx.update_user(id, &patch, now).await?;
    let (before, user) = updated.ok_or(Error::NotFound)?;
    if user.version == before.version {
        return Ok(user);
    }
    if may_remove_admin {
        keep_an_admin(&mut act.tx, &before).await?;
    }
    if before.is_active && !user.is_active {
        act.revoke_sessions_of(id, None, RevokeReason::AccountDeactivated)
            .await?;
        // For good: a reactivation must not revive what somebody else may have asked for.
        links::end(&mut act.tx, id, Cause::Deactivated, now).await?;
    }
    if before.frozen_at.is_some() && user.frozen_at.is_none() {
        // Released, or deactivated for good: nothing from before recovers it any more.
        act.tx.delete_past_credentials(id).await?;
        if !user.is_active {
            links::end(&mut act.tx, id, Cause::Deactivated, now).await?;
        }
    }
    act.publish_user(&user).await?;
    record_changes(&mut act, &before, &user).await?;
    let is_admin = |user: &User| user.role == Role::Admin && user.is_active;
    if is_admin(&user) && !is_admin(&before) {
        let action = if before.role == Role::Admin {
            Audit::ActivationChange
        } else {
            Audit::RoleChange
        };
        let admins = notices::admins_to_notify(&mut act.tx).await?;
        notices::notify_of_new_admin(&mut act, &admins, id, action).await?;
    }
    act.commit().await?;
    Ok(user)
}

async fn record_changes(act: &mut Act, before: &User, after: &User) -> Result<()> {
    if before.role != after.role {
        let entry = Entry::success(Audit::RoleChange).subject(after.id);
        act.audit(entry.reason(after.role.as_str()));
    }
    if before.is_active != after.is_active || before.frozen_at != after.frozen_at {
        let entry = Entry::success(Audit::ActivationChange).subject(after.id);
        act.audit(entry.reason(if after.is_active {
            "activated"
        } else {
            "deactivated"
        }));
    }
    if before.full_name != after.full_name || before.locale != after.locale {
        let entry = Entry::success(Audit::UserUpdate).subject(after.id);
        // Changing one's own name again and again must not fill the audit trail: one row says that it was changed.
        if act.client.actor == Some(after.id) {
            let since = act.now.minus(REPEATED_WITHIN);
            act.audit_once_since(entry, since).await?;
        } else {
            act.audit(entry);
        }
    }
    Ok(())
}

/// Deletes a user. For `account.deletion_grace` the account can be restored; to everything else it is gone at once.
///
/// # Errors
/// `NotFound`; `LastAdmin`.
pub async fn delete(app: &App, id: UserId, client: &Client) -> Result<()> {
    let grace = app.config.account.deletion_grace;
    delete_if(app, id, grace, client, async |_, _| Ok(())).await
}

/// Removes a user for good, with everything that belongs to it; also one that was deleted before and can be restored.
///
/// # Errors
/// `NotFound`; `LastAdmin`.
pub async fn delete_now(app: &App, id: UserId, client: &Client) -> Result<()> {
    delete_if(app, id, Duration::ZERO, client, async |_, _| Ok(())).await
}

/// Deletes a user, who can be restored for `grace`, if `allows` still says so inside the act that deletes.
pub(crate) async fn delete_if(
    app: &App,
    id: UserId,
    grace: Duration,
    client: &Client,
    allows: impl AsyncFnOnce(&mut Act, &User) -> Result<()>,
) -> Result<()> {
    let mut act = app.act(client).await?;
    act.tx.pass_guard("admins").await?;
    // The account before its sessions, as every act that changes both.
    let before = act.tx.lock_user(id).await?.ok_or(Error::NotFound)?;
    allows(&mut act, &before).await?;
    act.revoke_sessions_of(id, None, RevokeReason::AccountDeleted)
        .await?;
    if grace.is_zero() {
        remove(&mut act, &before).await?;
        act.publish_deleted(id).await?;
    } else {
        if before.deleted_at.is_some() {
            return Err(Error::NotFound);
        }
        let after = undo::mark_deleted(&mut act, &before, grace).await?;
        act.publish_user(&after).await?;
    }
    keep_an_admin(&mut act.tx, &before).await?;
    let reason = grace.is_zero().then_some("for_good");
    act.audit(Entry::success(Audit::UserDelete).subject(id).reason(reason));
    act.commit().await
}

/// Removes a user, who is locked, and notifies its owner.
async fn remove(act: &mut Act, before: &User) -> Result<()> {
    if !act.tx.delete_user(before.id).await? {
        return Err(Error::NotFound);
    }
    act.tx.delete_mails_of(before.id).await?;
    act.notify(before, MailKind::AccountDeleted).await
}

/// Rejects what was done in this transaction if it removed the last active administrator, or the last one who can sign in. The
/// caller has passed the guard `admins`, so no other act decides at the same time.
async fn keep_an_admin(tx: &mut Conn, before: &User) -> Result<()> {
    if before.role != Role::Admin || !before.is_active {
        return Ok(());
    }
    let left = if before.is_invited() {
        tx.count_active_admins().await?
    } else {
        tx.count_accepted_admins().await?
    };
    if left == 0 { Err(Error::LastAdmin) } else { Ok(()) }
}
