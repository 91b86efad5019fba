//! Mail: what it says (`render`) and how it leaves ([`Mailer`]). Nothing else names the SMTP library.

mod mailer;
mod render;
mod smtp;

pub use self::mailer::Mailer;
pub use self::render::{Mail, link_of, purpose_of, render};
pub use self::smtp::{SendError, Smtp};
