//! `/register`.

use minijinja::context;

use super::inbox;
use super::state::{Next, State, View};
use super::step::{Form, Shown, Step};
use super::visit::Visit;
use crate::account::register::{self, Registration};
use crate::config::RegistrationMode;
use crate::domain::{Email, FullName};
use crate::error::Result;
use crate::http::request::definition::request_fields;
use crate::http::request::field_types::PasswordToSet;

/// The registration.
pub struct Register;

request_fields! {
    /// The form of a registration.
    pub struct RegisterForm {
        /// The name to show.
        full_name: Option<FullName>,
        /// The account's address, kept as typed.
        email: Email,
        /// The password to set.
        password: PasswordToSet,
    }
}

impl RegisterForm {
    /// The registration, in the language of the page.
    pub(super) fn into_registration(self, visit: &Visit) -> Registration {
        Registration {
            email: self.email,
            password: self.password.0,
            full_name: self.full_name,
            locale: visit.locale,
        }
    }
}

/// The labels of a form that creates an account.
pub(super) fn label_of(field: &str) -> Option<&'static str> {
    match field {
        "full_name" => Some("field.full_name"),
        "email" => Some("field.email"),
        "password" => Some("field.create_password"),
        _ => None,
    }
}

impl Step for Register {
    const PAGE: &'static str = "register";

    fn label_of(field: &str) -> Option<&'static str> {
        label_of(field)
    }

    async fn show(visit: &mut Visit) -> Result<Shown> {
        let state = visit.state();
        if state.view == View::Sent {
            return Ok(inbox::show(visit, &state, "register"));
        }
        if visit.failure.is_none()
            && let Some(holder) = visit.holder().await
        {
            return Ok(Shown::Elsewhere(visit.destination(holder.user.role)));
        }
        let values = context! {
            email => visit.typed.email.as_ref().or(state.email.as_ref()),
            full_name => visit.typed.full_name.as_ref().or(state.full_name.as_ref()),
            is_closed => visit.app.config.registration.mode == RegistrationMode::Closed,
        };
        Ok(Shown::Page(visit.content(
            "register.html",
            "register.title",
            values,
        )))
    }

    async fn submit(visit: &mut Visit, form: Form) -> Result<Next> {
        if form.action() == "again" {
            return inbox::resend_verification(visit).await;
        }
        let form: RegisterForm = form.read(visit)?;
        let with = visit.sign_in_with(None);
        let registration = form.into_registration(visit);
        if let Some(issued) = register::register(&visit.app, registration, with, &visit.client).await? {
            return Ok(Next {
                to: visit.destination(issued.user.role),
                cookies: visit.cookies_of(&issued),
            });
        }
        let state = State {
            view: View::Sent,
            email: visit.typed.email.clone(),
            ..State::default()
        };
        visit.store(state).await.map(Next::to)
    }
}
