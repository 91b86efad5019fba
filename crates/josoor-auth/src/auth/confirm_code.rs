//! Codes that are sent by mail to confirm a sign-in with the right password, or the user of a session.
//!
//! The one-time token has the id of the flow that waits, and its code is derived from it; it works once, in that flow, and for ten
//! minutes from when its mail was sent.

use uuid::Uuid;

use super::proof::{Method, Proof};
use crate::act::{Act, address_of};
use crate::crypto;
use crate::domain::{MailCode, MailKind, Purpose};
use crate::error::Result;
use crate::limits::CodeCheck;
use crate::store::{NewOneTimeToken, User};

/// Queues the mail with the code of a flow, in the unit of work in which `user` is locked.
///
/// # Errors
/// `StoreUnavailable`.
pub(super) async fn send(act: &mut Act, user: &User, id: Uuid, kind: MailKind) -> Result<()> {
    let email = address_of(user)?;
    let state = user.version.to_string();
    let token = NewOneTimeToken {
        id,
        email: Some(&email),
        bound_to: Some(&state),
        ..act.new_token(Purpose::Confirm, Some(user.id))
    };
    act.tx.insert_one_time_token(&token).await?;
    let mail = act.mail_to(user, &email, kind, Some(id));
    act.queue(&mail).await
}

/// Verifies the code of a flow of a user, who is locked, and uses it up. `None` for any other code.
///
/// # Errors
/// `StoreUnavailable`.
pub(super) async fn verify(
    act: &mut Act,
    user: &User,
    id: Uuid,
    code: &MailCode,
    counted: CodeCheck,
) -> Result<Option<Proof>> {
    // Counted, whatever becomes of it.
    let CodeCheck { .. } = counted;
    let Some(token) = act.tx.one_time_token(id).await? else {
        return Ok(None);
    };
    let expected = act.app.keys.one_time.code(Purpose::Confirm, id);
    // Mails to one recipient are few, so that beginning many flows gives no more tries than those that were sent.
    let is_good = token.purpose == Purpose::Confirm.as_str()
        && !token.is_pending
        && token.user_id() == Some(user.id)
        && token.bound_to.as_deref() == Some(user.version.to_string().as_str())
        && crypto::equal(expected.expose().as_bytes(), code.as_bytes());
    let now = act.now;
    if !is_good || !act.tx.claim_one_time_token(id, now).await? {
        return Ok(None);
    }
    Ok(Some(Proof::new(user.id, Method::MailCode, now)))
}
