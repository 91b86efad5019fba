//! `josoor-auth key`.

use clap::Subcommand;
use serde_json::json;

use super::output::{Failure, Json, Outcome, finish, open, pretty, print};
use crate::config::Config;

#[derive(Subcommand)]
pub(super) enum KeyCommand {
    /// Prints a fresh master key for MASTER_KEY
    Generate,
    /// Lists the stored keys, without the keys themselves
    List(Json),
}

pub(super) async fn list_keys(config: Config, json: bool) -> Outcome {
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
