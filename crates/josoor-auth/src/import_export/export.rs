//! Writing users out, so that the file imports again as it is.

use std::collections::HashMap;
use std::io::Write;

use super::factors::to_json;
use super::native::{Contents, Row};
use super::user::Format;
use crate::act::Client;
use crate::app::App;
use crate::auth::factors::moved;
use crate::domain::{Audit, UserId};
use crate::error::{Error, Result};
use crate::store::{NewAudit, User};

/// Users in the memory at a time.
const PAGE: i64 = 500;

/// Writes all users in the order of their ids, and records that it did. `progress` is called with the number written. How many
/// there were.
///
/// The users are read page by page: each is as it was at one moment, but not all at the same one.
///
/// # Errors
/// `StoreUnavailable`; `Internal` when `out` takes no more, and for [`Format::Json`], which is only read.
pub async fn run(
    app: &App,
    out: &mut (dyn Write + Send),
    format: Format,
    contents: Contents,
    client: &Client,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<u64> {
    let mut count = 0;
    let mut last = UserId(0);
    if format == Format::Csv {
        out.write_all(contents.columns().join(",").as_bytes())
            .map_err(Error::internal)?;
        out.write_all(b"\n").map_err(Error::internal)?;
    }
    loop {
        let users = app.db.read().await?.users_after(last, PAGE).await?;
        let Some(end) = users.last() else { break };
        let rows = rows(app, &users, (last, end.id), contents).await?;
        last = end.id;
        let mut page = Vec::new();
        match format {
            Format::Csv => {
                let mut writer = csv::WriterBuilder::new()
                    .has_headers(false)
                    .from_writer(&mut page);
                for row in rows {
                    writer.serialize(row.in_cells()).map_err(Error::internal)?;
                }
                writer.flush().map_err(Error::internal)?;
            }
            Format::Ndjson => {
                for row in rows {
                    serde_json::to_writer(&mut page, &row).map_err(Error::internal)?;
                    page.push(b'\n');
                }
            }
            Format::Json => {
                return Err(Error::Internal(anyhow::anyhow!(
                    "users are exported as csv or ndjson"
                )));
            }
        }
        out.write_all(&page).map_err(Error::internal)?;
        count += users.len() as u64;
        progress(count);
    }
    out.flush().map_err(Error::internal)?;
    let reason = format!("{count} users, {contents}");
    let row = NewAudit {
        reason: Some(&reason),
        ..client.audit(Audit::Export, app.clock.now())
    };
    app.db.write().await?.insert_audit(&row).await?;
    Ok(count)
}

/// The rows of a page: of users whose ids are above the first id and up to the second one.
async fn rows<'u>(
    app: &App,
    users: &'u [User],
    (after, last): (UserId, UserId),
    contents: Contents,
) -> Result<Vec<Row<'u>>> {
    let mut factors = HashMap::new();
    if contents.factors {
        let mut conn = app.db.read().await?;
        factors = moved::of_users(app, &mut conn, after, last).await?;
    }
    let row = |user: &'u User| {
        let factors = factors.get(&user.id).filter(|factors| factors.has_factor());
        let factors = factors.map(to_json).transpose().map_err(Error::internal)?;
        Ok(Row::new(user, contents, factors))
    };
    users.iter().map(row).collect()
}
