//! The command line. Each command calls the same functions as HTTP does.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage. Results go to standard output, everything else to standard error.

mod audit;
mod doctor;
mod import_export;
mod serve;

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde_json::json;
use uuid::Uuid;

use crate::account::{recovery, undo};
use crate::act::Client;
use crate::admin::users;
use crate::app::App;
use crate::clock::Clock;
use crate::config::{Config, ConfigError};
use crate::domain::{Email, FullName, Password, Role, SessionId, UserId};
use crate::error::Error;
use crate::http::response::representation::{AdminUserResponse, SessionResponse};
use crate::sessions;
use crate::store::{Db, RevokeReason, User, UserFilter, UserPatch, UserSort};
use crate::telemetry;
use crate::{http, keys};

/// Authentication and user management in one binary.
#[derive(Parser)]
#[command(name = "josoor-auth", version, about, max_term_width = 100)]
struct Cli {
    /// A settings file (TOML); the environment goes over it
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

/// The whole command line, for the reference in `docs/`.
#[cfg(test)]
pub(crate) fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

#[derive(Subcommand)]
enum Command {
    /// Runs the service; the default
    Serve {
        /// For a developer's own machine: mails can be read at /dev/mail and figures at /metrics. Refused unless listener and
        /// PUBLIC_URL are of this machine
        #[arg(long)]
        dev: bool,
    },
    /// Brings the database's tables up to date
    Migrate {
        /// Takes over a `users` table of the platform's first design, where it stands
        #[arg(long)]
        adopt: bool,
        /// With --adopt: only tells what would happen
        #[arg(long, requires = "adopt")]
        dry_run: bool,
    },
    /// Manages users. USER is an id or an e-mail address
    #[command(subcommand)]
    User(UserCommand),
    /// Shows and ends sessions
    #[command(subcommand)]
    Session(SessionCommand),
    /// Keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// The audit trail
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Prints the OpenAPI document
    Openapi,
    /// Checks what the service needs, and says what to do about each finding
    Doctor(Json),
}

#[derive(Args, Clone, Copy)]
struct Json {
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum UserCommand {
    /// Makes an account; asks for its password, unless it is on standard input
    Create {
        /// The e-mail address
        email: String,
        /// The name to show
        #[arg(long)]
        name: Option<String>,
        /// user, analyst or admin
        #[arg(long, default_value = "user", value_parser = parse_role)]
        role: Role,
        /// Reads the password from standard input
        #[arg(long)]
        password_stdin: bool,
        #[command(flatten)]
        json: Json,
    },
    /// Lists users
    List {
        /// Only users whose address or name contains this
        #[arg(long)]
        search: Option<String>,
        /// Only this role
        #[arg(long, value_parser = parse_role)]
        role: Option<Role>,
        /// Only users who were deleted and can still be restored
        #[arg(long)]
        deleted: bool,
        #[command(flatten)]
        json: Json,
    },
    /// Shows a user
    Show {
        /// An id or an e-mail address
        user: String,
        #[command(flatten)]
        json: Json,
    },
    /// Changes a user's role
    SetRole {
        /// An id or an e-mail address
        user: String,
        /// user, analyst or admin
        #[arg(value_parser = parse_role)]
        role: Role,
    },
    /// Lets a user sign in again
    Activate {
        /// An id or an e-mail address
        user: String,
    },
    /// Keeps a user out; ends the user's sessions
    Deactivate {
        /// An id or an e-mail address
        user: String,
    },
    /// Prints a link that sets a new password, once, for 30 minutes; sends nothing
    ResetLink {
        /// An id or an e-mail address
        user: String,
    },
    /// Restores a deleted user, or lets the owner of a frozen account set a password with a link alone
    Restore {
        /// An id or an e-mail address
        user: String,
        #[command(flatten)]
        json: Json,
    },
    /// Deletes a user, who can be restored for account.deletion_grace
    Delete {
        /// An id or an e-mail address
        user: String,
        /// For good, with everything that belongs to it; also one who was deleted before
        #[arg(long)]
        now: bool,
        /// Does not ask
        #[arg(long)]
        yes: bool,
    },
    /// Brings users in from another system, with their passwords
    Import(import_export::ImportArguments),
    /// Writes all users to a file that imports again as it is
    Export(import_export::ExportArguments),
}

#[derive(Subcommand)]
enum SessionCommand {
    /// Lists a user's live sessions
    List {
        /// An id or an e-mail address
        user: String,
        #[command(flatten)]
        json: Json,
    },
    /// Ends one session, or all of a user's
    Revoke {
        /// A user's id or e-mail address, or a session's id
        #[arg(value_name = "USER|SESSION")]
        target: String,
    },
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Prints a fresh master key for MASTER_KEY
    Generate,
    /// Lists the stored keys, without the keys themselves
    List(Json),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Shows every setting and where it comes from
    Show(Json),
    /// Checks the settings
    Check,
}

/// Why a command ended without success.
enum Failure {
    /// The settings do not make sense; one line per problem.
    Config(ConfigError),
    /// Refused or failed, in words for an operator.
    Told(String),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Told(match &error {
            Error::Invalid(fields) | Error::UnknownFields(fields) => {
                fields.iter().map(|field| format!("{}: {}", field.field, field.message)).collect::<Vec<_>>().join("\n")
            }
            Error::NotFound => "there is no such user or live session".to_owned(),
            Error::LastAdmin => {
                "this is the last active administrator; make another one first (josoor-auth user set-role USER admin)"
                    .to_owned()
            }
            Error::StoreUnavailable(cause) => {
                format!("the database cannot be reached: {cause:#}\ncheck DATABASE_URL; `josoor-auth doctor` looks closer")
            }
            Error::Internal(cause) => format!("{cause:#}"),
            other => other.to_string(),
        })
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Told(error.to_string())
    }
}

fn told(text: impl Into<String>) -> Failure {
    Failure::Told(text.into())
}

type Outcome<T = ()> = std::result::Result<T, Failure>;

/// Runs the program with its own arguments and environment.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(dispatch(cli));
    // What is said here comes after what was logged.
    telemetry::flush();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Config(error)) => {
            eprintln!("error: the settings need attention\n{error}");
            ExitCode::FAILURE
        }
        Err(Failure::Told(text)) => {
            eprintln!("error: {text}");
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(cli: Cli) -> Outcome {
    let load = || {
        // Only text can be a setting; a variable that is not text cannot be one of ours.
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Config::load(cli.config.as_deref(), &environment)
    };
    match cli.command.unwrap_or(Command::Serve { dev: false }) {
        Command::Serve { dev: false } => serve::serve(load()?).await,
        Command::Serve { dev: true } => {
            let mut config = load()?;
            config.enable_dev()?;
            serve::serve(config).await
        }
        Command::Migrate { adopt: false, .. } => migrate(load()?).await,
        Command::Migrate { dry_run, .. } => adopt(load()?, dry_run).await,
        Command::User(command) => manage_users(load()?, command).await,
        Command::Session(command) => manage_sessions(load()?, command).await,
        Command::Key(KeyCommand::Generate) => print(keys::generate_master_key().expose()),
        Command::Key(KeyCommand::List(format)) => list_keys(load()?, format.json).await,
        Command::Config(ConfigCommand::Show(format)) => show_config(&load()?, format.json),
        Command::Config(ConfigCommand::Check) => check_config(&load()?),
        Command::Audit(command) => audit::run(load()?, command).await,
        Command::Openapi => print(&pretty(&http::openapi_document())),
        Command::Doctor(format) => doctor::examine(load(), format.json).await,
    }
}

/// Opens the service for one command: no background work, and only warnings in the log. A running server reads what
/// the command does from the database within a second; with Redis it hears it at once.
async fn open(config: Config) -> Outcome<App> {
    telemetry::init(telemetry::LogFormat::Text, "warn").map_err(Error::Internal)?;
    let app = App::open(config, Clock::System).await?;
    app.hot.kv().wait_connected(Duration::from_millis(500)).await;
    Ok(app)
}

fn print(text: &str) -> Outcome {
    print_raw(&format!("{text}\n"))
}

fn print_raw(text: &str) -> Outcome {
    let mut out = std::io::stdout().lock();
    match write!(out, "{text}") {
        // The reader has seen enough (`| head`).
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

fn pretty<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

async fn migrate(config: Config) -> Outcome {
    telemetry::init(telemetry::LogFormat::Text, "warn").map_err(Error::Internal)?;
    let db = Db::open(&config.database).await?;
    let pending = db.pending_migrations().await.unwrap_or_default();
    db.migrate(&config.database.schema).await?;
    db.close().await;
    print(&match pending {
        0 => format!("{} is up to date", db.engine()),
        1 => format!("{}: 1 migration applied", db.engine()),
        more => format!("{}: {more} migrations applied", db.engine()),
    })
}

async fn adopt(config: Config, dry_run: bool) -> Outcome {
    telemetry::init(telemetry::LogFormat::Text, "warn").map_err(Error::Internal)?;
    let db = Db::open(&config.database).await?;
    let (schema, locale) = (&config.database.schema, config.mail.locale);
    let now = db.clock(Clock::System).await?.now();
    let adopted = db.adopt(schema, locale, now, dry_run).await;
    db.close().await;
    let Some(adopted) = adopted? else {
        return print("there is no `users` table of another program; `josoor-auth migrate` does the rest");
    };
    if adopted.conflicts.is_empty() {
        let verb = if dry_run { "would be" } else { "were" };
        return print(&format!("{} users {verb} taken over", adopted.users));
    }
    for (id, reason) in &adopted.conflicts {
        print(&format!("user {id}: {reason}"))?;
    }
    Err(told(format!(
        "{} users cannot be taken over, so nothing was changed; mend them and try again",
        adopted.conflicts.len()
    )))
}

async fn manage_users(config: Config, command: UserCommand) -> Outcome {
    // Everything that can be refused is refused before the database is opened, and the password is asked for last.
    let client = Client::default();
    match command {
        UserCommand::Create {
            email,
            name,
            role,
            password_stdin,
            json,
        } => {
            let email = Email::parse(&email).map_err(|reason| Error::invalid("email", reason))?;
            let name = match name {
                Some(name) => FullName::parse(&name).map_err(|reason| Error::invalid("name", reason))?,
                None => None,
            };
            let locale = config.mail.locale;
            let password = read_password(password_stdin)?;
            let app = open(config).await?;
            let user = users::create(&app, &email, Some(password), name, role, locale, &client).await;
            let user = user.map_err(|error| match error {
                Error::EmailTaken => told(format!(
                    "{email} is already registered (josoor-auth user show {email})"
                )),
                other => other.into(),
            });
            finish(&app, user, |user| show_user(&user, json.json)).await
        }
        UserCommand::List {
            search,
            role,
            deleted,
            json,
        } => {
            let filter = UserFilter {
                text: search.map(|text| text.to_lowercase()),
                role,
                is_active: None,
                deleted,
            };
            let app = open(config).await?;
            let listed = list_users(&app, &filter, json.json).await;
            finish(&app, listed, |()| Ok(())).await
        }
        UserCommand::Show { user, json } => {
            let app = open(config).await?;
            let user = find_user(&app, &user).await;
            finish(&app, user, |user| show_user(&user, json.json)).await
        }
        UserCommand::SetRole { user, role } => {
            change_user(
                config,
                &user,
                UserPatch {
                    role: Some(role),
                    ..UserPatch::default()
                },
            )
            .await
        }
        UserCommand::Activate { user } => {
            change_user(
                config,
                &user,
                UserPatch {
                    is_active: Some(true),
                    ..UserPatch::default()
                },
            )
            .await
        }
        UserCommand::Deactivate { user } => {
            change_user(
                config,
                &user,
                UserPatch {
                    is_active: Some(false),
                    ..UserPatch::default()
                },
            )
            .await
        }
        UserCommand::ResetLink { user } => {
            let app = open(config).await?;
            let link = async {
                let user = find_user(&app, &user).await?;
                Ok(recovery::make_reset_link(&app, user.id, &client).await?)
            };
            let link = link.await;
            finish(&app, link, |link| print(&link)).await
        }
        UserCommand::Restore { user, json } => {
            let app = open(config).await?;
            let restored = async {
                let user = find_user(&app, &user).await?;
                Ok(undo::restore(&app, user.id, &client).await?)
            };
            let restored = restored.await;
            finish(&app, restored, |user| show_user(&user, json.json)).await
        }
        UserCommand::Delete { user, now, yes } => {
            let app = open(config).await?;
            let deleted = delete_user(&app, &user, now, yes, &client).await;
            finish(&app, deleted, |text| print(&text)).await
        }
        UserCommand::Import(arguments) => import_export::import_users(config, arguments).await,
        UserCommand::Export(arguments) => import_export::export_users(config, arguments).await,
    }
}

/// Shows a command's result and closes the stores in order, whatever it was.
async fn finish<T>(app: &App, result: Outcome<T>, show: impl FnOnce(T) -> Outcome) -> Outcome {
    let shown = result.and_then(show);
    app.close().await;
    shown
}

async fn list_users(app: &App, filter: &UserFilter, json: bool) -> Outcome {
    let sort = UserSort {
        column: "id",
        descending: false,
    };
    // Page by page, so that a list of any length needs the memory of one page.
    let mut before = "[\n";
    for page in 1.. {
        let (users, _) = users::list(app, filter, sort, page, 100).await?;
        for user in &users {
            if json {
                let user = serde_json::to_string(&AdminUserResponse::from(user)).unwrap_or_default();
                print_raw(&format!("{before}  {user}"))?;
                before = ",\n";
            } else {
                let state = state_of(user);
                print(&format!(
                    "{}\t{}\t{}\t{state}\t{}",
                    user.id,
                    user.email,
                    user.role,
                    user.full_name.as_deref().unwrap_or("")
                ))?;
            }
        }
        if users.len() < 100 {
            break;
        }
    }
    match (json, before) {
        (false, _) => Ok(()),
        (true, ",\n") => print("\n]"),
        (true, _) => print("[]"),
    }
}

/// In one word, what may be done with an account.
const fn state_of(user: &User) -> &'static str {
    match user {
        user if user.deleted_at.is_some() => "deleted",
        user if user.frozen_at.is_some() => "frozen",
        user if user.is_active => "active",
        _ => "inactive",
    }
}

fn show_user(user: &User, json: bool) -> Outcome {
    if json {
        return print(&pretty(&AdminUserResponse::from(user)));
    }
    print(&format!(
        "id          {}\nemail       {}\nname        {}\nrole        {}\nactive      {}\nverified    {}\nlocale      {}\ncreated_at  {}",
        user.id,
        user.email,
        user.full_name.as_deref().unwrap_or("-"),
        user.role,
        yes_or_no(user.is_active),
        yes_or_no(user.email_verified_at.is_some()),
        user.locale,
        user.created_at,
    ))?;
    if let Some(purge_at) = user.purge_at {
        print(&format!(
            "deleted     until {purge_at}, then for good (josoor-auth user restore {} brings it back)",
            user.id
        ))?;
    }
    if let Some(since) = user.frozen_at {
        print(&format!(
            "frozen      since {since}: its owner has to recover it (josoor-auth user restore {} releases it)",
            user.id
        ))?;
    }
    Ok(())
}

const fn yes_or_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

async fn change_user(config: Config, user: &str, patch: UserPatch) -> Outcome {
    let app = open(config).await?;
    let changed = async {
        let user = find_user(&app, user).await?;
        Ok(users::update(&app, user.id, patch, &Client::default()).await?)
    };
    let changed = changed.await;
    finish(&app, changed, |user| show_user(&user, false)).await
}

async fn delete_user(app: &App, user: &str, now: bool, yes: bool, client: &Client) -> Outcome<String> {
    let user = find_user(app, user).await?;
    let for_good = now || app.config.account.deletion_grace.is_zero();
    if user.deleted_at.is_some() && !for_good {
        return Err(told(format!(
            "user {} is deleted already; --now removes it for good",
            user.id
        )));
    }
    if !yes {
        if !std::io::stdin().is_terminal() {
            return Err(told("nobody is there to confirm; add --yes"));
        }
        eprint!(
            "Delete {} ({}){}? Type the address to confirm: ",
            user.email,
            user.id,
            if for_good {
                " for good, with everything that belongs to it"
            } else {
                ""
            }
        );
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)?;
        if line.trim() != user.email {
            return Err(told("that is not the address; nothing was deleted"));
        }
    }
    if for_good {
        users::delete_now(app, user.id, client).await?;
        return Ok(format!("deleted {} ({}) for good", user.email, user.id));
    }
    users::delete(app, user.id, client).await?;
    Ok(format!(
        "deleted {} ({}); josoor-auth user restore {} brings it back within {} hours",
        user.email,
        user.id,
        user.id,
        app.config.account.deletion_grace.as_secs().div_ceil(3600)
    ))
}

async fn manage_sessions(config: Config, command: SessionCommand) -> Outcome {
    match command {
        SessionCommand::List { user, json } => {
            let app = open(config).await?;
            let listed = async {
                let user = find_user(&app, &user).await?;
                Ok(sessions::list(&app, user.id).await?)
            };
            let listed = listed.await;
            finish(&app, listed, |sessions| {
                if json.json {
                    let items: Vec<_> = sessions
                        .iter()
                        .map(|session| SessionResponse::new(session, None))
                        .collect();
                    return print(&pretty(&items));
                }
                for session in &sessions {
                    let shown = SessionResponse::new(session, None);
                    print(&format!(
                        "{}\t{}\t{}\t{}",
                        shown.id, shown.last_seen_at, shown.ip, shown.device
                    ))?;
                }
                Ok(())
            })
            .await
        }
        SessionCommand::Revoke { target } => {
            let app = open(config).await?;
            let revoked = revoke(&app, &target).await;
            finish(&app, revoked, |text| print(&text)).await
        }
    }
}

async fn revoke(app: &App, target: &str) -> Outcome<String> {
    let client = Client::default();
    if let Ok(id) = Uuid::try_parse(target) {
        if !sessions::revoke_any(app, SessionId(id), &client).await? {
            return Err(told("there is no live session with this id"));
        }
        return Ok("1 session ended".to_owned());
    }
    let user = find_user(app, target).await?;
    let revoked = sessions::revoke_all(app, user.id, None, RevokeReason::RevokedByAdmin, &client).await?;
    Ok(if revoked == 1 {
        "1 session ended".to_owned()
    } else {
        format!("{revoked} sessions ended")
    })
}

async fn list_keys(config: Config, json: bool) -> Outcome {
    let app = open(config).await?;
    let rows = async { app.db.read().await?.all_keys().await };
    let rows = rows.await.map_err(Failure::from);
    finish(&app, rows, |rows| {
        if json {
            let items: Vec<_> = rows
                .iter()
                .map(|row| json!({ "kid": row.kid, "purpose": row.purpose, "created_at": row.created_at, "current": row.is_current }))
                .collect();
            return print(&pretty(&items));
        }
        for row in rows {
            let state = if row.is_current { "current" } else { "retired" };
            print(&format!("{}\t{}\t{state}\t{}", row.kid, row.purpose, row.created_at))?;
        }
        Ok(())
    })
    .await
}

fn show_config(config: &Config, json: bool) -> Outcome {
    if json {
        return print(&pretty(&config.to_json()));
    }
    for entry in config.sources() {
        print(&entry.to_string())?;
    }
    Ok(())
}

fn check_config(config: &Config) -> Outcome {
    for warning in &config.warnings {
        eprintln!("warning: {warning}");
    }
    print("the settings are in order")
}

/// For clap, which tells what is wrong and ends with 2: wrong usage.
fn parse_role(text: &str) -> std::result::Result<Role, String> {
    text.parse()
        .map_err(|_| "write user, analyst or admin".to_owned())
}

/// Finds a user by id or address.
async fn find_user(app: &App, text: &str) -> Outcome<User> {
    let found = if let Ok(id) = text.parse::<i64>() {
        users::get(app, UserId(id)).await
    } else {
        let email = Email::parse(text)
            .map_err(|reason| told(format!("{text:?} is no id and no address: {}", reason.message)))?;
        users::get_by_email(app, &email).await
    };
    found.map_err(|error| match error {
        Error::NotFound => told(format!(
            "there is no user {text} (josoor-auth user list shows all)"
        )),
        other => other.into(),
    })
}

/// The most that is read from standard input.
const PASSWORD_INPUT_AT_MOST: u64 = 8 * 1024;

/// Reads a new password: from standard input, or twice from the terminal. Never from an argument, which every process
/// on the machine can see.
fn read_password(from_stdin: bool) -> Outcome<Password> {
    let text = if from_stdin {
        let mut text = zeroize::Zeroizing::new(String::new());
        std::io::stdin()
            .take(PASSWORD_INPUT_AT_MOST)
            .read_to_string(&mut text)
            .map_err(|_| told("the password on standard input is not UTF-8 text"))?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        zeroize::Zeroizing::new(line.strip_suffix('\r').unwrap_or(line).to_owned())
    } else if std::io::stdin().is_terminal() {
        let first = zeroize::Zeroizing::new(rpassword::prompt_password("Password: ")?);
        let second = zeroize::Zeroizing::new(rpassword::prompt_password("The same again: ")?);
        if *first != *second {
            return Err(told("the two passwords differ; nothing was changed"));
        }
        first
    } else {
        return Err(told(
            "no terminal to ask on; give the password on standard input with --password-stdin",
        ));
    };
    Password::parse(&text).map_err(|reason| Error::invalid("password", reason).into())
}

/// What a command needs of the service's errors, for the sub-modules.
fn describe(error: Error) -> String {
    match Failure::from(error) {
        Failure::Told(text) => text,
        Failure::Config(error) => error.to_string(),
    }
}
