//! `/sign-out`, `/signed-out` and `/unauthorized`.

use minijinja::context;

use super::state::Next;
use super::step::{Form, Shown, Step};
use super::visit::Visit;
use crate::error::{Error, Result};
use crate::http::request::cookies;
use crate::sessions::{self, LogOut};

/// Signing out, for browsers without scripts.
pub struct SignOut;

/// What is shown after that.
pub struct SignedOut;

/// What is shown to users whose role is too low for a page.
pub struct Unauthorized;

impl Step for SignOut {
    const PAGE: &'static str = "sign-out";

    async fn show(visit: &mut Visit) -> Result<Shown> {
        Ok(Shown::Page(visit.content(
            "sign_out.html",
            "sign_out.title",
            context! {},
        )))
    }

    async fn submit(visit: &mut Visit, form: Form) -> Result<Next> {
        form.read_nothing()?;
        sign_out(visit, "signed-out").await
    }
}

impl Step for SignedOut {
    const PAGE: &'static str = "signed-out";

    async fn show(visit: &mut Visit) -> Result<Shown> {
        Ok(Shown::Page(visit.content(
            "signed_out.html",
            "signed_out.title",
            context! {},
        )))
    }

    /// Its button signs in again.
    async fn submit(visit: &mut Visit, form: Form) -> Result<Next> {
        form.read_nothing()?;
        Ok(Next::to(visit.address("login")))
    }
}

impl Step for Unauthorized {
    const PAGE: &'static str = "unauthorized";

    async fn show(visit: &mut Visit) -> Result<Shown> {
        let is_visitor = visit.holder().await.is_none();
        Ok(Shown::Page(visit.content(
            "unauthorized.html",
            "unauthorized.title",
            context! { is_visitor },
        )))
    }

    /// Its button signs out, and in again as somebody else.
    async fn submit(visit: &mut Visit, form: Form) -> Result<Next> {
        form.read_nothing()?;
        sign_out(visit, "login").await
    }
}

/// Revokes the session of the browser's refresh cookie, and goes on to a page.
async fn sign_out(visit: &Visit, page: &str) -> Result<Next> {
    let token = cookies::refresh_token(&visit.app, &visit.headers);
    let mut cleared = Vec::new();
    if let Some(token) = token {
        match sessions::log_out(&visit.app, LogOut::Refresh(token), &visit.client).await {
            // With a token that is not valid there is no session to revoke, and the browser is signed out.
            Ok(()) | Err(Error::Refused(_)) => {}
            Err(error) => return Err(error),
        }
        cleared = cookies::clear_refresh(&visit.app, &visit.headers);
    }
    Ok(Next {
        to: visit.address(page),
        cookies: cleared,
    })
}
