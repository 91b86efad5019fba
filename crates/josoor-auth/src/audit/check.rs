//! Checking the whole chain.

use super::chain::{
    ANCHOR, BEGUN, HEAD, MAC_REQUIRED, PAGE, SEALED_WITHIN, describe, ids, last_base, requires_mac,
};
use super::erase::Erasures;
use crate::app::App;
use crate::crypto;
use crate::domain::Audit;
use crate::error::Result;
use crate::store::{AuditKey, AuditRow, ChainEnd, Conn, MacOrigin, RowCode};

/// What a check of the chain found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Rows whose place in the chain was checked.
    pub checked: u64,
    /// The present head, to keep elsewhere.
    pub head: Option<String>,
    /// What is wrong, in the order of the chain. Empty: nothing is.
    pub findings: Vec<String>,
    /// The ids of rows that are not in the chain yet, up to a thousand.
    pub unsealed: Vec<i64>,
    /// The ids of rows that this service did not write, up to a thousand.
    pub refused: Vec<i64>,
    /// Rows that came from nodes of the version before, without a code of their own.
    pub adopted: u64,
    /// Rows from which something personal was erased, as a later row says.
    pub erased: u64,
    /// Whether rows without a code are refused.
    pub mac_required: bool,
    /// When and why the chain began again; rows before that were not checked.
    pub rebased: Option<String>,
}

/// A walk along the chain.
pub(super) struct Walk<'k> {
    pub(super) key: &'k AuditKey,
    /// The position and code that come before.
    pub(super) seq: i64,
    pub(super) mac: Vec<u8>,
    /// The position at which the chain begins again; 0 where it does not.
    pub(super) base: i64,
    /// Rows after this position carry a code from the transaction of their act.
    pub(super) boundary: Option<i64>,
    /// A row with a code of its own was passed.
    pub(super) is_coded: bool,
}

/// What one step of a walk found.
#[derive(Default)]
pub(super) struct Step {
    pub(super) findings: Vec<String>,
    pub(super) is_blank: bool,
    pub(super) is_adopted: bool,
}

impl<'k> Walk<'k> {
    pub(super) async fn begin(
        conn: &mut Conn,
        key: &'k AuditKey,
        anchor: Option<&ChainEnd>,
    ) -> Result<Walk<'k>> {
        let base = last_base(conn, key).await?.and_then(|base| base.seq).unwrap_or(0);
        let (seq, mac) = match anchor {
            Some(anchor) if anchor.seq >= base => (anchor.seq, anchor.mac.clone()),
            _ if base > 0 => (base - 1, Vec::new()),
            _ => (0, Vec::new()),
        };
        Ok(Self {
            key,
            seq,
            mac,
            base,
            boundary: None,
            is_coded: false,
        })
    }

    pub(super) fn step(&mut self, row: &AuditRow) -> Step {
        let mut step = Step::default();
        let place = row.seq.unwrap_or_default();
        let follows = place == self.seq + 1;
        if !follows {
            step.findings.push(if place == self.seq + 2 {
                format!("the row at position {} is missing", self.seq + 1)
            } else {
                format!(
                    "the rows at positions {} to {} are missing",
                    self.seq + 1,
                    place - 1
                )
            });
        }
        let stored = row.mac.clone().unwrap_or_default();
        let mut find = |what: &str| {
            step.findings
                .push(format!("row {} at position {place} {what}", row.id));
        };
        // After a gap the code before is not known, so this position's cannot be checked.
        let fits = |expected: [u8; 32]| !follows || crypto::equal(&stored, &expected);
        match (self.key.check(row), &row.row_mac) {
            (RowCode::Right { origin, is_blank }, Some(row_mac)) => {
                step.is_blank = is_blank;
                if origin == MacOrigin::Erased {
                    if self.is_coded {
                        find("was sealed by the version before, after the upgrade");
                    }
                } else {
                    self.is_coded = true;
                    let expected = if place == self.base {
                        self.key.restart(place, row.id, row_mac)
                    } else {
                        self.key.link(&self.mac, place, row.id, row_mac)
                    };
                    if !fits(expected) {
                        find("was changed");
                    }
                    step.is_adopted = origin == MacOrigin::Adopted;
                    if step.is_adopted && self.boundary.is_some_and(|boundary| place > boundary) {
                        find("came without a code, after codes were required");
                    }
                }
            }
            (RowCode::Missing, _) => {
                if self.is_coded {
                    find("was sealed by the version before, after the upgrade");
                } else if !fits(self.key.previous_link(&self.mac, place, row)) {
                    find("was changed");
                }
            }
            _ => find("was changed"),
        }
        self.seq = place;
        self.mac = stored;
        step
    }
}

