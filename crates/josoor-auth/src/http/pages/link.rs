//! Pages that links in mails lead to. The link's token stands behind `#`, which browsers keep to themselves: a script posts it from
//! there, and without scripts the page asks for the link to be pasted. From then on it is in the state of the flow.

use minijinja::context;

use super::state::{Next, State, Token, View};
use super::step::{Form, Shown};
use super::visit::Visit;
use crate::account::links::{self, Opened};
use crate::domain::{Purpose, Secret};
use crate::error::{Error, Result};
use crate::http::request::definition::request_fields;

request_fields! {
    /// The form that a link is pasted into.
    pub struct LinkForm {
        /// The whole link, or the part after `token=`.
        link: Secret,
    }
}

/// Opens a link: nothing is redeemed. Every page that has links calls it for the action `link`.
pub(super) async fn open(visit: &mut Visit, form: Form, purposes: &[Purpose]) -> Result<Next> {
    let (token, opened) = read(visit, form, purposes).await?;
    let state = State {
        link: Some(Token(token)),
        is_invitation: opened.purpose == Purpose::Invitation,
        email: opened.email,
        ..State::default()
    };
    // A link that is opened later begins a flow of its own.
    visit.flow = None;
    visit.store(state).await.map(Next::to)
}

/// The token of the link that a form gives, and what was found by it.
///
/// # Errors
/// `RateLimited`; `LinkInvalid`, `LinkExpired`, `LinkUsed`.
pub(super) async fn read(visit: &Visit, form: Form, purposes: &[Purpose]) -> Result<(Secret, Opened)> {
    let LinkForm { link } = form.read(visit)?;
    visit.app.limits.page_step(&visit.client.ip).await?;
    let pasted = link.expose().trim();
    let token = pasted.rsplit_once("token=").map_or(pasted, |(_, token)| token);
    let opened = links::open(&visit.app, purposes, token).await?;
    Ok((Secret::new(token), opened))
}

/// The token of the link that was opened.
///
/// # Errors
/// `LinkInvalid`.
pub(super) fn token_of(state: &State) -> Result<Secret> {
    state
        .link
        .as_ref()
        .map(|link| link.0.clone())
        .ok_or(Error::LinkInvalid)
}

/// What a page shows before its link was opened, or when the link is not good; `None` when the page has a link. `kind` is the first
/// part of the keys of its texts.
pub(super) fn missing(
    visit: &mut Visit,
    state: &State,
    kind: &'static str,
    title: &'static str,
) -> Option<Shown> {
    if matches!(state.view, View::Done | View::DoneByMail) {
        return None;
    }
    let bad = visit
        .failure
        .as_ref()
        .map(|failure| failure.code.clone())
        .filter(|code| matches!(code.as_str(), "link_invalid" | "link_expired" | "link_used"));
    if let Some(code) = bad {
        visit.failure = None;
        let bad_title = match code.as_str() {
            "link_expired" => "link.link_expired",
            "link_used" => "link.link_used",
            _ => "link.link_invalid",
        };
        let can_paste = code == "link_invalid";
        let values = context! { kind, code, can_paste };
        return Some(Shown::Page(visit.content("bad_link.html", bad_title, values)));
    }
    state
        .link
        .is_none()
        .then(|| Shown::Page(visit.content("link.html", title, context! { kind })))
}

/// The state of a page whose work is done.
pub(super) fn done(view: View, email: Option<String>) -> State {
    State {
        view,
        email,
        ..State::default()
    }
}
