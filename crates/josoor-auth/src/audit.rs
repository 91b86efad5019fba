//! The audit trail: reading it, and the chain that shows when somebody else has written in it.
//!
//! Rows commit with their acts, without waiting for each other. One node, which holds a lease, comes by within a second and
//! seals what is new: each row gets the next position and a code (HMAC-SHA-256) over the row, its position and the code before.
//! So nobody without the key can change, remove, insert or swap a row unseen. The end of the chain can be cut off together with
//! the stored head; therefore heads are also written to the log, and `audit verify --head` compares with one of them.
//!
//! Rows past their retention go from the beginning of the chain. An anchor, authenticated under the same key, remembers the
//! position and code of the last one that went.

use std::fmt::Write as _;
use std::time::Duration;

use uuid::Uuid;

use crate::app::App;
use crate::crypto;
use crate::error::Result;
use crate::sessions::Client;
use crate::store::{Audit, AuditFilter, AuditRow, ChainEnd, NewAudit};
use crate::types::{Timestamp, UserId};

const HEAD: &str = "head";
const ANCHOR: &str = "anchor";

/// What the sealer's lease is called.
const LEASE: &str = "audit-sealer";

/// How long the sealer is this node's, unless it goes on: how late sealing can be after a crash.
const LEASE_TIME: Duration = Duration::from_secs(5);

/// Between two looks.
const EVERY: Duration = Duration::from_millis(400);

/// Rows sealed in one transaction; four bound values each stay below what both engines take.
const BATCH: i64 = 250;

/// Rows that a check has in memory.
const PAGE: i64 = 1000;

/// Heads go to the log this often at most.
const LOG_EVERY: Duration = Duration::from_mins(1);

/// An unsealed row that is older than this was left behind by a sealer that does not work.
const SEALED_WITHIN: Duration = Duration::from_mins(1);

/// How many rows a user is shown as counted.
const ACTIVITY_COUNTED: i64 = 1000;

