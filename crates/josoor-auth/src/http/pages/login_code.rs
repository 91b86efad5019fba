//! `/login-code`: signing in with a code by mail. The link of the same mail leads to `login_link`.

use minijinja::context;

use super::inbox;
use super::return_to;
use super::sign_in::{MailCodeForm, SignIn, ask_for_code, signed_in};
use super::state::{Next, State, Token, View};
use super::step::{Form, Shown, Step};
use super::visit::Visit;
use crate::account::mail_code as sign_in_by_mail;
use crate::auth::mail_code::{self, Shown as ShownCode, Waiting};
use crate::domain::Email;
use crate::error::{Error, Result};
use crate::http::request::cookies;
use crate::http::request::definition::request_fields;
use crate::http::request::transport::Transport;
use crate::sessions::LogIn;
use crate::store;

/// The sign-in with a code by mail.
pub struct LoginCode;

request_fields! {
    /// The form that names an address.
    pub struct AddressForm {
        /// The account's address, in any letter case.
        email: Email,
    }
}

impl Step for LoginCode {
    const PAGE: &'static str = "login-code";

    async fn show(visit: &mut Visit) -> Result<Shown> {
        sign_in_by_mail::require_enabled(&visit.app)?;
        let state = visit.state();
        if state.view == View::Sent {
            let values = context! {
                email => state.email,
                is_sent_again => state.is_sent_again,
            };
            return Ok(Shown::Page(visit.content(
                "mail_code.html",
                "mail_code.title",
                values,
            )));
        }
        let values = context! { email => visit.typed.email.as_ref().or(state.email.as_ref()) };
        let content = visit.content("login_code.html", "login_code.title", values);
        Ok(Shown::Page(content))
    }

    async fn submit(visit: &mut Visit, form: Form) -> Result<Next> {
        sign_in_by_mail::require_enabled(&visit.app)?;
        match form.action() {
            "again" => {
                let email = inbox::address_of(&visit.state())?;
                send(visit, &email, true).await
            }
            "code" => {
                let MailCodeForm { code } = form.read(visit)?;
                let waiting = waiting_of(visit).await;
                finish(visit, waiting, ShownCode::Code(&code)).await
            }
            _ => {
                let AddressForm { email } = form.read(visit)?;
                send(visit, &email, false).await
            }
        }
    }
}

/// Sends a code to an address; the same for every address.
async fn send(visit: &mut Visit, email: &Email, is_sent_again: bool) -> Result<Next> {
    let return_to = visit.return_to();
    let transport = store::Transport::Cookie;
    let begun = sign_in_by_mail::request(
        &visit.app,
        email,
        transport,
        return_to,
        visit.locale,
        &visit.client,
    )
    .await?;
    let cookies = cookies::set_flow(
        &visit.app,
        &visit.headers,
        begun.binding.as_ref(),
        begun.expires_in,
    );
    let state = State {
        view: View::Sent,
        email: Some(email.address().to_owned()),
        mail_flow: Some(Token(begun.flow)),
        is_sent_again,
        ..State::default()
    };
    let to = visit.store(state).await?;
    Ok(Next { to, cookies })
}

/// The sign-in of the page's state, for the browser that asked.
async fn waiting_of(visit: &Visit) -> Result<Waiting> {
    let state = visit.state();
    let token = state.mail_flow.ok_or(Error::FlowExpired)?;
    let binding = cookies::flow_binding(&visit.app, &visit.headers);
    mail_code::resume(&visit.app, token.0.expose(), binding, &visit.client).await
}

/// Signs in; a user with a second factor goes on to the page that asks for it. After the end of the flow the page begins again.
pub(super) async fn finish(
    visit: &mut Visit,
    waiting: Result<Waiting>,
    shown: ShownCode<'_>,
) -> Result<Next> {
    let done = try_finish(visit, waiting, shown).await;
    if matches!(done, Err(Error::FlowExpired)) {
        visit.typed.view = View::Form;
    }
    done
}

async fn try_finish(visit: &mut Visit, waiting: Result<Waiting>, shown: ShownCode<'_>) -> Result<Next> {
    let waiting = waiting?;
    Transport::from(waiting.transport).require_origin(&visit.app, &visit.headers)?;
    let mark = cookies::device_mark(&visit.app, waiting.email.key(), &visit.headers);
    let with = visit.sign_in_with(mark);
    match sign_in_by_mail::finish(&visit.app, &waiting, shown, with, &visit.client).await? {
        LogIn::Opened(issued) => {
            let mut next = signed_in(visit, &issued);
            // The address of a link does not say where the sign-in began.
            if visit.return_to().is_none()
                && let Some(to) = waiting.return_to.as_deref().and_then(return_to::safe)
            {
                next.to = to;
            }
            let cleared = cookies::clear_flow(&visit.app, &visit.headers);
            next.cookies.extend(cleared);
            Ok(next)
        }
        LogIn::FactorNeeded(needed) => {
            visit.page = SignIn::PAGE;
            visit.flow = None;
            ask_for_code(visit, needed).await
        }
    }
}
