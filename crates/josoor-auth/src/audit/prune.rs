//! Removing rows past their retention.

use super::chain::{ANCHOR, end};
use super::check::Walk;
use crate::app::App;
use crate::cache::audit_watch::Alarm;
use crate::crypto;
use crate::domain::Timestamp;
use crate::error::Result;
use crate::store::AuditRow;
use crate::telemetry::codes;

/// Removes rows past `before` from the beginning of the chain, up to `limit`, and moves the anchor with them. How many
/// went. What is not sealed stays, and so does what does not check out: it is evidence.
pub async fn prune(app: &App, before: Timestamp, limit: i64) -> Result<u64> {
    let mut tx = app.db.begin().await?;
    let key = tx.audit_key()?;
    let anchor = tx.chain_end(ANCHOR).await?;
    let from = anchor.as_ref().map_or(0, |anchor| anchor.seq);
    let is_ours = anchor
        .as_ref()
        .is_none_or(|anchor| crypto::equal(&anchor.tag, &key.end(ANCHOR, anchor.seq, &anchor.mac, false)));
    let rows = tx.sealed_audit(from, limit).await?;
    let mut walk = Walk::begin(&mut tx, &key, anchor.as_ref()).await?;
    let mut last: Option<&AuditRow> = None;
    let mut findings = Vec::new();
    for row in rows.iter().take_while(|row| row.at < before) {
        // Rows of an earlier chain cannot be checked.
        if row.seq.is_some_and(|seq| seq >= walk.base) {
            findings = walk.step(row).findings;
            if !findings.is_empty() {
                break;
            }
        }
        last = Some(row);
    }
    if !is_ours {
        findings.push("the anchor was not set with this master key".to_owned());
    }
    if app.audit.set_alarm(Alarm::Changed, !findings.is_empty()) {
        tracing::error!(
            code = codes::AUDIT_TAMPERED,
            finding = findings.first(),
            "the beginning of the audit trail was tampered with, and is not removed; see `josoor-auth audit verify`"
        );
    }
    let Some(last) = last.filter(|_| is_ours) else {
        return Ok(0);
    };
    let (Some(seq), Some(mac)) = (last.seq, last.mac.clone()) else {
        return Ok(0);
    };
    let to = end(&key, ANCHOR, seq, mac, false);
    if !tx.move_chain_end(ANCHOR, from, &to).await? {
        return Ok(0);
    }
    let gone = tx.delete_audit_through(seq).await?;
    tx.commit().await?;
    Ok(gone)
}
