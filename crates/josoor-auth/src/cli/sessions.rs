//! `josoor-auth session`.

use clap::Subcommand;
use uuid::Uuid;

use super::output::{Json, Outcome, find_user, finish, open, pretty, print, user_error};
use crate::act::Client;
use crate::app::App;
use crate::config::Config;
use crate::domain::{RevokeReason, SessionId};
use crate::http::response::representation::SessionResponse;
use crate::sessions;

#[derive(Subcommand)]
pub(super) enum SessionCommand {
    /// Lists a user's live sessions
    List {
        /// An id or an email address
        user: String,
        #[command(flatten)]
        json: Json,
    },
    /// Revokes one session, all of a user's, or all there are
    Revoke {
        /// A user's id or email address, or a session's id
        #[arg(value_name = "USER|SESSION", required_unless_present = "all")]
        target: Option<String>,
        /// Revokes every session of every user
        #[arg(long, conflicts_with = "target")]
        all: bool,
    },
}

pub(super) async fn manage_sessions(config: Config, command: SessionCommand) -> Outcome {
    match command {
        SessionCommand::List { user, json } => {
            let app = open(config).await?;
            let listed = async {
                let user = find_user(&app, &user).await?;
                let listed = sessions::list(&app, user.id, user.role).await?;
                let shown = listed.iter();
                Ok(shown
                    .map(|session| SessionResponse::new(&app, session, user.role, None))
                    .collect::<Vec<_>>())
            };
            let listed = listed.await;
            finish(&app, listed, |sessions| {
                if json.json {
                    return print(&pretty(&sessions));
                }
                for shown in &sessions {
                    print(&format!(
                        "{}\t{}\t{}\t{}",
                        shown.id, shown.last_seen_at, shown.ip, shown.device
                    ))?;
                }
                Ok(())
            })
            .await
        }
        SessionCommand::Revoke { target, .. } => {
            let app = open(config).await?;
            let revoked = revoke(&app, target.as_deref()).await;
            finish(&app, revoked, |text| print(&text)).await
        }
    }
}

async fn revoke(app: &App, target: Option<&str>) -> Outcome<String> {
    let client = Client::default();
    let Some(target) = target else {
        let revoked = sessions::revoke_everyones(app, RevokeReason::RevokedByAdmin, &client).await?;
        return Ok(spoken(revoked));
    };
    if let Ok(id) = Uuid::try_parse(target) {
        if !sessions::revoke_any(app, SessionId(id), &client).await? {
            return Err(user_error("there is no live session with this id"));
        }
        return Ok(spoken(1));
    }
    let user = find_user(app, target).await?;
    let revoked = sessions::revoke_all(app, user.id, None, RevokeReason::RevokedByAdmin, &client).await?;
    Ok(spoken(revoked))
}

fn spoken(revoked: usize) -> String {
    match revoked {
        1 => "1 session revoked".to_owned(),
        more => format!("{more} sessions revoked"),
    }
}
