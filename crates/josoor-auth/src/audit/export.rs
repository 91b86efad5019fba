//! Rows as JSON and CSV.

use std::fmt::Write as _;

use crate::store::AuditRow;

/// The header of an export as CSV.
pub const CSV_HEADER: [&str; 14] = [
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
    "client_request_id",
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
        "client_request_id": row.client_request_id,
        "seq": row.seq,
        "sealed": row.seq.is_some(),
    })
}

/// A sealed row as other systems get it: also with the code that seals it, which is the head of the chain at that row.
pub(super) fn to_sealed_json(row: &AuditRow) -> serde_json::Value {
    let mut value = to_json(row);
    value["mac"] = hex(row.mac.as_deref().unwrap_or_default()).into();
    value
}

/// Bytes in hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// A text for a cell: one that a spreadsheet would compute gets an apostrophe before it. So does one that looks as if it had
/// got one, so that [`csv_plain`] gives back every text.
pub fn csv_text(value: &str) -> String {
    if is_computed(value) {
        format!("'{value}")
    } else {
        value.to_owned()
    }
}

/// The text of a cell that [`csv_text`] wrote.
pub fn csv_plain(cell: &str) -> &str {
    cell.strip_prefix('\'')
        .filter(|value| is_computed(value))
        .unwrap_or(cell)
}

/// Whether it begins, after apostrophes, like a formula.
fn is_computed(value: &str) -> bool {
    value
        .trim_start_matches('\'')
        .starts_with(['=', '+', '-', '@', '\t', '\r'])
}

/// A row of an export as CSV (RFC 4180).
pub fn to_csv(row: &AuditRow) -> Vec<u8> {
    let number = |value: Option<i64>| value.map_or_else(String::new, |value| value.to_string());
    let text = |value: &Option<String>| csv_text(value.as_deref().unwrap_or_default());
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
        text(&row.client_request_id),
        number(row.seq),
        hex(row.mac.as_deref().unwrap_or_default()),
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
    use proptest::prelude::*;

    use super::{csv_plain, csv_text};

    #[test]
    fn formulas_are_guarded_and_read_back() {
        for (text, cell) in [
            ("=1+1", "'=1+1"),
            ("+962", "'+962"),
            ("-x", "'-x"),
            ("@x", "'@x"),
            ("'=x", "''=x"),
            ("'s Gravenhage", "'s Gravenhage"),
            ("", ""),
        ] {
            assert_eq!(csv_text(text), cell);
            assert_eq!(csv_plain(cell), text);
        }
    }

    proptest! {
        #[test]
        fn every_text_is_read_back(text in "[='+@a-]{0,6}|\\PC{0,12}") {
            let cell = csv_text(&text);
            prop_assert_eq!(csv_plain(&cell), text.as_str());
        }
    }
}
