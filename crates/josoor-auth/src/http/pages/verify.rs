//! `/verify-email`: verifies an address with a link, finishes a registration, or completes a change of address.

use minijinja::context;

use super::link;
use super::state::{Next, State, View};
use super::step::{Form, Shown, Step};
use super::visit::Visit;
use crate::account::verification;
use crate::domain::{Password, Purpose};
use crate::error::{Error, Result};
use crate::http::request::definition::request_fields;

/// Verifying an address with a link.
pub struct Verify;

request_fields! {
    /// The form that verifies an address.
    pub struct VerifyForm {
        /// The account's password. Not needed where the browser is signed in to the account.
        password: Option<Password>,
    }
}

const PURPOSES: [Purpose; 3] = [Purpose::VerifyEmail, Purpose::Registration, Purpose::ChangeEmail];

impl Step for Verify {
    const PAGE: &'static str = "verify-email";

    async fn show(visit: &mut Visit) -> Result<Shown> {
        let state = visit.state();
        if let Some(shown) = link::missing(visit, &state, "verify", "verify.title") {
            return Ok(shown);
        }
        if state.view == View::Done {
            let values = context! { kind => "verify", email => state.email };
            return Ok(Shown::Page(visit.content(
                "done.html",
                "verify.done_title",
                values,
            )));
        }
        let values = context! {
            wants_password => state.view == View::MoreIsNeeded,
            email => state.email,
        };
        Ok(Shown::Page(visit.content("verify.html", "verify.title", values)))
    }

    async fn submit(visit: &mut Visit, form: Form) -> Result<Next> {
        if form.action() == "link" {
            return link::open(visit, form, &PURPOSES).await;
        }
        let state = visit.state();
        let token = link::token_of(&state)?;
        let VerifyForm { password } = form.read(visit)?;
        let is_asked = password.is_none() && state.view == View::Form;
        // The form's origin was verified.
        let holder = visit.holder().await;
        let (app, client) = (&visit.app, &visit.client);
        match verification::verify_email(app, token.expose(), password, holder.as_ref(), client).await {
            Ok(()) => {
                let to = visit.store(link::done(View::Done, state.email)).await?;
                let cookies = visit.clear_dead_cookie().await;
                Ok(Next { to, cookies })
            }
            // Not for every link: the owner's own session is enough.
            Err(Error::Invalid(_)) if is_asked => {
                let state = State {
                    view: View::MoreIsNeeded,
                    ..state
                };
                visit.store(state).await.map(Next::to)
            }
            Err(error) => Err(error),
        }
    }
}
