//! `josoor-auth migrate`.

use super::output::{Outcome, print, user_error};
use crate::clock::Clock;
use crate::config::Config;
use crate::error::Error;
use crate::store::Db;
use crate::telemetry;

pub(super) async fn migrate(config: Config) -> Outcome {
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

pub(super) async fn adopt(config: Config, dry_run: bool) -> Outcome {
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
    Err(user_error(format!(
        "{} users cannot be taken over, so nothing was changed; mend them and try again",
        adopted.conflicts.len()
    )))
}
