//! Erasing what is personal.

use std::collections::BTreeMap;

use super::chain::{ANCHOR, BATCH, PAGE, last_base};
use crate::act::Client;
use crate::app::App;
use crate::crypto;
use crate::domain::{Audit, UserId};
use crate::error::Result;
use crate::store::{AuditKey, AuditRow, Conn, NewAudit, RowCode};

/// What [`erase`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erased {
    /// Rows from which something was erased.
    pub rows: u64,
    /// Rows about the person that are not in the chain yet; erase again once they are.
    pub waiting: u64,
}

/// Erases what is personal (network addresses, user agents) from the sealed rows about a user, deleted or not.
/// The chain stays whole. Each step writes a row that names the positions and the actor.
///
/// Rows of other people's acts on the account, such as an administrator's, hold what is theirs and stay.
pub async fn erase(app: &App, user: UserId, client: &Client) -> Result<Erased> {
    let mut erased = Erased { rows: 0, waiting: 0 };
    loop {
        let mut tx = app.db.begin().await?;
        let rows = tx.personal_audit_of(user, BATCH).await?;
        if rows.is_empty() {
            let waiting = tx.count_unsealed_of(user).await?;
            erased.waiting = u64::try_from(waiting).unwrap_or_default();
            return Ok(erased);
        }
        let key = tx.audit_key()?;
        let base = last_base(&mut tx, &key).await?.and_then(|base| base.seq);
        let mut blanked = Vec::with_capacity(rows.len());
        for row in &rows {
            let is_right = match (key.check(row), row.seq) {
                (RowCode::Missing, Some(seq)) if base.is_none_or(|base| seq > base) => {
                    let before = code_before(&mut tx, seq).await?;
                    let expected = key.previous_link(&before, seq, row);
                    crypto::equal(row.mac.as_deref().unwrap_or_default(), &expected)
                }
                _ => false,
            };
            blanked.push(key.blank(row, is_right));
        }
        tx.blank_audit(&blanked).await?;
        let positions = ranges(rows.iter().filter_map(|row| row.seq));
        let mut row = NewAudit {
            reason: Some(&positions),
            subject: Some(user),
            ..client.audit(Audit::AuditErase, app.clock.now())
        };
        if client.actor == Some(user) {
            // Else each erasure would write what the next one has to erase.
            (row.ip, row.user_agent) = (None, None);
        }
        tx.insert_audit(&row).await?;
        tx.commit().await?;
        erased.rows += rows.len() as u64;
    }
}

/// The code of the position before this one.
async fn code_before(conn: &mut Conn, seq: i64) -> Result<Vec<u8>> {
    if let Some(row) = conn.audit_at(seq - 1).await? {
        return Ok(row.mac.unwrap_or_default());
    }
    let anchor = conn.chain_end(ANCHOR).await?;
    Ok(anchor
        .filter(|anchor| anchor.seq == seq - 1)
        .map_or_else(Vec::new, |anchor| anchor.mac))
}

/// Positions as they stand in an erasure: `3-5 9`.
fn ranges(positions: impl Iterator<Item = i64>) -> String {
    let mut all: Vec<(i64, i64)> = Vec::new();
    for position in positions {
        match all.last_mut() {
            Some((_, to)) if *to + 1 == position => *to = position,
            _ => all.push((position, position)),
        }
    }
    let texts: Vec<_> = all
        .into_iter()
        .map(|(from, to)| {
            if from == to {
                from.to_string()
            } else {
                format!("{from}-{to}")
            }
        })
        .collect();
    texts.join(" ")
}

/// Reads what [`ranges`] wrote.
fn parse_ranges(text: &str) -> Option<Vec<(i64, i64)>> {
    text.split_whitespace()
        .map(|range| {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            Some((from.parse().ok()?, to.parse().ok()?))
        })
        .collect()
}

/// Positions whose personal values were erased: from, to, whose, and the position of the row that says so.
#[derive(Default)]
pub(super) struct Erasures(BTreeMap<i64, (i64, Option<i64>, i64)>);

impl Erasures {
    pub(super) async fn read(conn: &mut Conn, key: &AuditKey) -> Result<Self> {
        let mut all = Self::default();
        let mut after = 0;
        loop {
            let rows = conn.audit_of(Audit::AuditErase, after, PAGE).await?;
            let Some(end) = rows.last().map(|row| row.id) else {
                return Ok(all);
            };
            after = end;
            for row in rows {
                if matches!(key.check(&row), RowCode::Right { .. }) {
                    let ranges = row.reason.as_deref().and_then(parse_ranges).unwrap_or_default();
                    let at = row.seq.unwrap_or(i64::MAX);
                    all.0.extend(
                        ranges
                            .into_iter()
                            .map(|(from, to)| (from, (to, row.subject_id, at))),
                    );
                }
            }
        }
    }

    /// Whether the row's position was erased by a later row, for the same person.
    pub(super) fn name(&self, row: &AuditRow) -> bool {
        let seq = row.seq.unwrap_or_default();
        let person = row.actor_id.or(row.subject_id);
        self.0
            .range(..=seq)
            .next_back()
            .is_some_and(|(_, (to, subject, at))| *to >= seq && *at > seq && *subject == person)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_they_were_written() {
        let text = ranges([1, 2, 3, 7, 9, 10].into_iter());
        assert_eq!(text, "1-3 7 9-10");
        assert_eq!(parse_ranges(&text), Some(vec![(1, 3), (7, 7), (9, 10)]));
        assert_eq!(parse_ranges("1-x"), None);
        assert_eq!(parse_ranges("all"), None);
    }
}
