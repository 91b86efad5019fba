//! `/login`.

use minijinja::context;

use super::inbox;
use super::state::Next;
use super::step::{Form, Shown, Step};
use super::texts;
use super::visit::Visit;
use crate::config::RegistrationMode;
use crate::domain::{Email, Password};
use crate::error::Result;
use crate::http::request::cookies;
use crate::http::request::definition::request_fields;
use crate::sessions;

/// The sign-in.
pub struct SignIn;

request_fields! {
    /// The form of the sign-in.
    pub struct SignInForm {
        /// The account's address, in any letter case.
        email: Email,
        /// The account's password.
        password: Password,
    }
}

impl Step for SignIn {
    const PAGE: &'static str = "login";

    async fn show(visit: &mut Visit) -> Result<Shown> {
        // After the end of a session the user is asked, whatever cookie the browser still has.
        let reason = visit.query("reason");
        let is_visit = reason.is_none() && visit.failure.is_none();
        if is_visit && let Some(holder) = visit.holder().await {
            return Ok(Shown::Elsewhere(visit.destination(holder.user.role)));
        }
        let why = reason.and_then(|reason| texts::find(visit.locale, &format!("reason.{reason}")));
        let state = visit.state();
        let is_unverified = state.email.is_some()
            && (state.is_sent_again
                || visit
                    .failure
                    .as_ref()
                    .is_some_and(|failure| failure.code == "email_not_verified"));
        let values = context! {
            why,
            email => visit.typed.email.as_ref().or(state.email.as_ref()),
            is_unverified,
            is_sent_again => state.is_sent_again,
            can_register => visit.app.config.registration.mode != RegistrationMode::Closed,
        };
        Ok(Shown::Page(visit.content("sign_in.html", "login.title", values)))
    }

    async fn submit(visit: &mut Visit, form: Form) -> Result<Next> {
        if form.action() == "again" {
            return inbox::resend_verification(visit).await;
        }
        let SignInForm { email, password } = form.read(visit)?;
        let mark = cookies::device_mark(&visit.app, email.key(), &visit.headers);
        let with = visit.sign_in_with(mark);
        let issued = sessions::log_in(&visit.app, &email, password, with, &visit.client).await?;
        Ok(Next {
            to: visit.destination(issued.user.role),
            cookies: visit.cookies_of(&issued),
        })
    }
}
