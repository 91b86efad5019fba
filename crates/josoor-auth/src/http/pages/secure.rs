//! `/secure-account`: revokes all that can sign in to an account, with the link of the mail about a new device. Opening it changes
//! nothing; the form does.

use minijinja::context;

use super::link;
use super::state::{Next, View};
use super::step::{Form, Shown, Step};
use super::visit::Visit;
use crate::account::secure;
use crate::domain::{Email, Purpose};
use crate::error::{Error, Result};
use crate::http::request::definition::request_fields;

/// Securing an account with a link.
pub struct Secure;

request_fields! {
    /// The form that names the address that the mail went to.
    pub struct SecureForm {
        /// The address, typed in by its owner.
        email: Email,
    }
}

impl Step for Secure {
    const PAGE: &'static str = "secure-account";

    async fn show(visit: &mut Visit) -> Result<Shown> {
        let state = visit.state();
        if let Some(shown) = link::missing(visit, &state, "secure", "secure.title") {
            return Ok(shown);
        }
        let email = visit.typed.email.as_ref().or(state.email.as_ref());
        if state.view == View::DoneByMail {
            let values = context! { kind => "secure", email };
            return Ok(Shown::Page(visit.content(
                "done.html",
                "secure.done_title",
                values,
            )));
        }
        Ok(Shown::Page(visit.content(
            "secure.html",
            "secure.title",
            context! { email },
        )))
    }

    async fn submit(visit: &mut Visit, form: Form) -> Result<Next> {
        if form.action() == "link" {
            return link::open(visit, form, &[Purpose::SecureAccount]).await;
        }
        let token = link::token_of(&visit.state())?;
        let SecureForm { email } = form.read(visit)?;
        match secure::secure(&visit.app, token.expose(), &email, &visit.client).await {
            Ok(()) => {
                let typed = visit.typed.email.clone();
                let to = visit.store(link::done(View::DoneByMail, typed)).await?;
                let cookies = visit.clear_dead_cookie().await;
                Ok(Next { to, cookies })
            }
            // The service does not tell a wrong address from a wrong link, and the address is easily mistyped.
            Err(Error::LinkInvalid) => visit.reject("secure_mismatch").await,
            Err(error) => Err(error),
        }
    }
}
