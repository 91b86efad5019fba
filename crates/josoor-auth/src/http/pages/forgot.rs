//! `/forgot-password`.

use minijinja::context;

use super::inbox;
use super::state::{Next, State, View};
use super::step::{Form, Shown, Step};
use super::visit::Visit;
use crate::account::requests;
use crate::domain::Email;
use crate::error::Result;
use crate::http::request::definition::request_fields;

/// The request for a link that sets a password.
pub struct Forgot;

request_fields! {
    /// The form that names an address.
    pub struct ForgotForm {
        /// The account's address, in any letter case.
        email: Email,
    }
}

impl Step for Forgot {
    const PAGE: &'static str = "forgot-password";

    async fn show(visit: &mut Visit) -> Result<Shown> {
        let state = visit.state();
        if state.view == View::Sent {
            return Ok(inbox::show(visit, &state, "forgot"));
        }
        let values = context! { email => visit.typed.email.as_ref().or(state.email.as_ref()) };
        Ok(Shown::Page(visit.content("forgot.html", "forgot.title", values)))
    }

    async fn submit(visit: &mut Visit, form: Form) -> Result<Next> {
        if form.action() == "again" {
            let email = inbox::address_of(&visit.state())?;
            requests::forgot_password(&visit.app, &email, visit.locale, &visit.client).await?;
            return inbox::sent_again(visit).await;
        }
        let ForgotForm { email } = form.read(visit)?;
        requests::forgot_password(&visit.app, &email, visit.locale, &visit.client).await?;
        let state = State {
            view: View::Sent,
            email: visit.typed.email.clone(),
            ..State::default()
        };
        visit.store(state).await.map(Next::to)
    }
}
