//! The chain: its ends, its codes, and how rows are appended.

use std::fmt::Write as _;
use std::time::Duration;

use crate::app::App;
use crate::cache::audit_watch::Fault;
use crate::crypto;
use crate::domain::{Audit, Timestamp};
use crate::error::{Error, Result};
use crate::store::{AuditKey, AuditRow, ChainEnd, Conn, MacOrigin, NewAudit, RowCode, Seal};

pub(super) const HEAD: &str = "head";

pub(super) const ANCHOR: &str = "anchor";

/// What the sealer's lease is called. That of the version before, `audit-sealer`, is never free again.
pub(super) const LEASE: &str = "audit-sealer-2";

/// How long the sealer is this node's, unless it goes on: how late sealing can be after a crash.
pub(super) const LEASE_TIME: Duration = Duration::from_secs(5);

/// Rows sealed in one transaction; three bound values each stay below what both engines take.
pub(super) const BATCH: i64 = 250;

/// Rows that a check has in memory.
pub(super) const PAGE: i64 = 1000;

/// Reasons of [`Audit::AuditBoundary`]: the trail began on a new database; on the tables of the version before; rows without
/// a code are refused from here on.
pub(super) const BEGUN: &str = "begun";

pub(super) const UPGRADED: &str = "upgraded";

pub(super) const MAC_REQUIRED: &str = "mac_required";

/// Ids that one finding names.
const IDS_NAMED: usize = 100;

/// An unsealed row that is older than this shows that sealing does not work.
pub(super) const SEALED_WITHIN: Duration = Duration::from_mins(1);

/// The head, and whether rows without a code are refused; or why nothing can be sealed.
pub(super) async fn stand(
    app: &App,
    conn: &mut Conn,
) -> Result<std::result::Result<(ChainEnd, bool), Fault>> {
    let key = conn.audit_key()?;
    let found = match conn.chain_end(HEAD).await? {
        None => Err(Fault::Missing),
        Some(head) => match requires_mac(&key, &head) {
            None => Err(Fault::Forged),
            Some(required) => Ok((head, required)),
        },
    };
    if !app.audit.memory().is_base_known {
        let base = last_base(conn, &key).await?;
        let mut memory = app.audit.memory();
        memory.base = base.and_then(|base| base.nonce);
        memory.is_base_known = true;
    }
    let went_back = match (&found, &app.audit.memory().head) {
        (Ok((head, required)), Some((known, was_required))) => {
            head.seq < known.seq
                || (head.seq == known.seq && head.mac != known.mac)
                || (*was_required && !required)
        }
        _ => false,
    };
    let found = if went_back {
        // An operator may have begun the chain again.
        let base = last_base(conn, &key).await?.and_then(|base| base.nonce);
        let mut memory = app.audit.memory();
        if base.is_some() && base != memory.base {
            memory.base = base;
            found
        } else {
            Err(Fault::WentBack)
        }
    } else {
        found
    };
    app.audit.set_fault(found.as_ref().err().copied());
    if let Ok(found) = &found {
        app.audit.memory().head = Some(found.clone());
    }
    Ok(found)
}

/// Whether this head says that rows without a code are refused; `None` when it was not set with this key.
pub(super) fn requires_mac(key: &AuditKey, head: &ChainEnd) -> Option<bool> {
    [true, false]
        .into_iter()
        .find(|required| crypto::equal(&head.tag, &key.end(HEAD, head.seq, &head.mac, *required)))
}

/// The last row with which the chain began again, if there is one.
pub(super) async fn last_base(conn: &mut Conn, key: &AuditKey) -> Result<Option<AuditRow>> {
    let mut last: Option<AuditRow> = None;
    let mut after = 0;
    loop {
        let rows = conn.audit_of(Audit::AuditRebase, after, PAGE).await?;
        let Some(end) = rows.last().map(|row| row.id) else {
            return Ok(last);
        };
        after = end;
        for row in rows {
            let is_later = last.as_ref().is_none_or(|last| last.seq < row.seq);
            if is_later && is_base(key, &row) {
                last = Some(row);
            }
        }
    }
}

fn is_base(key: &AuditKey, row: &AuditRow) -> bool {
    let (Some(seq), Some(mac), Some(row_mac)) = (row.seq, &row.mac, &row.row_mac) else {
        return false;
    };
    let is_written = matches!(
        key.check(row),
        RowCode::Right {
            origin: MacOrigin::Written,
            ..
        }
    );
    is_written && crypto::equal(mac, &key.restart(seq, row.id, row_mac))
}

/// Which rows are sealed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Accept {
    /// Those with a right code.
    Coded,
    /// Those, and rows without one, as the version before writes them.
    Uncoded,
    /// All, also refused ones.
    All,
}

/// The end of the chain while it is sealed.
pub(super) struct Sealing {
    pub(super) seq: i64,
    pub(super) mac: Vec<u8>,
}

/// What became of a batch.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) sealed: usize,
    pub(super) refused: Vec<i64>,
    pub(super) is_full: bool,
}

