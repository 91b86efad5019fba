//! `/setup`: creates the first administrator, with the link that the first start printed.

use minijinja::context;

use super::link;
use super::register::{self, RegisterForm};
use super::state::{Next, View};
use super::step::{Form, Shown, Step};
use super::visit::Visit;
use crate::account::setup;
use crate::domain::Purpose;
use crate::error::Result;

/// The creation of the first administrator.
pub struct Setup;

impl Step for Setup {
    const PAGE: &'static str = "setup";

    fn label_of(field: &str) -> Option<&'static str> {
        register::label_of(field)
    }

    async fn show(visit: &mut Visit) -> Result<Shown> {
        let state = visit.state();
        if let Some(shown) = link::missing(visit, &state, "setup", "setup.title") {
            return Ok(shown);
        }
        if state.view == View::Done {
            let values = context! { kind => "setup" };
            return Ok(Shown::Page(visit.content(
                "done.html",
                "setup.done_title",
                values,
            )));
        }
        let values = context! {
            email => visit.typed.email.as_ref().or(state.email.as_ref()),
            full_name => visit.typed.full_name.as_ref().or(state.full_name.as_ref()),
        };
        Ok(Shown::Page(visit.content("setup.html", "setup.title", values)))
    }

    async fn submit(visit: &mut Visit, form: Form) -> Result<Next> {
        if form.action() == "link" {
            return link::open(visit, form, &[Purpose::Setup]).await;
        }
        let token = link::token_of(&visit.state())?;
        let form: RegisterForm = form.read(visit)?;
        let with = visit.sign_in_with(None);
        let registration = form.into_registration(visit);
        let issued = setup::set_up(&visit.app, token.expose(), registration, with, &visit.client).await?;
        let to = visit.store(link::done(View::Done, None)).await?;
        Ok(Next {
            to,
            cookies: visit.cookies_of(&issued),
        })
    }
}
