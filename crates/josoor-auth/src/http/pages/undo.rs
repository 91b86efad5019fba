//! `/undo`: undoes a change of address, or a deletion, with a link. Opening it changes nothing; the button does.

use minijinja::context;

use super::link;
use super::state::{Next, View};
use super::step::{Form, Shown, Step};
use super::visit::Visit;
use crate::account::undo;
use crate::domain::Purpose;
use crate::error::Result;

/// Undoing a change with a link.
pub struct Undo;

impl Step for Undo {
    const PAGE: &'static str = "undo";

    async fn show(visit: &mut Visit) -> Result<Shown> {
        let state = visit.state();
        if let Some(shown) = link::missing(visit, &state, "undo", "undo.title") {
            return Ok(shown);
        }
        if state.view != View::Form {
            let values = context! {
                kind => "undo",
                is_by_mail => state.view == View::DoneByMail,
            };
            return Ok(Shown::Page(visit.content("done.html", "undo.done_title", values)));
        }
        Ok(Shown::Page(visit.content("undo.html", "undo.title", context! {})))
    }

    async fn submit(visit: &mut Visit, form: Form) -> Result<Next> {
        if form.action() == "link" {
            return link::open(visit, form, &[Purpose::UndoEmailChange, Purpose::UndoDeletion]).await;
        }
        let token = link::token_of(&visit.state())?;
        form.read_nothing()?;
        let undone = undo::undo(&visit.app, token.expose(), &visit.client).await?;
        let view = if undone.frozen {
            View::DoneByMail
        } else {
            View::Done
        };
        let to = visit.store(link::done(view, None)).await?;
        let cookies = visit.clear_dead_cookie().await;
        Ok(Next { to, cookies })
    }
}
