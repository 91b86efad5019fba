//! `/reset-password`: sets a password with a link, also the first one of an invited user.

use minijinja::context;

use super::link;
use super::sign_in::signed_in;
use super::state::{Next, State, View};
use super::step::{Form, Shown, Step};
use super::visit::Visit;
use crate::account::{Shown as ShownProof, password};
use crate::domain::{Email, Password, Purpose};
use crate::error::{Error, Result};
use crate::http::request::cookies;
use crate::http::request::definition::request_fields;
use crate::http::request::field_types::PasswordToSet;
use crate::sessions::{self, LogIn};

/// Setting a password with a link.
pub struct Reset;

request_fields! {
    /// The form that sets a password.
    pub struct ResetForm {
        /// A password from before the account's address was changed.
        previous_password: Option<Password>,
        /// The password to set.
        new_password: PasswordToSet,
    }
}

impl Step for Reset {
    const PAGE: &'static str = "reset-password";

    async fn show(visit: &mut Visit) -> Result<Shown> {
        let state = visit.state();
        if let Some(shown) = link::missing(visit, &state, "reset", "reset.title") {
            return Ok(shown);
        }
        if state.view == View::Done {
            let values = context! { kind => "reset", email => state.email };
            return Ok(Shown::Page(visit.content(
                "done.html",
                "reset.done_title",
                values,
            )));
        }
        let title = if state.is_invitation {
            "invitation.title"
        } else {
            "reset.title"
        };
        let values = context! {
            is_invitation => state.is_invitation,
            is_blocked => state.view == View::MoreIsNeeded,
            email => state.email,
        };
        Ok(Shown::Page(visit.content("reset.html", title, values)))
    }

    async fn submit(visit: &mut Visit, form: Form) -> Result<Next> {
        if form.action() == "link" {
            return link::open(visit, form, &[Purpose::ResetPassword, Purpose::Invitation]).await;
        }
        let state = visit.state();
        let token = link::token_of(&state)?;
        let form: ResetForm = form.read(visit)?;
        let is_blocked = state.view == View::MoreIsNeeded;
        let (app, headers) = (visit.app.clone(), visit.headers.clone());
        let mark_for = |email_key: &str| cookies::device_mark(&app, email_key, &headers);
        let shown = ShownProof {
            previous_password: form.previous_password,
            mark_for: &mark_for,
        };
        let new = form.new_password.0;
        let first_password = state.is_invitation.then(|| new.clone());
        match password::reset(&visit.app, token.expose(), new, shown, &visit.client).await {
            Ok(()) => {
                let to = visit.store(link::done(View::Done, state.email.clone())).await?;
                if let Some(password) = first_password
                    && let Some(next) = sign_in(visit, &state, password).await
                {
                    return Ok(next);
                }
                // The session of this browser ended with all others of the account.
                let cookies = visit.clear_dead_cookie().await;
                Ok(Next { to, cookies })
            }
            // After a change of the address was taken back, something from before the change is needed as well.
            Err(Error::RecoveryBlocked) if !is_blocked => {
                let state = State {
                    view: View::MoreIsNeeded,
                    ..state
                };
                visit.store(state).await.map(Next::to)
            }
            Err(Error::InvalidCredentials) => visit.reject("reset_mismatch").await,
            Err(error) => Err(error),
        }
    }
}

/// Signs an invited user in with the password that was just set, by the same way as the sign-in page. `None` where more is needed: that
/// page asks for it.
async fn sign_in(visit: &Visit, state: &State, password: Password) -> Option<Next> {
    let email = Email::parse(state.email.as_deref()?).ok()?;
    let mark = cookies::device_mark(&visit.app, email.key(), &visit.headers);
    let with = visit.sign_in_with(mark);
    match sessions::log_in(&visit.app, &email, password, with, &visit.client).await {
        Ok(LogIn::Opened(issued)) => Some(signed_in(visit, &issued)),
        Ok(LogIn::FactorNeeded(_)) | Err(_) => None,
    }
}
