//! Notices to administrators.

use crate::act::{Act, address_of};
use crate::domain::UserId;
use crate::error::Result;
use crate::store::{Audit, Conn, Content, MailDetails, MailKind, NewMail, User};

/// How many administrators are notified of a new one, at most.
const NOTIFIED_AT_MOST: i64 = 200;

/// The recipients of a notice about a new administrator: the active ones whose address is verified.
pub(crate) async fn admins_to_notify(tx: &mut Conn) -> Result<Vec<User>> {
    tx.verified_admins(NOTIFIED_AT_MOST).await
}

/// Notifies administrators that a user is one now, in the act that made it so, after the audit entry with this action.
pub(crate) async fn notify_of_new_admin(
    act: &mut Act,
    admins: &[User],
    new: UserId,
    action: Audit,
) -> Result<()> {
    act.write_audit().await?;
    let Some(row) = act.tx.latest_audit_of(new, action).await? else {
        return Ok(());
    };
    for admin in admins.iter().filter(|admin| admin.id != new) {
        let email = address_of(admin)?;
        let details = MailDetails::for_owner(admin, act.client.origin()).with_subject(new, row);
        let mail = NewMail {
            content: Content::Mail(details),
            ..act.mail_to(admin, &email, MailKind::NewAdmin, None)
        };
        act.queue(&mail).await?;
    }
    Ok(())
}
