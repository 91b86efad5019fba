//! What authenticates the audit trail: a code for each row, made when the row is written, and the codes of the chain.
//!
//! All of them are HMAC-SHA-256 under one key, with a label that says what the code is for. The code of a row covers its nonce
//! and, by name, every column that is not null; so a column that is added later changes no code of an earlier row. Of what is
//! personal it covers a commitment, HMAC-SHA-256 under a salt that is stored beside the value: value and salt can be
//! erased, and the code stays right.

use uuid::Uuid;
use zeroize::Zeroizing;

use super::rows::{AuditRow, NewAudit};
use crate::crypto;

/// Where the code of a row comes from. The code itself covers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MacOrigin {
    /// The transaction of the act.
    Written,
    /// The sealer: a node of the version before wrote the row without a code.
    Adopted,
    /// An erasure, in a row that the version before had sealed in its own way.
    Erased,
}

impl MacOrigin {
    /// As stored.
    pub const fn as_number(self) -> i64 {
        match self {
            Self::Written => 0,
            Self::Adopted => 1,
            Self::Erased => 2,
        }
    }

    const fn from_number(number: i64) -> Option<Self> {
        match number {
            0 => Some(Self::Written),
            1 => Some(Self::Adopted),
            2 => Some(Self::Erased),
            _ => None,
        }
    }
}

/// What the code of a row says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowCode {
    /// There is none, as in rows of the version before.
    Missing,
    /// The row is as this service wrote it.
    Right {
        /// Where the code comes from.
        origin: MacOrigin,
        /// Something personal was erased from the row.
        is_blank: bool,
    },
    /// The row was changed, or this service did not write it.
    Wrong,
}

/// A code with what is stored beside it.
#[derive(Clone, Debug)]
pub struct Signed {
    /// Names the row in its code; no two rows have the same.
    pub nonce: Uuid,
    /// The code.
    pub row_mac: [u8; 32],
    /// 128 random bits, when there is a network address.
    pub ip_salt: Option<Vec<u8>>,
    /// 128 random bits, when there is a user agent.
    pub user_agent_salt: Option<Vec<u8>>,
}

/// What stands in a row once its personal values are gone.
#[derive(Clone, Debug)]
pub struct Blanked {
    /// The row's id.
    pub id: i64,
    /// The nonce: a new one where there was none.
    pub nonce: Option<Uuid>,
    /// The code.
    pub row_mac: Option<Vec<u8>>,
    /// Where the code comes from.
    pub origin: i64,
    /// The commitment to the network address.
    pub ip_commitment: Option<Vec<u8>>,
    /// The commitment to the user agent.
    pub user_agent_commitment: Option<Vec<u8>>,
}

/// The key of the audit trail. It comes from the master key, so it is not in the database, not even encrypted.
#[derive(Clone)]
pub struct AuditKey(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuditKey(…)")
    }
}

/// A personal column: its name, and what is stored for it.
struct Personal<'a> {
    name: &'static str,
    value: Option<&'a str>,
    salt: Option<&'a [u8]>,
    commitment: Option<&'a [u8]>,
}

/// What a code covers of a personal column.
enum Covered {
    Nothing,
    Value([u8; 32]),
    Blank(Vec<u8>),
}

impl Personal<'_> {
    fn covered(&self) -> Option<Covered> {
        match (self.value, self.salt, self.commitment) {
            (None, None, None) => Some(Covered::Nothing),
            (Some(value), Some(salt), None) if salt.len() == SALT => {
                Some(Covered::Value(commit(salt, self.name, value)))
            }
            (None, None, Some(commitment)) => Some(Covered::Blank(commitment.to_vec())),
            _ => None,
        }
    }
}

/// Bytes of a salt.
const SALT: usize = 16;

fn commit(salt: &[u8], name: &str, value: &str) -> [u8; 32] {
    crypto::mac(salt, &[name.as_bytes(), value.as_bytes()])
}

fn new_salt(value: Option<&str>) -> Option<Vec<u8>> {
    value.map(|_| crypto::random_bytes::<SALT>().to_vec())
}

/// The moment of the row and random bits, so that the index of nonces grows at its end.
fn new_nonce(micros: i64) -> Uuid {
    let millis = u64::try_from(micros / 1000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &crypto::random_bytes()).into_uuid()
}

