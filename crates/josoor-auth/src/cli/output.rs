//! What the commands have in common: opening the service, errors and output.

use std::io::Write as _;
use std::time::Duration;

use clap::Args;

use crate::admin::users;
use crate::app::App;
use crate::clock::Clock;
use crate::config::{Config, ConfigError};
use crate::domain::{Email, Role, UserId};
use crate::error::Error;
use crate::store::{self, User};
use crate::telemetry;

#[derive(Args, Clone, Copy)]
pub(super) struct Json {
    /// Prints JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Why a command ended without success.
pub(super) enum Failure {
    /// The settings do not make sense; one line per problem.
    Config(ConfigError),
    /// Refused or failed, in words for an operator.
    Message(String),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if let Some(remedy) = store::remedy(&error) {
            return Self::Message(format!(
                "{}\n{remedy}; `josoor-auth doctor` examines it",
                describe(error)
            ));
        }
        Self::Message(match &error {
            Error::Invalid(fields) | Error::UnknownFields(fields) => {
                fields.iter().map(|field| format!("{}: {}", field.field, field.message)).collect::<Vec<_>>().join("\n")
            }
            Error::NotFound => "there is no such user or live session".to_owned(),
            Error::LastAdmin => {
                "this is the last active administrator; make another one first (josoor-auth user set-role USER admin)"
                    .to_owned()
            }
            Error::StoreUnavailable(cause) => {
                format!("{cause:#}\nthe database cannot be used: check DATABASE_URL; `josoor-auth doctor` examines it")
            }
            Error::Internal(cause) => format!("{cause:#}"),
            other => other.to_string(),
        })
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Message(error.to_string())
    }
}

pub(super) fn user_error(text: impl Into<String>) -> Failure {
    Failure::Message(text.into())
}

pub(super) type Outcome<T = ()> = std::result::Result<T, Failure>;

/// Opens the service for one command: no background work, and only warnings in the log. A running server reads what
/// the command does from the database within a second; with Redis at once.
pub(super) async fn open(config: Config) -> Outcome<App> {
    telemetry::init(telemetry::LogFormat::Text, "warn").map_err(Error::Internal)?;
    let app = App::open(config, Clock::System).await?;
    if let Some(redis) = app.cache.redis() {
        redis.wait_connected(Duration::from_millis(500)).await;
    }
    Ok(app)
}

pub(super) fn print(text: &str) -> Outcome {
    print_raw(&format!("{text}\n"))
}

pub(super) fn print_raw(text: &str) -> Outcome {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // The reader has seen enough (`| head`).
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// A line on standard error. One that cannot be written is left out: what the command does goes on.
pub(super) fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A question on standard error, before its answer is read.
pub(super) fn prompt(question: &str) {
    let _ = write!(std::io::stderr(), "{question}");
}

/// Asks before what cannot be undone, unless `yes` says that there is no need to.
pub(super) fn confirm(question: &str, yes: bool) -> Outcome {
    if yes {
        return Ok(());
    }
    prompt(&format!("{question} Type yes to confirm: "));
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    if line.trim() == "yes" {
        return Ok(());
    }
    Err(user_error(
        "nothing was done; where there is no terminal to answer on, add --yes",
    ))
}

pub(super) fn pretty<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// Shows a command's result, once running servers have read what it changed, and closes the stores in order, whatever it was.
pub(super) async fn finish<T>(app: &App, result: Outcome<T>, show: impl FnOnce(T) -> Outcome) -> Outcome {
    app.cache.wait_until_read().await;
    let shown = result.and_then(show);
    app.close().await;
    shown
}

/// For clap, which reports what is wrong and exits with 2: wrong usage.
pub(super) fn parse_role(text: &str) -> std::result::Result<Role, String> {
    text.parse()
        .map_err(|_| "write user, analyst or admin".to_owned())
}

/// Finds a user by id or address.
pub(super) async fn find_user(app: &App, text: &str) -> Outcome<User> {
    let found = if let Ok(id) = text.parse::<i64>() {
        users::get(app, UserId(id)).await
    } else {
        let email = Email::parse(text)
            .map_err(|reason| user_error(format!("{text:?} is no id and no address: {}", reason.message)))?;
        users::get_by_email(app, &email).await
    };
    found.map_err(|error| match error {
        Error::NotFound => user_error(format!(
            "there is no user {text} (josoor-auth user list shows all)"
        )),
        other => other.into(),
    })
}

/// The cause of an error in words, for reports that have remedies of their own.
pub(super) fn describe(error: Error) -> String {
    match &error {
        Error::StoreUnavailable(cause) => return format!("{cause:#}"),
        Error::Internal(cause) => return format!("{cause:#}"),
        _ => {}
    }
    match Failure::from(error) {
        Failure::Message(text) => text,
        Failure::Config(error) => error.to_string(),
    }
}