impl Sealing {
    /// Seals a batch. `None`: another node has sealed some of it.
    pub(super) async fn seal_batch(
        &mut self,
        tx: &mut Conn,
        key: &AuditKey,
        accept: Accept,
        now: Timestamp,
    ) -> Result<Option<Batch>> {
        let rows = match accept {
            Accept::All => tx.unchained_audit(0, BATCH).await?,
            Accept::Coded | Accept::Uncoded => tx.unsealed_audit(BATCH).await?,
        };
        let mut batch = Batch {
            is_full: i64::try_from(rows.len()).unwrap_or(BATCH) == BATCH,
            ..Batch::default()
        };
        let (mut seals, mut adopted) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in &rows {
            let row_mac = match (key.check(row), &row.row_mac) {
                (
                    RowCode::Right {
                        origin: MacOrigin::Written,
                        is_blank: false,
                    },
                    Some(row_mac),
                ) => row_mac.clone(),
                (code, _)
                    if accept == Accept::All || (accept == Accept::Uncoded && code == RowCode::Missing) =>
                {
                    let signed = key.adopt(row);
                    let row_mac = signed.row_mac.to_vec();
                    adopted.push((row.id, signed));
                    row_mac
                }
                _ => {
                    batch.refused.push(row.id);
                    continue;
                }
            };
            seals.push(self.place(key, row.id, &row_mac));
        }
        tx.adopt_audit(&adopted).await?;
        tx.refuse_audit(&batch.refused, now).await?;
        batch.sealed = seals.len();
        if tx.seal_audit(&seals).await? != seals.len() as u64 {
            return Ok(None);
        }
        Ok(Some(batch))
    }

    /// Seals everything that is there.
    pub(super) async fn seal_all(
        &mut self,
        tx: &mut Conn,
        key: &AuditKey,
        accept: Accept,
        now: Timestamp,
    ) -> Result<()> {
        loop {
            let batch = self.seal_batch(tx, key, accept, now).await?;
            if !batch.ok_or_else(was_moved)?.is_full {
                return Ok(());
            }
        }
    }

    /// Writes a row and seals it; with `restart` the chain begins again with it.
    pub(super) async fn append(
        &mut self,
        tx: &mut Conn,
        key: &AuditKey,
        new: &NewAudit<'_>,
        restart: bool,
    ) -> Result<()> {
        let row = tx.insert_audit_row(new).await?;
        let row_mac = row.row_mac.unwrap_or_default();
        let mut seal = self.place(key, row.id, &row_mac);
        if restart {
            seal.mac = key.restart(seal.seq, row.id, &row_mac);
            self.mac = seal.mac.to_vec();
        }
        if tx.seal_audit(&[seal]).await? == 1 {
            Ok(())
        } else {
            Err(was_moved())
        }
    }

    fn place(&mut self, key: &AuditKey, id: i64, row_mac: &[u8]) -> Seal {
        self.seq += 1;
        let mac = key.link(&self.mac, self.seq, id, row_mac);
        self.mac = mac.to_vec();
        Seal {
            id,
            seq: self.seq,
            mac,
        }
    }

    pub(super) fn end(&self, key: &AuditKey, name: &str, mac_required: bool) -> ChainEnd {
        end(key, name, self.seq, self.mac.clone(), mac_required)
    }
}

pub(super) fn was_moved() -> Error {
    Error::unavailable(anyhow::anyhow!(
        "another node moved the audit trail's chain at the same moment; try again"
    ))
}

pub(super) fn refuse(fault: Fault) -> Error {
    Error::Internal(anyhow::anyhow!(
        "{}; `josoor-auth audit verify` shows what was found, `josoor-auth audit rebase` begins the chain again",
        fault.as_str()
    ))
}

/// A unit of work in which this process alone seals. A running sealer gives its lease up within seconds.
pub(super) async fn take_chain(app: &App) -> Result<Conn> {
    for _ in 0..100 {
        let mut tx = app.db.begin().await?;
        let now = app.clock.now();
        if tx
            .take_lease(LEASE, app.audit.holder, now, now.plus(LEASE_TIME))
            .await?
        {
            return Ok(tx);
        }
        drop(tx);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(Error::unavailable(anyhow::anyhow!(
        "another node seals the audit trail without a pause; try again"
    )))
}

/// An end of the chain, authenticated.
pub(super) fn end(key: &AuditKey, name: &str, seq: i64, mac: Vec<u8>, mac_required: bool) -> ChainEnd {
    let tag = key.end(name, seq, &mac, mac_required).to_vec();
    ChainEnd { seq, mac, tag }
}

pub(super) fn ids(ids: &[i64]) -> String {
    let named: Vec<_> = ids.iter().take(IDS_NAMED).map(ToString::to_string).collect();
    let more = if ids.len() > IDS_NAMED { " and more" } else { "" };
    format!("{}{more}", named.join(" "))
}

/// A head as it stands in the log and as `--head` takes it: `position:code`, the code in hexadecimal.
pub fn describe(end: &ChainEnd) -> String {
    let mut text = format!("{}:", end.seq);
    for byte in &end.mac {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Reads what [`describe`] wrote.
pub fn parse_head(text: &str) -> Option<(i64, Vec<u8>)> {
    let (seq, code) = text.trim().split_once(':')?;
    let seq = seq.parse().ok().filter(|seq| *seq > 0)?;
    if code.len() != 64 || !code.is_ascii() {
        return None;
    }
    let bytes = (0..32)
        .map(|at| u8::from_str_radix(&code[2 * at..2 * at + 2], 16).ok())
        .collect::<Option<Vec<u8>>>()?;
    Some((seq, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let end = ChainEnd {
            seq: 17,
            mac: (0..32).collect(),
            tag: Vec::new(),
        };
        assert_eq!(parse_head(&describe(&end)), Some((17, end.mac)));
        for text in [
            "",
            "1",
            "1:",
            "x:00",
            "0:",
            "-1:00",
            &format!("1:{}", "g".repeat(64)),
            &format!("1:{}", "é".repeat(32)),
        ] {
            assert_eq!(parse_head(text), None, "{text}");
        }
    }
}
