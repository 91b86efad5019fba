//! Mail: what it says (`render`) and how it leaves ([`Mailer`]). Nothing else names the SMTP library.

mod frame;
mod mailer;
mod render;
mod smtp;
mod test_mail;

pub use self::frame::LOGO;
pub use self::mailer::Mailer;
pub use self::render::{Mail, link_of, moment, render};
pub use self::smtp::{Effect, SendError, Stage};
pub use self::test_mail::{sample_mail, test_mail};
