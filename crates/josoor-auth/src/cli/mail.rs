//! `josoor-auth mail`.

use clap::Subcommand;

use super::output::{Json, Outcome, finish, open, pretty, print, user_error};
use crate::act::Client;
use crate::admin::outbox;
use crate::app::App;
use crate::config::Config;
use crate::domain::{Email, MailKind, MailState};
use crate::error::Error;
use crate::http::outbox::OutboxMail;
use crate::mail::{Effect, Mailer, SendError, Stage};
use crate::store::OutboxFilter;

#[derive(Subcommand)]
pub(super) enum MailCommand {
    /// Lists the mails that wait, were sent or were given up, the latest first
    List {
        /// Only mails in this state: waiting, sent or failed
        #[arg(long, value_parser = parse_state)]
        state: Option<MailState>,
        /// Only mails of this kind, such as reset_password
        #[arg(long, value_parser = parse_kind)]
        kind: Option<MailKind>,
        /// How many at most
        #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
        #[command(flatten)]
        json: Json,
    },
    /// Tries a mail again now: one that waits or was given up, or, without ID, every one that waits
    Retry {
        /// The number that `mail list` shows
        id: Option<i64>,
    },
    /// Sends a mail to an address at once, and says what the mail server answers
    Test {
        /// The recipient
        address: String,
    },
}

fn parse_state(text: &str) -> Result<MailState, String> {
    text.parse()
        .map_err(|_| "write waiting, sent or failed".to_owned())
}

fn parse_kind(text: &str) -> Result<MailKind, String> {
    text.parse().map_err(|_| {
        let kinds: Vec<_> = MailKind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("write one of {}", kinds.join(", "))
    })
}

pub(super) async fn manage_mails(config: Config, command: MailCommand) -> Outcome {
    let app = open(config).await?;
    match command {
        MailCommand::List {
            state,
            kind,
            limit,
            json,
        } => {
            let filter = OutboxFilter { state, kind };
            let listed = outbox::list(&app, filter, limit, 0).await;
            finish(&app, listed.map_err(Into::into), |(mails, _)| {
                let mails: Vec<OutboxMail> = mails.into_iter().map(OutboxMail::from).collect();
                if json.json {
                    return print(&pretty(&mails));
                }
                mails.iter().try_for_each(|mail| print(&line(mail)))
            })
            .await
        }
        MailCommand::Retry { id } => {
            let done = retry(&app, id).await;
            finish(&app, done, |text| print(&text)).await
        }
        MailCommand::Test { address } => {
            let done = test(&app, &address).await;
            finish(&app, done, |text| print(&text)).await
        }
    }
}

fn line(mail: &OutboxMail) -> String {
    let reason = mail.last_error.as_ref().map_or("", |error| error.text.as_str());
    let state = mail.state.as_str();
    format!(
        "{}\t{state}\t{}\t{}\t{}\t{}\t{reason}",
        mail.id, mail.created_at, mail.kind, mail.to, mail.attempts
    )
}

async fn retry(app: &App, id: Option<i64>) -> Outcome<String> {
    let client = Client::default();
    let Some(id) = id else {
        let count = outbox::retry_waiting(app, &client).await?;
        return Ok(format!("{count} waiting, tried again by the running service"));
    };
    match outbox::retry(app, id, &client).await {
        Ok(mail) => Ok(format!("mail {} is tried again by the running service", mail.id)),
        Err(Error::NotFound) => Err(user_error(format!(
            "there is no mail {id} (josoor-auth mail list shows all)"
        ))),
        Err(other) => Err(other.into()),
    }
}

async fn test(app: &App, address: &str) -> Outcome<String> {
    let to = Email::parse(address)
        .map_err(|reason| user_error(format!("{address:?} is no address: {}", reason.message)))?;
    match outbox::send_test(app, &to, &Client::default()).await? {
        Ok(()) => Ok(format!("{} has taken the mail to {to}", server_of(&app.mailer))),
        Err(error) => Err(user_error(format!(
            "{}: {error}\n{}",
            server_of(&app.mailer),
            remedy(&error)
        ))),
    }
}

fn server_of(mailer: &Mailer) -> String {
    match mailer {
        Mailer::Smtp(smtp) => smtp.server(),
        Mailer::Mailbox | Mailer::Nowhere => "mail".to_owned(),
    }
}

/// What to do about a failure.
pub(super) fn remedy(error: &SendError) -> &'static str {
    match (error.stage, error.effect) {
        (Stage::Connection, _) => {
            "check SMTP_URL: host, port and TLS (smtps:// for port 465, smtp:// for port 587), and that this machine may connect"
        }
        (Stage::Hello, _) => {
            "set mail.helo to a name of this machine that the mail server accepts, or have it accept this machine's address"
        }
        (Stage::Tls, _) => "check SMTP_URL: smtp:// needs STARTTLS, smtps:// is TLS from the first byte",
        (Stage::SignIn, _) => "check the user and the password in SMTP_URL",
        // RFC 4954, 6.
        (Stage::Sender, _) if error.reason.code == Some(530) => {
            "the mail server wants a sign-in: give SMTP_URL a user and a password"
        }
        (Stage::Sender, _) => "set MAIL_FROM to an address that the user of SMTP_URL may send from",
        (_, Effect::Never) => "the mail server accepts no mail to this address; try another one",
        (Stage::Recipient | Stage::Text, _) => {
            "the log of the mail server has the rule; let it relay mail of this machine or of the user in SMTP_URL"
        }
    }
}
