//! How many sessions one user may have.

use std::time::Duration;

use crate::act::Act;
use crate::domain::{MailKind, RevokeReason};
use crate::error::{Error, Result};
use crate::store::User;

/// A session that was used on a known device within this time is not revoked for a new one.
const RECENT: Duration = Duration::from_hours(1);

/// The owner of an account is notified of too many sessions once in this time.
const NOTIFY_EVERY: Duration = Duration::from_hours(24);

/// How many sessions one sign-in revokes at most, where the setting was lowered.
const REVOKED_AT_ONCE: i64 = 100;

/// Makes space for one more session of a user, who is locked.
///
/// # Errors
/// `SessionLimit` when too few may be revoked.
pub(super) async fn revoke_beyond_limit(act: &mut Act, user: &User) -> Result<()> {
    let most = i64::from(act.app.config.session.max_per_user);
    let (tx, now) = (&mut act.tx, act.now);
    let live = tx
        .count_live_sessions_of(user.id, now, most + REVOKED_AT_ONCE - 1)
        .await?;
    let beyond = live - most + 1;
    if beyond <= 0 {
        return Ok(());
    }
    let ids = tx
        .dispensable_sessions(user.id, now, now.minus(RECENT), beyond)
        .await?;
    if i64::try_from(ids.len()).is_ok_and(|count| count < beyond) {
        return Err(Error::SessionLimit);
    }
    let reason = RevokeReason::SessionLimit;
    let mut revoked = Vec::new();
    for id in ids {
        // A session that has ended meanwhile makes space, too.
        revoked.extend(tx.revoke_session(id, reason, now).await?);
    }
    act.record_revoked(&revoked, reason).await?;
    notify_of_session_limit(act, user).await
}

/// Queues the mail about too many sessions, unless one was queued within the day.
pub(super) async fn notify_of_session_limit(act: &mut Act, user: &User) -> Result<()> {
    let before = act.now.minus(NOTIFY_EVERY);
    if act.tx.claim_session_limit_mail(user.id, act.now, before).await? {
        act.notify(user, MailKind::SessionLimit).await?;
    }
    Ok(())
}