/// Checks the whole chain, page by page, and with `kept` also that it still holds what was the head at another time.
pub async fn verify(app: &App, kept: Option<&(i64, Vec<u8>)>) -> Result<Report> {
    for _ in 0..3 {
        let before = app.db.read().await?.chain_end(ANCHOR).await?;
        let report = verify_once(app, kept).await?;
        // Rows that went past their retention meanwhile would look like missing ones.
        if app.db.read().await?.chain_end(ANCHOR).await? == before {
            return Ok(report);
        }
    }
    verify_once(app, kept).await
}

async fn verify_once(app: &App, kept: Option<&(i64, Vec<u8>)>) -> Result<Report> {
    let mut report = Report::default();
    let mut conn = app.db.read().await?;
    let key = conn.audit_key()?;
    let (head, anchor) = (conn.chain_end(HEAD).await?, conn.chain_end(ANCHOR).await?);
    let mut findings = Vec::new();
    let required = head.as_ref().and_then(|head| requires_mac(&key, head));
    match (&head, required) {
        (None, _) => findings.push("the head of the chain is missing".to_owned()),
        (Some(head), None) => findings.push(format!(
            "the head at position {} was not set with this master key",
            head.seq
        )),
        _ => {}
    }
    report.mac_required = required == Some(true);
    if let Some(anchor) = &anchor {
        let expected = key.end(ANCHOR, anchor.seq, &anchor.mac, false);
        if !crypto::equal(&anchor.tag, &expected) {
            findings.push(format!(
                "the anchor at position {} was not set with this master key",
                anchor.seq
            ));
        }
    }
    for row in conn
        .audit_before_anchor(anchor.as_ref().map_or(0, |anchor| anchor.seq), PAGE)
        .await?
    {
        findings.push(format!(
            "row {} stands at position {}, before the beginning of the chain",
            row.id,
            row.seq.unwrap_or_default()
        ));
    }
    if !app.db.has_audit_index().await? {
        findings.push(
            "the unique index audit_nonce is missing; without it a row can be written again with its code"
                .to_owned(),
        );
        for id in conn.repeated_audit().await? {
            findings.push(format!("row {id} repeats another row"));
        }
    }
    let mut walk = Walk::begin(&mut conn, &key, anchor.as_ref()).await?;
    if walk.base > walk.seq {
        report.rebased = conn.audit_at(walk.base).await?.map(|row| {
            format!(
                "position {} at {}: {}",
                walk.base,
                row.at,
                row.reason.unwrap_or_default()
            )
        });
    }
    walk.boundary = boundary(&mut conn, &walk, report.mac_required).await?;
    let erasures = Erasures::read(&mut conn, &key).await?;
    let mut at = walk.seq;
    loop {
        let rows = conn.sealed_audit(at, PAGE).await?;
        let full = i64::try_from(rows.len()).unwrap_or(PAGE) == PAGE;
        for row in &rows {
            at = row.seq.unwrap_or_default();
            let step = walk.step(row);
            findings.extend(step.findings);
            if step.is_blank {
                if erasures.name(row) {
                    report.erased += 1;
                } else {
                    findings.push(format!(
                        "row {} at position {at} lost what was personal in it, and no erasure names it",
                        row.id
                    ));
                }
            }
            report.adopted += u64::from(step.is_adopted);
            report.checked += 1;
        }
        if !full {
            break;
        }
    }
    match &head {
        Some(head) if head.seq > walk.seq => {
            // The sealer may have gone on since the head was read; it never goes back.
            findings.push(format!(
                "the chain ends at position {}, but its head is at {}: {} rows were cut off",
                walk.seq,
                head.seq,
                head.seq - walk.seq
            ));
        }
        Some(head) if head.seq == walk.seq && head.mac != walk.mac => {
            findings.push(format!(
                "the head at position {} does not fit the last row",
                walk.seq
            ));
        }
        _ => {}
    }
    if let Some(kept) = kept {
        findings.extend(compare(&mut conn, kept, anchor.as_ref(), walk.seq).await?);
    }
    verify_unsealed(app, &mut conn, &key, &mut report, &mut findings).await?;
    report.findings = findings;
    report.head = head.as_ref().map(describe);
    Ok(report)
}