/// Columns by name; a column that is null is not among them.
struct Columns(Vec<(&'static str, Vec<u8>)>);

impl Columns {
    fn text(&mut self, name: &'static str, value: Option<&str>) {
        self.bytes(name, value.map(str::as_bytes));
    }

    fn number(&mut self, name: &'static str, value: Option<i64>) {
        self.bytes(
            name,
            value.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice),
        );
    }

    fn bytes(&mut self, name: &'static str, value: Option<&[u8]>) {
        self.0.extend(value.map(|value| (name, value.to_vec())));
    }
}

impl AuditKey {
    /// The key of these bytes.
    pub const fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    fn code(&self, parts: &[&[u8]]) -> [u8; 32] {
        crypto::mac(&*self.0, parts)
    }

    fn code_of(&self, nonce: Uuid, columns: &Columns) -> [u8; 32] {
        let mut parts: Vec<&[u8]> = vec![b"audit-row", nonce.as_bytes()];
        for (name, value) in &columns.0 {
            parts.push(name.as_bytes());
            parts.push(value);
        }
        self.code(&parts)
    }

    /// Makes the code of a row that is about to be written.
    pub(super) fn sign(&self, new: &NewAudit<'_>) -> Signed {
        let nonce = new_nonce(new.at.as_micros());
        let (ip_salt, user_agent_salt) = (new_salt(new.ip), new_salt(new.user_agent));
        let mut columns = Columns(Vec::with_capacity(12));
        columns.number("at", Some(new.at.as_micros()));
        columns.text("action", Some(new.action.as_str()));
        columns.text("outcome", Some(new.outcome()));
        columns.text("reason", new.reason);
        columns.number("actor_id", new.actor.map(|id| id.0));
        columns.number("subject_id", new.subject.map(|id| id.0));
        columns.bytes(
            "session_id",
            new.session.as_ref().map(|id| id.0.as_bytes().as_slice()),
        );
        columns.text("request_id", new.request_id);
        columns.text("client_request_id", new.client_request_id);
        for (name, value, salt) in [
            ("ip", new.ip, &ip_salt),
            ("user_agent", new.user_agent, &user_agent_salt),
        ] {
            if let (Some(value), Some(salt)) = (value, salt) {
                columns.bytes(name, Some(&commit(salt, name, value)));
            }
        }
        Signed {
            nonce,
            row_mac: self.code_of(nonce, &columns),
            ip_salt,
            user_agent_salt,
        }
    }

    /// Makes a code for a row that was written without one, or with one of another key. What is blank stays so.
    pub fn adopt(&self, row: &AuditRow) -> Signed {
        let mut adopted = row.clone();
        adopted.nonce = Some(row.nonce.unwrap_or_else(|| new_nonce(row.at.as_micros())));
        adopted.mac_origin = MacOrigin::Adopted.as_number();
        adopted.ip_salt = new_salt(row.ip.as_deref());
        adopted.user_agent_salt = new_salt(row.user_agent.as_deref());
        if adopted.ip.is_some() {
            adopted.ip_commitment = None;
        }
        if adopted.user_agent.is_some() {
            adopted.user_agent_commitment = None;
        }
        let nonce = adopted.nonce.unwrap_or_default();
        Signed {
            nonce,
            row_mac: self
                .row_code(nonce, &adopted, MacOrigin::Adopted)
                .unwrap_or_default()
                .0,
            ip_salt: adopted.ip_salt,
            user_agent_salt: adopted.user_agent_salt,
        }
    }

    /// The code that a row ought to have, and whether something personal was erased from it; `None` when its personal columns
    /// do not fit together.
    fn row_code(&self, nonce: Uuid, row: &AuditRow, origin: MacOrigin) -> Option<([u8; 32], bool)> {
        let mut columns = Columns(Vec::with_capacity(14));
        columns.number("at", Some(row.at.as_micros()));
        columns.text("action", Some(&row.action));
        columns.text("outcome", Some(&row.outcome));
        columns.text("reason", row.reason.as_deref());
        columns.number("actor_id", row.actor_id);
        columns.number("subject_id", row.subject_id);
        columns.bytes(
            "session_id",
            row.session_id.as_ref().map(|id| id.as_bytes().as_slice()),
        );
        columns.text("request_id", row.request_id.as_deref());
        columns.text("client_request_id", row.client_request_id.as_deref());
        let mut is_blank = false;
        for personal in personal(row) {
            match personal.covered()? {
                Covered::Nothing => {}
                Covered::Value(commitment) => columns.bytes(personal.name, Some(&commitment)),
                Covered::Blank(commitment) => {
                    is_blank = true;
                    columns.bytes(personal.name, Some(&commitment));
                }
            }
        }
        match origin {
            MacOrigin::Written => {}
            MacOrigin::Adopted => columns.number("mac_origin", Some(origin.as_number())),
            MacOrigin::Erased => {
                // The chain's own code covered the values and cannot be computed again; so this one covers it.
                columns.number("mac_origin", Some(origin.as_number()));
                columns.number("id", Some(row.id));
                columns.number("seq", row.seq);
                columns.bytes("mac", row.mac.as_deref());
            }
        }
        Some((self.code_of(nonce, &columns), is_blank))
    }

    /// Checks the code of a row.
    pub fn check(&self, row: &AuditRow) -> RowCode {
        let (Some(nonce), Some(row_mac)) = (row.nonce, &row.row_mac) else {
            let has_parts = row.nonce.is_some()
                || row.row_mac.is_some()
                || row.mac_origin != 0
                || personal(row)
                    .iter()
                    .any(|personal| personal.salt.is_some() || personal.commitment.is_some());
            return if has_parts {
                RowCode::Wrong
            } else {
                RowCode::Missing
            };
        };
        let Some(origin) = MacOrigin::from_number(row.mac_origin) else {
            return RowCode::Wrong;
        };
        match self.row_code(nonce, row, origin) {
            Some((code, is_blank)) if crypto::equal(&code, row_mac) => RowCode::Right { origin, is_blank },
            _ => RowCode::Wrong,
        }
    }

    /// Takes what is personal out of a row. A row that has no code gets one when `is_right`, that is when its place in the
    /// chain has been checked; the code of a changed row stays wrong.
    pub fn blank(&self, row: &AuditRow, is_right: bool) -> Blanked {
        let mut blank = row.clone();
        let [ip, user_agent] = personal(row).map(|personal| match personal.covered() {
            Some(Covered::Nothing) => None,
            Some(Covered::Value(commitment)) => Some(commitment.to_vec()),
            Some(Covered::Blank(commitment)) => Some(commitment),
            // A salt that is not kept: no value can be compared with the commitment.
            None => personal
                .value
                .map(|value| commit(&crypto::random_bytes::<SALT>(), personal.name, value).to_vec()),
        });
        (blank.ip, blank.ip_salt, blank.ip_commitment) = (None, None, ip);
        (
            blank.user_agent,
            blank.user_agent_salt,
            blank.user_agent_commitment,
        ) = (None, None, user_agent);
        if row.row_mac.is_none() && is_right {
            let nonce = new_nonce(row.at.as_micros());
            blank.nonce = Some(nonce);
            blank.mac_origin = MacOrigin::Erased.as_number();
            blank.row_mac = self
                .row_code(nonce, &blank, MacOrigin::Erased)
                .map(|(code, _)| code.to_vec());
        }
        Blanked {
            id: blank.id,
            nonce: blank.nonce,
            row_mac: blank.row_mac,
            origin: blank.mac_origin,
            ip_commitment: blank.ip_commitment,
            user_agent_commitment: blank.user_agent_commitment,
        }
    }

    /// The code of a position of the chain: over the code of the position before, the row's id and the row's own code.
    pub fn link(&self, before: &[u8], seq: i64, id: i64, row_mac: &[u8]) -> [u8; 32] {
        self.code(&[
            b"audit-link",
            before,
            &seq.to_be_bytes(),
            &id.to_be_bytes(),
            row_mac,
        ])
    }

    /// The code of a position at which the chain begins again.
    pub fn restart(&self, seq: i64, id: i64, row_mac: &[u8]) -> [u8; 32] {
        self.code(&[b"audit-restart", &seq.to_be_bytes(), &id.to_be_bytes(), row_mac])
    }

    /// The code of a position as the version before made it: over every column. A column that is null is no part, one that
    /// is there begins with a 1, so that null and empty differ.
    pub fn previous_link(&self, before: &[u8], seq: i64, row: &AuditRow) -> [u8; 32] {
        fn text(value: Option<&str>) -> Vec<u8> {
            value.map_or_else(Vec::new, |value| [b"1", value.as_bytes()].concat())
        }
        fn number(value: Option<i64>) -> Vec<u8> {
            value.map_or_else(Vec::new, |value| [b"1".as_slice(), &value.to_be_bytes()].concat())
        }
        let session = row
            .session_id
            .map_or_else(Vec::new, |id| [b"1".as_slice(), id.as_bytes()].concat());
        self.code(&[
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
        ])
    }

    /// The code of an end of the chain, `head` or `anchor`. While rows without a code are still accepted it is made as the
    /// version before made it; afterwards the head's says that they no longer are.
    pub fn end(&self, name: &str, seq: i64, mac: &[u8], mac_required: bool) -> [u8; 32] {
        let label: &[u8] = if mac_required {
            b"end, codes required"
        } else {
            b"end"
        };
        self.code(&[label, name.as_bytes(), &seq.to_be_bytes(), mac])
    }
}

fn personal(row: &AuditRow) -> [Personal<'_>; 2] {
    [
        Personal {
            name: "ip",
            value: row.ip.as_deref(),
            salt: row.ip_salt.as_deref(),
            commitment: row.ip_commitment.as_deref(),
        },
        Personal {
            name: "user_agent",
            value: row.user_agent.as_deref(),
            salt: row.user_agent_salt.as_deref(),
            commitment: row.user_agent_commitment.as_deref(),
        },
    ]
}
