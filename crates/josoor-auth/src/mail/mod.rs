//! Mail: what it says ([`render`]) and how it leaves ([`Mailer`]). Nothing else names the SMTP library.

mod render;
mod smtp;

pub use render::{Mail, link_of, purpose_of, render};
pub use smtp::Smtp;

use crate::config::MailConfig;

/// How mail leaves.
#[derive(Debug)]
pub enum Mailer {
    /// To a mail server.
    Smtp(Smtp),
    /// Into the development mailbox of `serve --dev`: it can be read at `/dev/mail`.
    Mailbox,
    /// Nowhere: there is no mail server, and mails wait in the outbox until there is one.
    Nowhere,
}

/// Why a mail did not leave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The mail server cannot be reached or does not let us in. No mail would leave now.
    #[error("the mail server is not available: {0}")]
    Away(String),
    /// The server refused this mail for now (SMTP 4xx).
    #[error("the mail server asks to try again later: {0}")]
    Later(String),
    /// This mail will never be taken (SMTP 5xx, or an address that cannot be written).
    #[error("the mail was refused: {0}")]
    Never(String),
}

impl Mailer {
    /// From the settings; under `serve --dev` without a mail server, into the development mailbox. Connects to nothing yet.
    pub fn new(config: &MailConfig, dev: bool) -> anyhow::Result<Self> {
        Ok(match (&config.smtp_url, &config.from) {
            (Some(url), Some(from)) => Self::Smtp(Smtp::new(url, from)?),
            _ if dev => Self::Mailbox,
            _ => Self::Nowhere,
        })
    }

    /// The sender, as it stands in a mail.
    pub fn sender(&self) -> String {
        match self {
            Self::Smtp(smtp) => smtp.sender(),
            Self::Mailbox | Self::Nowhere => "JOSOOR Auth <no-reply@localhost>".to_owned(),
        }
    }

    /// Hands a mail over. After `Ok` the server has taken responsibility for it.
    pub async fn send(&self, mail: &Mail) -> Result<(), SendError> {
        match self {
            Self::Smtp(smtp) => smtp.send(mail).await,
            Self::Mailbox => Ok(()),
            Self::Nowhere => Err(SendError::Away("no mail server is set (SMTP_URL)".to_owned())),
        }
    }
}
