//! The pages that the server renders: every step of a sign-in, as a form that works without scripts.
//!
//! A page is a [`Step`](step::Step) and a template in `templates/pages`; [`routes`] lists them. Texts are in
//! `templates/pages/texts`, style and script come out of `web/`.

pub mod errors;
pub mod failure;
pub mod forgot;
pub mod frame;
pub mod inbox;
pub mod link;
pub mod login_code;
pub mod login_link;
pub mod passkey;
pub mod register;
pub mod reset;
pub mod return_to;
pub mod samples;
pub mod secure;
pub mod session;
pub mod setup;
pub mod sign_in;
pub mod sign_out;
pub mod state;
pub mod step;
pub mod texts;
pub mod undo;
pub mod verify;
pub mod visit;

use std::sync::Arc;

use axum::{Extension, Router};

use crate::app::App;
use frame::Frame;

macro_rules! steps {
    ($($step:path),* $(,)?) => {
        /// The paths of the pages.
        #[cfg(test)]
        pub(super) const PAGES: &[&str] = &[$(<$step as step::Step>::PAGE),*];

        fn steps() -> Router<App> {
            Router::new()$(.merge(step::routes::<$step>()))*
        }
    };
}

steps! {
    sign_in::SignIn,
    login_code::LoginCode,
    login_link::LoginLink,
    register::Register,
    forgot::Forgot,
    reset::Reset,
    verify::Verify,
    undo::Undo,
    secure::Secure,
    setup::Setup,
    sign_out::SignOut,
    sign_out::SignedOut,
    sign_out::Unauthorized,
}

/// The routes of the pages. They are not part of the documented API.
pub fn routes(frame: Arc<Frame>) -> Router<App> {
    steps()
        .merge(session::routes())
        .merge(errors::routes())
        .merge(samples::routes())
        .layer(Extension(frame))
}
