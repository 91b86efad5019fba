//! Beginning the chain again, on an operator's word.

use super::chain::{ANCHOR, Accept, HEAD, Sealing, describe, end, last_base, take_chain, was_moved};
use crate::act::Client;
use crate::app::App;
use crate::domain::Audit;
use crate::error::Result;
use crate::store::NewAudit;

/// Begins the chain again after a break that an operator knows of: another master key, a restored copy, tampering that was
/// examined. What is there stays as it is and is no longer checked; rows that were refused are taken in. The new head.
pub async fn rebase(app: &App, reason: &str, client: &Client) -> Result<String> {
    let mut tx = take_chain(app).await?;
    let key = tx.audit_key()?;
    let now = app.clock.now();
    let head = tx.chain_end(HEAD).await?;
    let anchor = tx.chain_end(ANCHOR).await?;
    let from = head.as_ref().map_or(0, |head| head.seq);
    let known = app.audit.memory().head.as_ref().map_or(0, |(head, _)| head.seq);
    let mut sealing = Sealing {
        seq: from
            .max(tx.last_audit_position().await?)
            .max(anchor.as_ref().map_or(0, |anchor| anchor.seq))
            .max(known),
        mac: Vec::new(),
    };
    sealing.seal_all(&mut tx, &key, Accept::All, now).await?;
    let last = head.as_ref().map_or_else(|| "none".to_owned(), describe);
    let text = format!("{reason} (head before: {last})");
    let row = NewAudit {
        reason: Some(&text),
        ..client.audit(Audit::AuditRebase, now)
    };
    sealing.append(&mut tx, &key, &row, true).await?;
    // The old anchor may be of another key. What it says of the beginning is not checked any more.
    if let Some(anchor) = anchor {
        let again = end(&key, ANCHOR, anchor.seq, anchor.mac, false);
        if !tx.move_chain_end(ANCHOR, again.seq, &again).await? {
            return Err(was_moved());
        }
    }
    let end = sealing.end(&key, HEAD, true);
    if !tx.move_chain_end(HEAD, from, &end).await? {
        return Err(was_moved());
    }
    let base = last_base(&mut tx, &key).await?.and_then(|base| base.nonce);
    tx.commit().await?;
    let mut memory = app.audit.memory();
    memory.head = Some((end.clone(), true));
    memory.base = base;
    memory.is_base_known = true;
    Ok(describe(&end))
}
