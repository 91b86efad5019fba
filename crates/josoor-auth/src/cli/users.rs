//! `josoor-auth user`.

use std::io::{IsTerminal as _, Read as _};

use clap::Subcommand;

use super::import_export::{ExportArguments, ImportArguments, export_users, import_users};
use super::output::{
    Json, Outcome, find_user, finish, open, parse_role, pretty, print, print_raw, prompt, user_error,
};
use crate::account::factors;
use crate::act::Client;
use crate::admin::{invitations, users};
use crate::app::App;
use crate::config::Config;
use crate::domain::{Email, FullName, Password, Role, SearchWords};
use crate::error::Error;
use crate::http::response::representation::AdminUserResponse;
use crate::store::{Start, User, UserFilter, UserPatch, UserSort};

#[derive(Subcommand)]
pub(super) enum UserCommand {
    /// Creates an account; asks for its password, unless it is on standard input
    Create {
        /// The email address
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
        /// Only users whose address or name contains these words, in any order, however they are typed
        #[arg(long)]
        search: Option<String>,
        /// Only this role
        #[arg(long, value_parser = parse_role)]
        role: Option<Role>,
        /// Only deleted users that can still be restored
        #[arg(long)]
        deleted: bool,
        #[command(flatten)]
        json: Json,
    },
    /// Shows a user
    Show {
        /// An id or an email address
        user: String,
        #[command(flatten)]
        json: Json,
    },
    /// Changes a user's role
    SetRole {
        /// An id or an email address
        user: String,
        /// user, analyst or admin
        #[arg(value_parser = parse_role)]
        role: Role,
    },
    /// Lets a user sign in again
    Activate {
        /// An id or an email address
        user: String,
    },
    /// Deactivates a user and revokes the user's sessions
    Deactivate {
        /// An id or an email address
        user: String,
    },
    /// Prints a link that sets a new password, once, for 30 minutes; sends nothing
    ResetLink {
        /// An id or an email address
        user: String,
    },
    /// Removes a user's second factors, for a user who has lost them; the user is notified by mail
    MfaReset {
        /// An id or an email address
        user: String,
    },
    /// Restores a deleted user, or lets the owner of a frozen account set a password with a link alone
    Restore {
        /// An id or an email address
        user: String,
        #[command(flatten)]
        json: Json,
    },
    /// Deletes a user; can be undone for account.deletion_grace
    Delete {
        /// An id or an email address
        user: String,
        /// Permanently, with everything that belongs to the account; also after an earlier deletion
        #[arg(long)]
        now: bool,
        /// Does not ask
        #[arg(long)]
        yes: bool,
    },
    /// Imports users from another system, with their passwords
    Import(ImportArguments),
    /// Writes all users to a file that imports again as it is
    Export(ExportArguments),
}

pub(super) async fn manage_users(config: Config, command: UserCommand) -> Outcome {
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
                Error::EmailTaken => user_error(format!(
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
                text: SearchWords::parse(&search.unwrap_or_default()),
                role,
                deleted,
                ..UserFilter::default()
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
                Ok(invitations::create_reset_link(&app, user.id, &client).await?)
            };
            let link = link.await;
            finish(&app, link, |link| print(&link)).await
        }
        UserCommand::MfaReset { user } => {
            let app = open(config).await?;
            let reset = async {
                let user = find_user(&app, &user).await?;
                let had_any = factors::reset(&app, user.id, &client).await?;
                Ok(if had_any {
                    format!("removed the second factors of {} ({})", user.email, user.id)
                } else {
                    format!("{} ({}) has no second factor", user.email, user.id)
                })
            };
            let reset = reset.await;
            finish(&app, reset, |text| print(&text)).await
        }
        UserCommand::Restore { user, json } => {
            let app = open(config).await?;
            let restored = async {
                let user = find_user(&app, &user).await?;
                Ok(users::restore(&app, user.id, &client).await?)
            };
            let restored = restored.await;
            finish(&app, restored, |user| show_user(&user, json.json)).await
        }
        UserCommand::Delete { user, now, yes } => {
            let app = open(config).await?;
            let deleted = delete_user(&app, &user, now, yes, &client).await;
            finish(&app, deleted, |text| print(&text)).await
        }
        UserCommand::Import(arguments) => Box::pin(import_users(config, arguments)).await,
        UserCommand::Export(arguments) => export_users(config, arguments).await,
    }
}

async fn list_users(app: &App, filter: &UserFilter, json: bool) -> Outcome {
    // Page by page, so that a list of any length needs the memory of one page.
    let mut before = "[\n";
    let mut start = Some(Start::Offset(0));
    while let Some(from) = start {
        let page = users::list(app, filter, UserSort::BY_ID, &from, 100).await?;
        start = page.next.map(Start::After);
        for user in &page.users {
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
        "id          {}\nemail       {}\nname        {}\nrole        {}\nactive      {}\nverified    {}\nmfa         {}\nlocale      {}\ncreated_at  {}",
        user.id,
        user.email,
        user.full_name.as_deref().unwrap_or("-"),
        user.role,
        yes_or_no(user.is_active),
        yes_or_no(user.email_verified_at.is_some()),
        yes_or_no(user.mfa_at.is_some()),
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
        Ok(users::update(&app, user.id, patch, &Client::default())
            .await?
            .user)
    };
    let changed = changed.await;
    finish(&app, changed, |user| show_user(&user, false)).await
}

async fn delete_user(app: &App, user: &str, now: bool, yes: bool, client: &Client) -> Outcome<String> {
    let user = find_user(app, user).await?;
    let for_good = now || app.config.account.deletion_grace.is_zero();
    if user.deleted_at.is_some() && !for_good {
        return Err(user_error(format!(
            "user {} is deleted already; --now removes it for good",
            user.id
        )));
    }
    if !yes {
        if !std::io::stdin().is_terminal() {
            return Err(user_error("no terminal to confirm on; add --yes"));
        }
        prompt(&format!(
            "Delete {} ({}){}? Type the address to confirm: ",
            user.email,
            user.id,
            if for_good {
                " for good, with everything that belongs to it"
            } else {
                ""
            }
        ));
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)?;
        if line.trim() != user.email {
            return Err(user_error("that is not the address; nothing was deleted"));
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
            .map_err(|_| user_error("the password on standard input is not UTF-8 text"))?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        zeroize::Zeroizing::new(line.strip_suffix('\r').unwrap_or(line).to_owned())
    } else if std::io::stdin().is_terminal() {
        let first = zeroize::Zeroizing::new(rpassword::prompt_password("Password: ")?);
        let second = zeroize::Zeroizing::new(rpassword::prompt_password("The same again: ")?);
        if *first != *second {
            return Err(user_error("the two passwords differ; nothing was changed"));
        }
        first
    } else {
        return Err(user_error(
            "no terminal to ask on; give the password on standard input with --password-stdin",
        ));
    };
    Password::parse(&text).map_err(|reason| Error::invalid("password", reason).into())
}
