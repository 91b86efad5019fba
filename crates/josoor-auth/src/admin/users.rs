//! What administrators and operators do with users.

use std::time::Duration;

use crate::account::links::{self, Act};
use crate::account::recovery;
use crate::account::undo;
use crate::app::App;
use crate::cache::{self, Effects};
use crate::domain::{Email, FullName, Locale, Password, Role, Timestamp, UserId};
use crate::error::{Error, Result};
use crate::passwords::Person;
use crate::sessions::{self, Client};
use crate::store::{
    Audit, Conn, MailKind, NewAudit, NewUser, RevokeReason, User, UserFilter, UserPatch, UserSort,
};

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

/// Makes an account without signing it in, for an operator. Without a password nobody can sign in to it yet.
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
            Some(app.hasher.hash(password, client.asker()).await?)
        }
        None => None,
    };
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    let new = NewUser {
        email,
        password_hash: hash.as_ref(),
        full_name: full_name.as_ref(),
        role,
        locale,
        email_verified_at: None,
        created_at: now,
    };
    let user = tx.insert_user(&new).await?.ok_or(Error::EmailTaken)?;
    let row = NewAudit {
        subject: Some(user.id),
        reason: Some(role.as_str()),
        ..client.audit(Audit::Register, now)
    };
    tx.insert_audit(&row).await?;
    if role == Role::Admin {
        let admins = recovery::admins_to_tell(&mut tx).await?;
        recovery::tell_of_new_admin(&mut tx, &admins, user.id, Audit::Register, client, now).await?;
    }
    tx.commit().await?;
    app.mail_queued.notify_one();
    Ok(user)
}

/// Changes a user. A deactivation ends the user's sessions; it and a change of role hold from the next request on.
///
/// # Errors
/// `NotFound`; `LastAdmin` when no active administrator would be left.
pub async fn update(app: &App, id: UserId, patch: UserPatch, client: &Client) -> Result<User> {
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    let may_remove_admin =
        patch.role.is_some_and(|role| role != Role::Admin) || patch.is_active == Some(false);
    if may_remove_admin {
        tx.pass_guard("admins").await?;
    }
    let (before, user) = tx.update_user(id, &patch, now).await?.ok_or(Error::NotFound)?;
    if user.version == before.version {
        return Ok(user);
    }
    if may_remove_admin {
        keep_an_admin(&mut tx, &before).await?;
    }
    let mut effects = Effects::default();
    if before.is_active && !user.is_active {
        let reason = RevokeReason::AccountDeactivated;
        let ended = tx.revoke_sessions_of(id, None, reason, now).await?;
        sessions::record_revocations(&mut tx, &ended, reason, client, now, &mut effects).await?;
        // For good: a reactivation must not revive what somebody else may have asked for.
        links::end(&mut tx, id, Act::Deactivated, now).await?;
    }
    if before.frozen_at.is_some() && user.frozen_at.is_none() {
        // Released, or deactivated for good: nothing from before recovers it any more.
        tx.delete_past_credentials(id).await?;
        if !user.is_active {
            links::end(&mut tx, id, Act::Deactivated, now).await?;
        }
    }
    tx.record_user_change(id, now, cache::user_copies_until(now))
        .await?;
    for row in audit_rows(&before, &user, client, now) {
        // Changing one's own name again and again must not fill the audit trail: one row says that it was changed.
        let is_own = row.action == Audit::UserUpdate && client.actor == Some(id);
        if !is_own || !tx.has_done_since(&row, now.minus(REPEATED_WITHIN)).await? {
            tx.insert_audit(&row).await?;
        }
    }
    let is_admin = |user: &User| user.role == Role::Admin && user.is_active;
    let is_new_admin = is_admin(&user) && !is_admin(&before);
    if is_new_admin {
        let action = if before.role == Role::Admin {
            Audit::ActivationChange
        } else {
            Audit::RoleChange
        };
        let admins = recovery::admins_to_tell(&mut tx).await?;
        recovery::tell_of_new_admin(&mut tx, &admins, id, action, client, now).await?;
    }
    effects.change(&user);
    app.commit(tx, effects).await?;
    if is_new_admin {
        app.mail_queued.notify_one();
    }
    Ok(user)
}

