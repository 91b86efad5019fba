//! The order of a list of users, and places in it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sqlx::QueryBuilder;

use super::engine::Engine;
use super::user::User;
use crate::domain::{Timestamp, UserId};

/// The order of a list. Ties are broken by id, so that pages neither repeat nor miss a user. It is the same on both engines: texts are
/// compared byte by byte, names by the key that they were given when they were written
/// ([`SearchKeys`](crate::domain::SearchKeys)). Who has no name comes last, whichever way the names run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserSort {
    /// The column.
    key: SortKey,
    /// Largest first.
    descending: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SortKey {
    Id,
    Email,
    FullName,
    Role,
    CreatedAt,
    UpdatedAt,
}

impl UserSort {
    /// By id, ascending.
    pub const BY_ID: Self = Self {
        key: SortKey::Id,
        descending: false,
    };

    /// What a list may be sorted by.
    pub const NAMES: [&'static str; 6] = ["id", "email", "full_name", "role", "created_at", "updated_at"];

    /// Reads `created_at` or `-created_at`.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
        let key = match name {
            "id" => SortKey::Id,
            "email" => SortKey::Email,
            "full_name" => SortKey::FullName,
            "role" => SortKey::Role,
            "created_at" => SortKey::CreatedAt,
            "updated_at" => SortKey::UpdatedAt,
            _ => return None,
        };
        Some(Self { key, descending })
    }

    /// The name that [`parse`](Self::parse) reads, without the direction.
    const fn name(self) -> &'static str {
        match self.key {
            SortKey::Id => "id",
            SortKey::Email => "email",
            SortKey::FullName => "full_name",
            SortKey::Role => "role",
            SortKey::CreatedAt => "created_at",
            SortKey::UpdatedAt => "updated_at",
        }
    }

    /// The column in the table of users.
    pub(super) const fn key(self) -> &'static str {
        match self.key {
            SortKey::Id => "users.id",
            SortKey::Email => "users.email_key",
            SortKey::FullName => "users.name_key",
            SortKey::Role => "users.role",
            SortKey::CreatedAt => "users.created_at",
            SortKey::UpdatedAt => "users.updated_at",
        }
    }

    /// Whether the engine may compare it by other rules than bytes.
    pub(super) const fn is_text(self) -> bool {
        matches!(self.key, SortKey::Email)
    }

    pub(super) const fn is_by_name(self) -> bool {
        matches!(self.key, SortKey::FullName)
    }

    /// The order of a range as SQL has it, for both engines alike, and so that an index gives it in either direction.
    pub(super) fn order(self, id: &str, key: &str, range: &Range) -> String {
        let direction = if self.descending { "desc" } else { "asc" };
        match self.key {
            SortKey::Id => format!(" order by {id} {direction}"),
            SortKey::FullName if matches!(range, Range::From(_)) => {
                format!(" order by {}, {key} {direction}, {id} {direction}", nameless(key))
            }
            _ => format!(" order by {key} {direction}, {id} {direction}"),
        }
    }

    const fn comparison(self) -> &'static str {
        if self.descending { "<" } else { ">" }
    }
}

/// As the indexes of names begin.
fn nameless(key: &str) -> String {
    format!("(case when {key} is null then 1 else 0 end)")
}

/// A place in an order: after a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserCursor {
    /// The user.
    id: i64,
    /// The order and the user's key in it when the cursor was made. With it the place stays the same when the user is changed or
    /// removed; without it the user is looked up.
    place: Option<(SortKey, CursorKey)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum CursorKey {
    /// The id alone, or a user without a name.
    None,
    Text(String),
    Bytes(Vec<u8>),
    Time(Timestamp),
}

impl UserCursor {
    pub(super) fn of(user: &User, sort: UserSort, name_key: Option<Vec<u8>>) -> Self {
        let key = match sort.key {
            SortKey::Id => CursorKey::None,
            SortKey::Email => CursorKey::Text(user.email_key.clone()),
            SortKey::FullName => name_key.map_or(CursorKey::None, CursorKey::Bytes),
            SortKey::Role => CursorKey::Text(user.role.as_str().to_owned()),
            SortKey::CreatedAt => CursorKey::Time(user.created_at),
            SortKey::UpdatedAt => CursorKey::Time(user.updated_at),
        };
        Self {
            id: user.id.0,
            place: Some((sort.key, key)).filter(|(key, _)| *key != SortKey::Id),
        }
    }

    pub(super) const fn user(&self) -> UserId {
        UserId(self.id)
    }

    /// The key in this order, if it is known.
    fn key_in(&self, sort: UserSort) -> Option<&CursorKey> {
        match &self.place {
            _ if sort.key == SortKey::Id => Some(&CursorKey::None),
            Some((of, key)) if *of == sort.key => Some(key),
            _ => None,
        }
    }

    /// Whether its place in this order is known.
    pub(super) fn is_of(&self, sort: UserSort) -> bool {
        self.key_in(sort).is_some()
    }

