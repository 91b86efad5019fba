//! How many sessions one user may have.

use std::time::Duration;

use super::revoke::record_revocations;
use crate::account::recovery;
use crate::act::Client;
use crate::app::App;
use crate::cache::Effects;
use crate::domain::{Email, Timestamp};
use crate::error::{Error, Result};
use crate::store::{Conn, MailKind, RevokeReason, User};

/// Within this time a session that was used on a known device is not ended for a new one.
const RECENT: Duration = Duration::from_hours(1);

/// The owner of an account is told of too many sessions once in this time.
const SESSION_LIMIT_MAIL_EVERY: Duration = Duration::from_hours(24);

/// How many sessions one sign-in ends at most, where the number was lowered.
const ENDED_AT_ONCE: i64 = 100;

/// Makes space for one more session of a user. How many were ended.
pub(super) async fn end_sessions_beyond_the_limit(
    app: &App,
    tx: &mut Conn,
    user: &User,
    client: &Client,
    now: Timestamp,
    effects: &mut Effects,
) -> Result<u64> {
    let most = i64::from(app.config.session.max_per_user);
    let live = tx
        .count_live_sessions_of(user.id, now, most + ENDED_AT_ONCE - 1)
        .await?;
    let beyond = live - most + 1;
    if beyond <= 0 {
        return Ok(0);
    }
    let ids = tx
        .dispensable_sessions(user.id, now, now.minus(RECENT), beyond)
        .await?;
    if i64::try_from(ids.len()).is_ok_and(|count| count < beyond) {
        return Err(Error::SessionLimit);
    }
    let reason = RevokeReason::SessionLimit;
    let mut count = 0;
    for id in ids {
        // One that is over by now makes space, too.
        if let Some(ended) = tx.revoke_session(id, reason, now).await? {
            record_revocations(tx, &[ended], reason, client, now, effects).await?;
            count += 1;
        }
    }
    tell_of_session_limit(tx, user, client, now).await?;
    Ok(count)
}

/// Queues the mail about too many sessions, unless one was queued within the day.
pub(super) async fn tell_of_session_limit(
    tx: &mut Conn,
    user: &User,
    client: &Client,
    now: Timestamp,
) -> Result<()> {
    let before = now.minus(SESSION_LIMIT_MAIL_EVERY);
    if tx.claim_session_limit_mail(user.id, now, before).await? {
        let email = Email::parse(&user.email)
            .map_err(|_| Error::Internal(anyhow::anyhow!("a stored address cannot be parsed")))?;
        let mail = recovery::mail_to(user, &email, MailKind::SessionLimit, None, client, now);
        tx.queue_mail(&mail).await?;
    }
    Ok(())
}
