//! The budgets that a mail is taken from before it is sent.

use std::time::Duration;

use super::outcome::{Outcome, drop_row, put_off};
use crate::app::App;
use crate::domain::{MailClass, MailKind, Network};
use crate::error::Result;
use crate::limits::{Limit, MailShare};
use crate::store::{BY_CLASS, BY_NETWORK, BY_RECIPIENT, MailRow, OVER_BUDGET};

/// The first and the longest wait of a row whose network has caused too many mails.
const NETWORK_BACK_OFF: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(1));

/// Takes a mail from its budgets, each once. What becomes of it when one is spent; `None` when it may be sent.
pub(super) async fn take_from_budgets(app: &App, row: &mut MailRow) -> Result<Option<Outcome>> {
    if row.granted & BY_NETWORK == 0
        && let Some(network) = row.network.as_deref().and_then(network_of)
    {
        let counted = app.limits.take_by_network(Limit::MailNetwork, network, &[]);
        if counted.await.is_err() {
            let reason = "too many mails from this network".into();
            return put_off(app, row, NETWORK_BACK_OFF, &reason).await.map(Some);
        }
        row.granted |= BY_NETWORK;
    }
    if row.granted & BY_RECIPIENT == 0 {
        let key = [row.recipient_key.as_str(), recipient_group(row.kind)];
        if let Some(wait) = app.limits.wait(Limit::MailRecipient, &key).await {
            let reason = "too many mails to this recipient";
            if is_asked_for(row.kind) {
                return drop_row(app, row, &reason.into()).await.map(Some);
            }
            let due = app.clock.now().plus(wait);
            app.db
                .write()
                .await?
                .release_mail(row, due, 0, &reason.into())
                .await?;
            return Ok(Some(Outcome::Deferred));
        }
        row.granted |= BY_RECIPIENT;
    }
    if row.granted & BY_CLASS == 0 {
        let class = row.kind.class();
        let share = match class {
            MailClass::Reset => MailShare::Reset,
            MailClass::Notice => MailShare::Notice,
            MailClass::Other => MailShare::Common,
        };
        if let Some(wait) = app.limits.wait_for_mail(share).await {
            let now = app.clock.now();
            app.outbox.close(class, now.plus(wait));
            app.metrics.mail_budget_refused(class.as_str());
            // Due again at once: its class is taken up again when there is budget, in the order of asking.
            app.db
                .write()
                .await?
                .release_mail(row, row.created_at.min(now), 0, &OVER_BUDGET.into())
                .await?;
            return Ok(Some(Outcome::Deferred));
        }
        row.granted |= BY_CLASS;
    }
    Ok(None)
}

/// The network that a row names: its first address, perhaps with a prefix length.
fn network_of(text: &str) -> Option<Network> {
    Network::of(text.split_once('/').map_or(text, |(address, _)| address))
}

/// What is counted together for one recipient: each kind by itself, so that mails of one kind stop none of another; but what
/// strangers can have sent to the owner of an account, and what has no link of its own, is one.
const fn recipient_group(kind: MailKind) -> &'static str {
    match kind {
        MailKind::AlreadyRegistered | MailKind::EmailWanted => "notice",
        kind => kind.as_str(),
    }
}

/// Whether a stranger can have the mail sent as often as they like. Notices of what has happened are not among these.
const fn is_asked_for(kind: MailKind) -> bool {
    matches!(
        kind,
        MailKind::VerifyEmail
            | MailKind::FinishRegistration
            | MailKind::AlreadyRegistered
            | MailKind::ResetPassword
            | MailKind::ConfirmEmail
            | MailKind::EmailWanted
            | MailKind::SignInCode
            | MailKind::ConfirmSignIn
            | MailKind::StepUpCode
    )
}
