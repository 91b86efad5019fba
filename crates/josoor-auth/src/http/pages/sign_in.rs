//! `/login`.

use minijinja::context;

use super::inbox;
use super::passkey::{self, PasskeyForm};
use super::state::{Next, State, Token, WaitingSignIn};
use super::step::{Form, Shown, Step};
use super::texts;
use super::visit::Visit;
use crate::auth::pending::{self, FactorNeeded};
use crate::config::RegistrationMode;
use crate::domain::{Email, FactorAnswer, FactorCode, FactorMethod, MailCode, Password};
use crate::error::{Error, Result};
use crate::http::request::cookies;
use crate::http::request::definition::request_fields;
use crate::http::request::transport::Transport;
use crate::sessions::{self, Issued, LogIn};

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

request_fields! {
    /// The form of the second factor.
    pub struct CodeForm {
        /// A code of the authenticator app, or a recovery code.
        code: FactorCode,
    }
}

request_fields! {
    /// The form of a code that was sent by mail.
    pub struct MailCodeForm {
        /// The code from the mail.
        code: MailCode,
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
        if let Some(waiting) = state.waiting {
            let values = context! {
                may_trust => waiting.may_trust,
                asks_for => waiting.asks_for.as_str(),
                lead => format!("code.lead_{}", waiting.asks_for.as_str()),
                passkey => waiting.passkey,
            };
            return Ok(Shown::Page(visit.content("code.html", "code.title", values)));
        }
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
            has_passkeys => visit.app.config.passkeys.is_offered,
            can_use_mail => visit.app.config.login.mail_code,
            can_register => visit.app.config.registration.mode != RegistrationMode::Closed,
        };
        Ok(Shown::Page(visit.content("sign_in.html", "login.title", values)))
    }

    async fn submit(visit: &mut Visit, form: Form) -> Result<Next> {
        if form.action() == "again" {
            return inbox::resend_verification(visit).await;
        }
        if form.action() == "code" {
            return finish(visit, form).await;
        }
        if form.action() == "passkey" {
            return with_passkey(visit, form).await;
        }
        let SignInForm { email, password } = form.read(visit)?;
        let mark = cookies::device_mark(&visit.app, email.key(), &visit.headers);
        let with = visit.sign_in_with(mark);
        match sessions::log_in(&visit.app, &email, password, with, &visit.client).await? {
            LogIn::Opened(issued) => Ok(signed_in(visit, &issued)),
            LogIn::FactorNeeded(needed) => ask_for_code(visit, needed).await,
        }
    }
}

pub(super) fn signed_in(visit: &Visit, issued: &Issued) -> Next {
    Next {
        to: visit.destination(issued.user.role),
        cookies: visit.cookies_of(issued),
    }
}

/// Signs in with a passkey, or finishes the sign-in that waits for its second factor.
async fn with_passkey(visit: &mut Visit, mut form: Form) -> Result<Next> {
    let trust = form.is_ticked("trust_device");
    let PasskeyForm { assertion } = form.read(visit)?;
    if visit.typed.waiting.is_some() {
        return finish_with(visit, &assertion.into(), trust).await;
    }
    let issued = passkey::sign_in(visit, &assertion).await?;
    Ok(signed_in(visit, &issued))
}

pub(super) async fn ask_for_code(visit: &mut Visit, needed: FactorNeeded) -> Result<Next> {
    let cookies = cookies::set_flow(
        &visit.app,
        &visit.headers,
        needed.binding.as_ref(),
        needed.expires_in,
    );
    let mut codes = needed.methods.iter().copied().filter(|method| method.is_code());
    let waiting = WaitingSignIn {
        asks_for: codes.next().unwrap_or(FactorMethod::RecoveryCode),
        token: Token(needed.flow),
        may_trust: needed.may_trust,
        passkey: needed.passkey.as_ref().map(passkey::json_of).transpose()?,
    };
    let state = State {
        waiting: Some(waiting),
        ..State::default()
    };
    let to = visit.store(state).await?;
    Ok(Next { to, cookies })
}

/// Finishes the sign-in that waits for its second factor.
async fn finish(visit: &mut Visit, mut form: Form) -> Result<Next> {
    let trust = form.is_ticked("trust_device");
    let asks_for = visit.typed.waiting.as_ref().map(|waiting| waiting.asks_for);
    let code = if asks_for == Some(FactorMethod::MailCode) {
        let MailCodeForm { code } = form.read(visit)?;
        FactorCode::Mail(code)
    } else {
        let CodeForm { code } = form.read(visit)?;
        code
    };
    finish_with(visit, &code.into(), trust).await
}

/// Finishes it with this answer.
async fn finish_with(visit: &mut Visit, answer: &FactorAnswer, trust: bool) -> Result<Next> {
    let Some(waiting) = visit.typed.waiting.clone() else {
        return Err(Error::FlowExpired);
    };
    let done = try_finish(visit, &waiting, answer, trust).await;
    if matches!(done, Err(Error::FlowExpired)) {
        visit.typed.waiting = None;
    }
    let issued = done?;
    let mut next = signed_in(visit, &issued);
    next.cookies
        .extend(cookies::clear_flow(&visit.app, &visit.headers));
    Ok(next)
}

async fn try_finish(
    visit: &Visit,
    waiting: &WaitingSignIn,
    answer: &FactorAnswer,
    trust: bool,
) -> Result<Issued> {
    let binding = cookies::flow_binding(&visit.app, &visit.headers);
    let token = waiting.token.0.expose();
    let pending = pending::resume(&visit.app, token, binding, &visit.client).await?;
    Transport::from(pending.transport).require_origin(&visit.app, &visit.headers)?;
    let mark = cookies::device_mark(&visit.app, &pending.user.email_key, &visit.headers);
    let with = visit.sign_in_with(mark);
    sessions::finish_log_in(&visit.app, pending, answer, trust, with, &visit.client).await
}
