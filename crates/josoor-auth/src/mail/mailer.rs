//! How mail leaves.

use super::render::Mail;
use super::smtp::{Effect, SendError, Smtp, Stage};
use crate::config::MailConfig;
use crate::telemetry::steps;

/// How mail leaves.
#[derive(Debug)]
pub enum Mailer {
    /// To a mail server.
    Smtp(Box<Smtp>),
    /// Into the development mailbox of `serve --dev`: it can be read at `/dev/mail`.
    Mailbox,
    /// Nowhere: there is no mail server, and mails wait in the outbox until there is one.
    Nowhere,
}

impl Mailer {
    /// From the settings; under `serve --dev` without a mail server, into the development mailbox. Connects to nothing yet.
    pub fn new(config: &MailConfig, dev: bool) -> anyhow::Result<Self> {
        Ok(match (&config.smtp_url, &config.from) {
            (Some(url), Some(from)) => Self::Smtp(Box::new(Smtp::new(url, from, config)?)),
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
            Self::Smtp(smtp) => {
                let mut step = steps::mail();
                smtp.send(mail).await.inspect_err(|_| step.fail("_OTHER"))
            }
            Self::Mailbox => Ok(()),
            Self::Nowhere => Err(SendError::new(
                Stage::Connection,
                Effect::Away,
                "no mail server is set (SMTP_URL)",
            )),
        }
    }
}
