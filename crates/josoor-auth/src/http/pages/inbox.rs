//! Where a mail was sent: the same for every address. It can be sent again.

use minijinja::context;

use super::frame::address;
use super::state::{Next, State};
use super::step::Shown;
use super::visit::Visit;
use crate::account::requests;
use crate::domain::Email;
use crate::error::{Error, Result};

/// The page after a mail was sent. `kind` is the first part of the keys of its texts.
pub(super) fn show(visit: &Visit, state: &State, kind: &str) -> Shown {
    let values = context! {
        kind,
        email => state.email.clone(),
        is_sent_again => state.is_sent_again,
        other => address(&visit.address(visit.page)),
    };
    Shown::Page(visit.content("inbox.html", "inbox.title", values))
}

/// The address that the flow has sent a mail to.
pub(super) fn address_of(state: &State) -> Result<Email> {
    let typed = state.email.as_deref().unwrap_or_default();
    Email::parse(typed).map_err(|reason| Error::invalid("email", reason))
}

/// Sends the mail once more that verifies the address of the flow.
pub(super) async fn resend_verification(visit: &mut Visit) -> Result<Next> {
    let email = address_of(&visit.state())?;
    requests::resend_verification(&visit.app, &email, visit.locale, &visit.client).await?;
    sent_again(visit).await
}

/// Notes that the mail was sent once more.
pub(super) async fn sent_again(visit: &mut Visit) -> Result<Next> {
    let state = State {
        is_sent_again: true,
        ..visit.typed.clone()
    };
    visit.store(state).await.map(Next::to)
}
