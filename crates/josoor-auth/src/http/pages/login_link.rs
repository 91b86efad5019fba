//! `/login-link`: where the link of a mail with a code leads. In the browser that asked for it a button signs in; any other shows the
//! code, to be typed there.

use minijinja::context;

use super::link;
use super::login_code::finish;
use super::state::{Next, State, Token};
use super::step::{Form, Shown, Step};
use super::visit::Visit;
use crate::account::mail_code as sign_in_by_mail;
use crate::auth::mail_code::{self, Shown as ShownCode};
use crate::domain::{MailCode, Purpose};
use crate::error::{Error, Result};
use crate::http::request::cookies;

/// The link of a mail with a code.
pub struct LoginLink;

impl Step for LoginLink {
    const PAGE: &'static str = "login-link";

    async fn show(visit: &mut Visit) -> Result<Shown> {
        sign_in_by_mail::require_enabled(&visit.app)?;
        let state = visit.state();
        if let Some(shown) = link::missing(visit, &state, "login_link", "login_link.title") {
            return Ok(shown);
        }
        if state.is_asking_browser {
            let values = context! { email => state.email };
            let content = visit.content("login_link.html", "login_link.title", values);
            return Ok(Shown::Page(content));
        }
        let token = link::token_of(&state)?;
        let code = mail_code::code_of_link(&visit.app, token.expose())?;
        let values = context! { code => MailCode::spelled(code.expose()) };
        let content = visit.content("login_link.html", "login_link.elsewhere_title", values);
        Ok(Shown::Page(content))
    }

    async fn submit(visit: &mut Visit, form: Form) -> Result<Next> {
        sign_in_by_mail::require_enabled(&visit.app)?;
        if form.action() == "link" {
            return open(visit, form).await;
        }
        form.read_nothing()?;
        let token = link::token_of(&visit.state())?;
        let binding = cookies::flow_binding(&visit.app, &visit.headers);
        let waiting = mail_code::resume_by_link(&visit.app, token.expose(), binding, &visit.client).await;
        let waiting = waiting.and_then(|waiting| waiting.ok_or(Error::FlowExpired));
        finish(visit, waiting, ShownCode::Link).await
    }
}

/// Opens a link: nothing is redeemed. Whether this is the browser that asked is decided now, because browsers send the cookie that
/// says so with forms alone.
async fn open(visit: &mut Visit, form: Form) -> Result<Next> {
    let (token, _) = link::read(visit, form, &[Purpose::SignIn]).await?;
    let binding = cookies::flow_binding(&visit.app, &visit.headers);
    let waiting = mail_code::resume_by_link(&visit.app, token.expose(), binding, &visit.client).await?;
    let state = State {
        is_asking_browser: waiting.is_some(),
        email: waiting.map(|waiting| waiting.email.address().to_owned()),
        link: Some(Token(token)),
        ..State::default()
    };
    visit.flow = None;
    visit.store(state).await.map(Next::to)
}
