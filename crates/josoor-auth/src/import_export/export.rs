//! Writing users out, so that the file imports again as it is.

use std::io::Write;

use super::native::{COLUMNS, Row};
use super::user::Format;
use crate::act::Client;
use crate::app::App;
use crate::domain::{Audit, UserId};
use crate::error::{Error, Result};
use crate::store::NewAudit;

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
    with_hashes: bool,
    client: &Client,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<u64> {
    let mut count = 0;
    let mut last = UserId(0);
    if format == Format::Csv {
        out.write_all(COLUMNS.join(",").as_bytes())
            .map_err(Error::internal)?;
        out.write_all(b"\n").map_err(Error::internal)?;
    }
    loop {
        let users = app.db.read().await?.users_after(last, PAGE).await?;
        let Some(end) = users.last() else { break };
        last = end.id;
        let mut page = Vec::new();
        match format {
            Format::Csv => {
                let mut writer = csv::WriterBuilder::new()
                    .has_headers(false)
                    .from_writer(&mut page);
                for user in &users {
                    writer
                        .serialize(Row::new(user, with_hashes).guarded())
                        .map_err(Error::internal)?;
                }
                writer.flush().map_err(Error::internal)?;
            }
            Format::Ndjson => {
                for user in &users {
                    serde_json::to_writer(&mut page, &Row::new(user, with_hashes))
                        .map_err(Error::internal)?;
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
    let hashes = if with_hashes { "with" } else { "without" };
    let reason = format!("{count} users, {hashes} password hashes");
    let row = NewAudit {
        reason: Some(&reason),
        ..client.audit(Audit::Export, app.clock.now())
    };
    app.db.write().await?.insert_audit(&row).await?;
    Ok(count)
}