/// From which position on every row has a code from the transaction of its act.
async fn boundary(conn: &mut Conn, walk: &Walk<'_>, required: bool) -> Result<Option<i64>> {
    if walk.base > walk.seq {
        return Ok(Some(walk.base));
    }
    let first = conn
        .audit_of(Audit::AuditBoundary, 0, PAGE)
        .await?
        .into_iter()
        .filter(|row| matches!(row.reason.as_deref(), Some(BEGUN | MAC_REQUIRED)))
        .filter_map(|row| row.seq)
        .filter(|seq| *seq > walk.seq)
        .min();
    // Where the row that says so is past its retention, so is every row before it.
    Ok(first.or_else(|| required.then_some(walk.seq)))
}

/// What is wrong with a head that was kept.
async fn compare(
    conn: &mut Conn,
    (position, code): &(i64, Vec<u8>),
    anchor: Option<&ChainEnd>,
    last: i64,
) -> Result<Option<String>> {
    let stored = match (conn.audit_at(*position).await?, anchor) {
        (Some(row), _) => row.mac,
        (None, Some(anchor)) if anchor.seq == *position => Some(anchor.mac.clone()),
        (None, Some(anchor)) if anchor.seq > *position => return Ok(None),
        _ => None,
    };
    Ok(match stored {
        Some(stored) if stored == *code => None,
        None if *position > last => Some(format!(
            "the chain ends at position {last}, before the head that was kept ({position}): rows were cut off"
        )),
        _ => Some(format!(
            "the code of position {position} is not the one that was kept"
        )),
    })
}

/// Checks what is not in the chain.
async fn verify_unsealed(
    app: &App,
    conn: &mut Conn,
    key: &AuditKey,
    report: &mut Report,
    findings: &mut Vec<String>,
) -> Result<()> {
    let listed = usize::try_from(PAGE).unwrap_or(usize::MAX);
    let (mut after, mut late, mut refused) = (0, 0_u64, 0_u64);
    loop {
        let rows = conn.unchained_audit(after, PAGE).await?;
        let now = app.clock.now();
        let Some(end) = rows.last().map(|row| row.id) else {
            break;
        };
        after = end;
        for row in rows {
            let is_ours = match key.check(&row) {
                RowCode::Right { origin, is_blank } => origin == MacOrigin::Written && !is_blank,
                RowCode::Missing => !report.mac_required,
                RowCode::Wrong => false,
            };
            if is_ours && row.refused_at.is_none() {
                late += u64::from(now.since(row.at) > SEALED_WITHIN);
                report.unsealed.push(row.id);
                report.unsealed.truncate(listed);
            } else if is_ours {
                findings.push(format!(
                    "row {} is marked as refused, though its code is right",
                    row.id
                ));
            } else {
                refused += 1;
                report.refused.push(row.id);
                report.refused.truncate(listed);
            }
        }
    }
    if refused > 0 {
        findings.push(format!(
            "{refused} rows were not written by this service (no code, or a wrong one): {}",
            ids(&report.refused)
        ));
    }
    if late > 0 {
        findings.push(format!(
            "{late} rows have not been sealed for over a minute; is the service running?"
        ));
    }
    Ok(())
}
