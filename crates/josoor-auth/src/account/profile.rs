//! Changing a user's name, language, role or activation.

use std::time::Duration;

use crate::account::links::{self, Cause};
use crate::act::{Act, Client, Entry};
use crate::app::App;
use crate::auth::caller::Caller;
use crate::domain::{Audit, RevokeReason, Role, UserId};
use crate::error::{Error, Refusal, Result};
use crate::store::{Conn, User, UserPatch};

/// Within this time of the last one, another change of one's own profile adds no audit row.
const REPEATED_WITHIN: Duration = Duration::from_mins(1);

/// Changes one's own name or language.
pub async fn update_own(app: &App, caller: &Caller, patch: UserPatch, client: &Client) -> Result<User> {
    debug_assert!(
        patch.role.is_none() && patch.is_active.is_none(),
        "a profile has neither"
    );
    update(app, caller.id(), patch, client)
        .await
        .map(|updated| updated.user)
        .map_err(as_own_account)
}

/// The account was deleted after the request was admitted, and its sessions with it.
pub(super) fn as_own_account(error: Error) -> Error {
    match error {
        Error::NotFound => Refusal::SessionRevoked.into(),
        other => other,
    }
}

/// A user after a change.
#[derive(Debug)]
pub struct Updated {
    /// The user as it is now.
    pub user: User,
    /// Whether anything of it was not so before.
    pub is_changed: bool,
}

/// Changes a user. A deactivation revokes the user's sessions; it and a change of role hold from the next request on.
///
/// # Errors
/// `NotFound`; `LastAdmin` when no active administrator would be left.
pub async fn update(app: &App, id: UserId, patch: UserPatch, client: &Client) -> Result<Updated> {
    let mut act = app.act(client).await?;
    let may_remove_admin =
        patch.role.is_some_and(|role| role != Role::Admin) || patch.is_active == Some(false);
    if may_remove_admin {
        act.tx.pass_guard("admins").await?;
    }
    let updated = act.tx.update_user(id, &patch, act.now).await?;
    let (before, user) = updated.ok_or(Error::NotFound)?;
    if user.version == before.version {
        return Ok(Updated {
            user,
            is_changed: false,
        });
    }
    if may_remove_admin {
        keep_an_admin(&mut act.tx, &before).await?;
    }
    if before.is_active && !user.is_active {
        act.revoke_sessions_of(id, None, RevokeReason::AccountDeactivated)
            .await?;
        // For good: a reactivation must not revive what somebody else may have asked for.
        links::expire(&mut act, id, Cause::Deactivated).await?;
    }
    if before.frozen_at.is_some() && user.frozen_at.is_none() {
        // Released, or deactivated for good: nothing from before recovers it any more.
        act.tx.delete_past_credentials(id).await?;
        if !user.is_active {
            links::expire(&mut act, id, Cause::Deactivated).await?;
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
        let admins = act.admins_to_notify().await?;
        act.notify_of_new_admin(&admins, id, action).await?;
    }
    act.commit().await?;
    Ok(Updated {
        user,
        is_changed: true,
    })
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
    if !after.has_profile_of(before) {
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

/// Rejects what was done in this transaction if it removed the last active administrator, or the last one who can sign in. The
/// caller has passed the guard `admins`, so no other act decides at the same time.
pub(super) async fn keep_an_admin(tx: &mut Conn, before: &User) -> Result<()> {
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