/// Seals new rows for as long as the service runs.
pub async fn seal_regularly(app: App) {
    let holder = uuid::Builder::from_random_bytes(crypto::random_bytes()).into_uuid();
    let mut logged: Option<(Timestamp, i64)> = None;
    let mut failing = false;
    loop {
        match seal(&app, holder).await {
            Ok(head) => {
                if failing {
                    tracing::info!("the audit trail is sealed again");
                }
                failing = false;
                let now = app.clock.now();
                if let Some(head) = head {
                    let is_news = logged.is_none_or(|(at, seq)| head.seq > seq && now.since(at) >= LOG_EVERY);
                    if is_news {
                        tracing::info!(head = %describe(&head), "audit head");
                        logged = Some((now, head.seq));
                    }
                }
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(error = ?error, "the audit trail cannot be sealed; trying again");
                }
                failing = true;
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Seals what is new, if this node holds the lease or can take it. The head of the chain, where it was this node's work.
pub async fn seal(app: &App, holder: Uuid) -> Result<Option<ChainEnd>> {
    loop {
        // Without this look every node would write its lease at every round, on a database where nothing happens.
        if app.db.read().await?.unsealed_audit(1).await?.is_empty() {
            return Ok(None);
        }
        let mut tx = app.db.begin().await?;
        let now = app.clock.now();
        if !tx.take_lease(LEASE, holder, now, now.plus(LEASE_TIME)).await? {
            return Ok(None);
        }
        let rows = tx.unsealed_audit(BATCH).await?;
        let before = tx.chain_end(HEAD).await?;
        let (mut seq, mut mac) = match &before {
            Some(head) => (head.seq, head.mac.clone()),
            None => (0, Vec::new()),
        };
        let from = seq;
        let mut seals = Vec::with_capacity(rows.len());
        for row in &rows {
            seq += 1;
            let code = code_of(app, &mac, seq, row);
            seals.push((row.id, seq, code));
            mac = code.to_vec();
        }
        if seals.is_empty() {
            return Ok(before);
        }
        let head = end(app, HEAD, seq, mac);
        // Whoever has lost the lease meanwhile finds the head elsewhere, and undoes everything.
        if !tx.move_chain_end(HEAD, from, &head).await? || tx.seal_audit(&seals).await? != seals.len() as u64
        {
            return Ok(None);
        }
        tx.commit().await?;
        if i64::try_from(seals.len()).unwrap_or(BATCH) < BATCH {
            return Ok(Some(head));
        }
    }
}

/// An end of the chain, with the proof that it is ours.
fn end(app: &App, name: &str, seq: i64, mac: Vec<u8>) -> ChainEnd {
    let tag = tag_of(app, name, seq, &mac);
    ChainEnd {
        seq,
        mac,
        tag: tag.to_vec(),
    }
}

fn tag_of(app: &App, name: &str, seq: i64, mac: &[u8]) -> [u8; 32] {
    crypto::mac(
        app.keys.audit_key(),
        &[b"end", name.as_bytes(), &seq.to_be_bytes(), mac],
    )
}

/// The code of a row at a position: over the code before it, the position, and every column. A column that is null is no
/// part, one that is there begins with a 1, so that null and empty differ.
fn code_of(app: &App, before: &[u8], seq: i64, row: &AuditRow) -> [u8; 32] {
    fn text(value: Option<&str>) -> Vec<u8> {
        value.map_or_else(Vec::new, |value| [b"1", value.as_bytes()].concat())
    }
    fn number(value: Option<i64>) -> Vec<u8> {
        value.map_or_else(Vec::new, |value| [b"1".as_slice(), &value.to_be_bytes()].concat())
    }
    let session = row
        .session_id
        .map_or_else(Vec::new, |id| [b"1".as_slice(), id.as_bytes()].concat());
    crypto::mac(
        app.keys.audit_key(),
        &[
            b"row",
            before,
            &seq.to_be_bytes(),
            &row.id.to_be_bytes(),
            &row.at.as_micros().to_be_bytes(),
            row.action.as_bytes(),
            row.outcome.as_bytes(),
            &text(row.reason.as_deref()),
            &number(row.actor_id),
            &number(row.subject_id),
            &session,
            &text(row.ip.as_deref()),
            &text(row.user_agent.as_deref()),
            &text(row.request_id.as_deref()),
        ],
    )
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
    let (head, anchor) = (conn.chain_end(HEAD).await?, conn.chain_end(ANCHOR).await?);
    let mut find = |text: String| report.findings.push(text);
    for (name, end) in [(HEAD, &head), (ANCHOR, &anchor)] {
        if let Some(end) = end
            && !crypto::equal(&end.tag, &tag_of(app, name, end.seq, &end.mac))
        {
            find(format!(
                "the {name} at position {} was not set by this service",
                end.seq
            ));
        }
    }
    let (mut seq, mut mac) = anchor
        .as_ref()
        .map_or((0, Vec::new()), |anchor| (anchor.seq, anchor.mac.clone()));
    for row in conn.audit_before_anchor(seq, PAGE).await? {
        find(format!(
            "row {} stands at position {}, before the beginning of the chain",
            row.id,
            row.seq.unwrap_or_default()
        ));
    }
    let mut kept_seen = kept.is_none_or(|(position, _)| *position <= seq);
    if let Some((position, code)) = kept
        && *position == seq
        && *code != mac
    {
        find(format!(
            "the code of position {position} is not the one that was kept"
        ));
    }
    let mut checked = 0;
    let mut at = seq;
    loop {
        let rows = conn.sealed_audit(at, PAGE).await?;
        let full = i64::try_from(rows.len()).unwrap_or(PAGE) == PAGE;
        for row in rows {
            let place = row.seq.unwrap_or_default();
            at = place;
            if place != seq + 1 {
                find(if place == seq + 2 {
                    format!("the row at position {} is missing", seq + 1)
                } else {
                    format!("the rows at positions {} to {} are missing", seq + 1, place - 1)
                });
            }
            let stored = row.mac.clone().unwrap_or_default();
            let expected = code_of(app, &mac, place, &row);
            // After a gap the code before is not known, so this row's cannot be checked.
            if place == seq + 1 && !crypto::equal(&stored, &expected) {
                find(format!("row {} at position {place} was changed", row.id));
            }
            if let Some((position, code)) = kept
                && *position == place
            {
                kept_seen = true;
                if *code != stored {
                    find(format!(
                        "the code of position {place} is not the one that was kept"
                    ));
                }
            }
            seq = place;
            mac = stored;
            checked += 1;
        }
        if !full {
            break;
        }
    }
    match &head {
        Some(head) if head.seq > seq => {
            // The sealer may have gone on since the head was read; it never goes back.
            find(format!(
                "the chain ends at position {seq}, but its head is at {}: {} rows were cut off",
                head.seq,
                head.seq - seq
            ));
        }
        Some(head) if head.seq == seq && head.mac != mac => {
            find(format!("the head at position {seq} does not fit the last row"));
        }
        None if checked > 0 => find("the head of the chain is missing".to_owned()),
        _ => {}
    }
    if let (false, Some((position, _))) = (kept_seen, kept) {
        find(format!(
            "the chain ends at position {seq}, before the head that was kept ({position}): rows were cut off"
        ));
    }
    let unsealed = conn.unsealed_audit(PAGE).await?;
    let now = app.clock.now();
    let late = unsealed
        .iter()
        .filter(|row| now.since(row.at) > SEALED_WITHIN)
        .count();
    if late > 0 {
        report.findings.push(format!(
            "{late} rows have not been sealed for over a minute; is the service running?"
        ));
    }
    report.checked = checked;
    report.unsealed = unsealed.into_iter().map(|row| row.id).collect();
    report.head = head.as_ref().map(describe);
    Ok(report)
}

/// Removes rows past `before` from the beginning of the chain, up to `limit`, and moves the anchor with them. How many
/// went. What is not sealed stays.
pub async fn prune(app: &App, before: Timestamp, limit: i64) -> Result<u64> {
    let mut tx = app.db.begin().await?;
    let anchor = tx.chain_end(ANCHOR).await?;
    let from = anchor.as_ref().map_or(0, |anchor| anchor.seq);
    let rows = tx.sealed_audit(from, limit).await?;
    let Some(last) = rows.iter().take_while(|row| row.at < before).last() else {
        return Ok(0);
    };
    let (Some(seq), Some(mac)) = (last.seq, last.mac.clone()) else {
        return Ok(0);
    };
    let to = end(app, ANCHOR, seq, mac);
    if !tx.move_chain_end(ANCHOR, from, &to).await? {
        return Ok(0);
    }
    let gone = tx.delete_audit_through(seq).await?;
    tx.commit().await?;
    Ok(gone)
}

/// Rows that match, the latest first, and the cursor of the next page, if there is one.
pub async fn list(
    app: &App,
    filter: &AuditFilter,
    before: Option<i64>,
    limit: i64,
) -> Result<(Vec<AuditRow>, Option<i64>)> {
    let mut rows = app.db.read().await?.list_audit(filter, before, limit + 1).await?;
    let more = i64::try_from(rows.len()).is_ok_and(|count| count > limit);
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = rows.last().filter(|_| more).map(|row| row.id);
    Ok((rows, next))
}

/// One page of what happened to a user; how many rows there are, and whether that was counted to the end.
pub async fn activity(
    app: &App,
    user: UserId,
    page: i64,
    page_size: i64,
) -> Result<(Vec<AuditRow>, i64, bool)> {
    let offset = (page - 1).saturating_mul(page_size);
    let (rows, counted) = app
        .db
        .read()
        .await?
        .activity_of(user, page_size, offset, ACTIVITY_COUNTED + 1)
        .await?;
    Ok((rows, counted.min(ACTIVITY_COUNTED), counted > ACTIVITY_COUNTED))
}

/// Records that rows are written to a file or a download.
pub async fn record_export(app: &App, what: &str, client: &Client) -> Result<()> {
    let row = NewAudit {
        reason: Some(what),
        ..client.audit(Audit::Export, app.clock.now())
    };
    app.db.write().await?.insert_audit(&row).await
}

/// Records that the service starts with other settings than at its last start. A fingerprint is kept, no value.
pub async fn record_configuration(app: &App) -> Result<()> {
    let mut settings = String::new();
    for entry in app.config.sources() {
        // Writing to a String cannot fail.
        let _ = writeln!(settings, "{} = {}", entry.key, entry.value);
    }
    let print = app.keys.tag("configuration", &[settings.as_bytes()]);
    let print: String = print[..8].iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    let last = app
        .db
        .read()
        .await?
        .last_audit(Audit::ConfigurationChange)
        .await?;
    if last.is_some_and(|row| row.reason.as_deref() == Some(&print)) {
        return Ok(());
    }
    let nobody = Client::default();
    let row = NewAudit {
        reason: Some(&print),
        ..nobody.audit(Audit::ConfigurationChange, app.clock.now())
    };
    app.db.write().await?.insert_audit(&row).await
}

/// The header of an export as CSV.
pub const CSV_HEADER: [&str; 13] = [
    "id",
    "at",
    "action",
    "outcome",
    "reason",
    "actor_id",
    "subject_id",
    "session_id",
    "ip",
    "user_agent",
    "request_id",
    "seq",
    "mac",
];

/// A row as JSON, for lists and exports.
pub fn to_json(row: &AuditRow) -> serde_json::Value {
    serde_json::json!({
        "id": row.id,
        "at": row.at,
        "action": row.action,
        "outcome": row.outcome,
        "reason": row.reason,
        "actor_id": row.actor_id,
        "subject_id": row.subject_id,
        "session_id": row.session_id,
        "ip": row.ip,
        "user_agent": row.user_agent,
        "request_id": row.request_id,
        "seq": row.seq,
        "sealed": row.seq.is_some(),
    })
}

/// A text for a cell: one that a spreadsheet would compute gets an apostrophe before it.
pub fn csv_text(value: &str) -> String {
    if value.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{value}")
    } else {
        value.to_owned()
    }
}

/// A row of an export as CSV (RFC 4180).
pub fn to_csv(row: &AuditRow) -> Vec<u8> {
    let number = |value: Option<i64>| value.map_or_else(String::new, |value| value.to_string());
    let text = |value: &Option<String>| csv_text(value.as_deref().unwrap_or_default());
    let mac = row.mac.iter().flatten().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    });
    csv_line(&[
        row.id.to_string(),
        row.at.to_string(),
        row.action.clone(),
        row.outcome.clone(),
        text(&row.reason),
        number(row.actor_id),
        number(row.subject_id),
        row.session_id.map_or_else(String::new, |id| id.to_string()),
        text(&row.ip),
        text(&row.user_agent),
        text(&row.request_id),
        number(row.seq),
        mac,
    ])
}

/// One line of CSV.
pub fn csv_line<S: AsRef<[u8]>>(fields: &[S]) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    // Writing to memory cannot fail.
    let _ = writer.write_record(fields);
    writer.into_inner().unwrap_or_default()
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
