//! The command line. Each command calls the same functions as HTTP does.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage. Results go to standard output, everything else to standard error.

mod audit;
mod backup;
mod database;
mod doctor;
mod health;
mod import_export;
mod import_report;
mod keys;
mod mail;
mod manual;
mod output;
mod serve;
mod sessions;
mod settings;
mod systemd;
mod users;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use self::backup::{BackupArguments, RestoreArguments, back_up, restore};
use self::database::{adopt, migrate};
use self::keys::{KeyCommand, list_keys, rotate_key, rotate_master};
use self::mail::{MailCommand, manage_mails};
use self::manual::{CompletionsArguments, print_completions, print_manual};
use self::output::{Failure, Json, Outcome, note, pretty, print};
use self::sessions::{SessionCommand, manage_sessions};
use self::settings::{ConfigCommand, check_config, show_config};
use self::users::{UserCommand, manage_users};
use crate::config::{self, Config, EnvFile};
use crate::keys::generate_master_key;
use crate::{http, telemetry};

/// Authentication and user management in one binary.
#[derive(Parser)]
#[command(name = "josoor-auth", version, about, max_term_width = 100)]
struct Cli {
    /// A settings file (TOML); the environment goes over it
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A file of variables (NAME=value); real variables go over it. `serve --dev` reads .env by itself
    #[arg(long, global = true, value_name = "FILE")]
    env_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

/// The whole command line, for the reference in `docs/`.
#[cfg(test)]
pub(crate) fn command() -> clap::Command {
    Cli::command()
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
    /// Migrates the database's tables to this version
    Migrate {
        /// Takes over a `users` table of the platform's first design, where it stands
        #[arg(long)]
        adopt: bool,
        /// With --adopt: only reports what would happen
        #[arg(long, requires = "adopt")]
        dry_run: bool,
    },
    /// Manages users. USER is an id or an email address
    #[command(subcommand)]
    User(UserCommand),
    /// Shows and revokes sessions
    #[command(subcommand)]
    Session(SessionCommand),
    /// Keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// The mails that wait, and the mail server
    #[command(subcommand)]
    Mail(MailCommand),
    /// The audit trail
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Writes all that the database holds to one file, while the service runs
    Backup(BackupArguments),
    /// Replaces the database by a backup, while the service is stopped. All sessions end
    Restore(RestoreArguments),
    /// Prints the OpenAPI document
    Openapi,
    /// Prints the completions of a shell
    Completions(CompletionsArguments),
    /// Prints the manual page: `josoor-auth manual | man -l -`
    Manual,
    /// Checks what the service needs, and says what to do about each finding
    Doctor(Json),
    /// Asks the service on the configured address whether it is ready: exit 0 when it is, else 1. For health checks of containers
    Health,
}

/// Runs the program with its own arguments and environment.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            note(&format!("error: no runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(dispatch(cli));
    // What is said here comes after what was logged.
    telemetry::flush();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Config(error)) => {
            note(&format!("error: the settings need attention\n{error}"));
            ExitCode::FAILURE
        }
        Err(Failure::Message(text)) => {
            note(&format!("error: {text}"));
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(cli: Cli) -> Outcome {
    let is_dev = matches!(cli.command, Some(Command::Serve { dev: true }));
    let load = || {
        let env_file = match &cli.env_file {
            Some(path) => Some(EnvFile::named(path)?),
            None if is_dev => EnvFile::of_directory(Path::new("."))?,
            None => None,
        };
        let environment = config::text_variables(std::env::vars_os())?;
        Config::load(cli.config.as_deref(), env_file.as_ref(), &environment)
    };
    match cli.command.unwrap_or(Command::Serve { dev: false }) {
        Command::Serve { dev } => {
            let stop = serve::handle_signals()?;
            let mut config = load()?;
            if dev {
                config.enable_dev()?;
            }
            Box::pin(serve::serve(config, stop)).await
        }
        Command::Migrate { adopt: false, .. } => migrate(load()?).await,
        Command::Migrate { dry_run, .. } => adopt(load()?, dry_run).await,
        Command::User(command) => Box::pin(manage_users(load()?, command)).await,
        Command::Session(command) => manage_sessions(load()?, command).await,
        Command::Key(KeyCommand::Generate) => print(generate_master_key().expose()),
        Command::Key(KeyCommand::List(format)) => list_keys(load()?, format.json).await,
        Command::Key(KeyCommand::Rotate(arguments)) => rotate_key(load()?, arguments).await,
        Command::Key(KeyCommand::RotateMaster { new_file, leaked }) => {
            Box::pin(rotate_master(load()?, &new_file, leaked)).await
        }
        Command::Config(ConfigCommand::Show(format)) => show_config(&load()?, format.json),
        Command::Config(ConfigCommand::Check) => check_config(&load()?),
        Command::Mail(command) => manage_mails(load()?, command).await,
        Command::Audit(command) => Box::pin(audit::run(load()?, command)).await,
        Command::Backup(arguments) => back_up(load()?, arguments).await,
        Command::Restore(arguments) => Box::pin(restore(load()?, arguments)).await,
        Command::Openapi => print(&pretty(&http::openapi_document())),
        Command::Completions(arguments) => print_completions(Cli::command(), &arguments),
        Command::Manual => print_manual(Cli::command()),
        Command::Doctor(format) => doctor::examine(load(), format.json).await,
        Command::Health => health::show_health(&load()?).await,
    }
}
