//! The table `outbox`: mails, queued in the transaction of the act that they tell of and sent afterwards.
//!
//! Some rows are requests by strangers, such as "I forgot my password". They are queued without a lookup of the
//! address, so that neither answer nor time reveals an account; the worker looks it up and queues the mails.

mod content;
mod list;
mod queue;
mod state;

pub use content::{Content, MailDetails, Origin, RequestOrigin};
pub use list::{MailSummary, OutboxFilter};
pub use queue::{BY_CLASS, BY_NETWORK, BY_RECIPIENT, MailError, MailRow, NewMail, OVER_BUDGET};
pub use state::OutboxState;