    /// Reads what [`Display`](fmt::Display) writes, or an id alone.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let digits = parts.next()?;
        if digits.bytes().any(|byte| !byte.is_ascii_digit()) {
            return None;
        }
        let id = digits.parse().ok().filter(|id| *id > 0)?;
        let Some(name) = parts.next() else {
            return Some(Self { id, place: None });
        };
        let sort = UserSort::parse(name).filter(|sort| !sort.descending)?.key;
        let bytes = match parts.next() {
            Some(part) => Some(URL_SAFE_NO_PAD.decode(part).ok()?),
            None => None,
        };
        let as_text = |bytes: Vec<u8>| String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
        let key = match (sort, bytes) {
            (SortKey::FullName, None) => CursorKey::None,
            (SortKey::FullName, Some(bytes)) => CursorKey::Bytes(bytes),
            (SortKey::Email | SortKey::Role, Some(bytes)) => CursorKey::Text(as_text(bytes)?),
            (SortKey::CreatedAt | SortKey::UpdatedAt, Some(bytes)) => {
                let micros = i64::from_be_bytes(bytes.try_into().ok()?);
                // Years with four digits, which both engines have.
                let years = -62_135_596_800_000_000..=253_402_300_799_999_999;
                CursorKey::Time(Timestamp::from_micros(
                    Some(micros).filter(|at| years.contains(at))?,
                ))
            }
            _ => return None,
        };
        parts.next().is_none().then_some(Self {
            id,
            place: Some((sort, key)),
        })
    }
}

/// The id, the name of the order and the key, in characters that need no escaping in a URL.
impl fmt::Display for UserCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)?;
        let Some((key, place)) = &self.place else {
            return Ok(());
        };
        let sort = UserSort {
            key: *key,
            descending: false,
        };
        write!(f, ".{}", sort.name())?;
        let encoded = match place {
            CursorKey::None => return Ok(()),
            CursorKey::Text(text) => URL_SAFE_NO_PAD.encode(text),
            CursorKey::Bytes(bytes) => URL_SAFE_NO_PAD.encode(bytes),
            CursorKey::Time(time) => URL_SAFE_NO_PAD.encode(time.as_micros().to_be_bytes()),
        };
        write!(f, ".{encoded}")
    }
}

/// Where a page begins.
#[derive(Clone, Debug)]
pub enum Start {
    /// After so many users.
    Offset(i64),
    /// After this place of the order.
    After(UserCursor),
}

/// A part of an order, which an index gives from its beginning on.
#[derive(Clone, Debug)]
pub(super) enum Range {
    /// After so many users.
    From(i64),
    /// After this place; of those who have a name, if the order is by name.
    After(UserCursor),
    /// Those without a name, after this id if there is one.
    Nameless(Option<i64>),
}

impl Range {
    /// The parts that follow a start, one after another.
    pub(super) fn all(sort: UserSort, start: &Start) -> Vec<Self> {
        match start {
            Start::Offset(offset) => vec![Self::From(*offset)],
            Start::After(cursor) if !sort.is_by_name() => vec![Self::After(cursor.clone())],
            Start::After(cursor) if cursor.key_in(sort) == Some(&CursorKey::None) => {
                vec![Self::Nameless(Some(cursor.id))]
            }
            Start::After(cursor) => vec![Self::After(cursor.clone()), Self::Nameless(None)],
        }
    }

    pub(super) fn push_condition<E: Engine>(
        &self,
        query: &mut QueryBuilder<E>,
        sort: UserSort,
        id: &str,
        key: &str,
    ) {
        let comparison = sort.comparison();
        match self {
            Self::From(_) => {}
            Self::Nameless(after) => {
                query.push(format!(" and {} = 1 and {key} is null", nameless(key)));
                if let Some(after) = after {
                    query.push(format!(" and {id} {comparison} "));
                    E::push_number(query, *after);
                }
            }
            Self::After(cursor) => {
                if sort.is_by_name() {
                    query.push(format!(" and {} = 0", nameless(key)));
                }
                let place = cursor.key_in(sort).unwrap_or(&CursorKey::None);
                if *place == CursorKey::None {
                    query.push(format!(" and {id} {comparison} "));
                    E::push_number(query, cursor.id);
                    return;
                }
                query.push(format!(" and ({key}, {id}) {comparison} ("));
                match place {
                    CursorKey::None => {}
                    CursorKey::Text(text) => E::push_text(query, text.clone()),
                    CursorKey::Bytes(bytes) => E::push_bytes(query, bytes.clone()),
                    CursorKey::Time(time) => E::push_time(query, *time),
                }
                query.push(", ");
                E::push_number(query, cursor.id);
                query.push(")");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CursorKey, SortKey, UserCursor, UserSort};
    use crate::domain::Timestamp;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let time = Timestamp::from_micros(1_790_000_000_000_001);
        for place in [
            None,
            Some((SortKey::FullName, CursorKey::None)),
            Some((SortKey::FullName, CursorKey::Bytes("ليلي".into()))),
            Some((SortKey::FullName, CursorKey::Bytes(Vec::new()))),
            Some((
                SortKey::Email,
                CursorKey::Text("a@xn--bcher-kva.example".to_owned()),
            )),
            Some((SortKey::UpdatedAt, CursorKey::Time(time))),
        ] {
            let cursor = UserCursor { id: 4711, place };
            let text = cursor.to_string();
            assert!(
                text.chars()
                    .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)),
                "{text}"
            );
            assert_eq!(UserCursor::parse(&text), Some(cursor), "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_cursors() {
        for text in [
            "",
            "0",
            "-1",
            "+1",
            "1.",
            "1.id",
            "1.id.eA",
            "1.-email.eA",
            "1.email",
            "1.email.*",
            "1.email.AA",
            "1.name.eA",
            "1.role._w",
            "1.created_at.eA",
            "1.created_at.f_________8",
            "1.email.eA.eA",
            "99999999999999999999",
            "a",
        ] {
            assert_eq!(UserCursor::parse(text), None, "{text}");
        }
        let by_email = UserSort::parse("-email").expect("an order");
        let cursor = UserCursor::parse("7.email.eA").expect("a cursor");
        assert!(cursor.is_of(by_email) && cursor.is_of(UserSort::BY_ID));
        assert!(!cursor.is_of(UserSort::parse("role").expect("an order")));
    }
}