fn audit_rows<'a>(before: &User, after: &'a User, client: &'a Client, now: Timestamp) -> Vec<NewAudit<'a>> {
    let mut rows = Vec::new();
    let mut add = |action, reason| {
        rows.push(NewAudit {
            subject: Some(after.id),
            reason,
            ..client.audit(action, now)
        });
    };
    if before.role != after.role {
        add(Audit::RoleChange, Some(after.role.as_str()));
    }
    if before.is_active != after.is_active || before.frozen_at != after.frozen_at {
        add(
            Audit::ActivationChange,
            Some(if after.is_active {
                "activated"
            } else {
                "deactivated"
            }),
        );
    }
    if before.full_name != after.full_name || before.locale != after.locale {
        add(Audit::UserUpdate, None);
    }
    rows
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

/// Deletes a user, who can be restored for `grace`, if `allows` still says so inside the unit of work that deletes.
pub(crate) async fn delete_if(
    app: &App,
    id: UserId,
    grace: Duration,
    client: &Client,
    allows: impl AsyncFnOnce(&mut Conn, &User) -> Result<()>,
) -> Result<()> {
    let reason = RevokeReason::AccountDeleted;
    let mut effects = Effects::default();
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    tx.pass_guard("admins").await?;
    // The account before its sessions, as everybody does who changes both.
    let before = tx.lock_user(id).await?.ok_or(Error::NotFound)?;
    allows(&mut tx, &before).await?;
    let ended = tx.revoke_sessions_of(id, None, reason, now).await?;
    sessions::record_revocations(&mut tx, &ended, reason, client, now, &mut effects).await?;
    if grace.is_zero() {
        remove(&mut tx, &before, client, now).await?;
        effects.delete(id, now);
    } else {
        if before.deleted_at.is_some() {
            return Err(Error::NotFound);
        }
        let after = undo::mark_deleted(&mut tx, &before, grace, client, now).await?;
        effects.change(&after);
    }
    keep_an_admin(&mut tx, &before).await?;
    tx.record_user_change(id, now, cache::user_copies_until(now))
        .await?;
    tx.insert_audit(&NewAudit {
        subject: Some(id),
        reason: grace.is_zero().then_some("for_good"),
        ..client.audit(Audit::UserDelete, now)
    })
    .await?;
    app.commit(tx, effects).await?;
    app.mail_queued.notify_one();
    app.metrics.sessions_revoked(reason.as_str(), ended.len() as u64);
    Ok(())
}

/// Removes a user, who is locked, and tells its owner.
async fn remove(tx: &mut Conn, before: &User, client: &Client, now: Timestamp) -> Result<()> {
    if !tx.delete_user(before.id).await? {
        return Err(Error::NotFound);
    }
    tx.delete_mails_of(before.id).await?;
    let email = recovery::address_of(before)?;
    tx.queue_mail(&recovery::mail_to(
        before,
        &email,
        MailKind::AccountDeleted,
        None,
        client,
        now,
    ))
    .await
}

/// Refuses what has just been done in this unit of work if it took the last active administrator away, or the last one who
/// can sign in. The caller has passed the guard `admins`, so no other act decides at the same time.
async fn keep_an_admin(tx: &mut Conn, before: &User) -> Result<()> {
    if before.role != Role::Admin || !before.is_active {
        return Ok(());
    }
    let left = if before.password_hash.is_some() {
        tx.count_admins_with_password().await?
    } else {
        tx.count_active_admins().await?
    };
    if left == 0 { Err(Error::LastAdmin) } else { Ok(()) }
}
