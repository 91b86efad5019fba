//! The fields of a request: its JSON body or its query string, read strictly.
//!
//! A handler asks for the fields that it knows, with the parser of their type, and [`Fields::finish`] reports everything that
//! is wrong at once. Fields that were not asked for are refused, and so are members that a JSON text names twice (RFC 8259, 4,
//! leaves open which of them would count).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use crate::domain::{Change, Secret};
use crate::error::{Error, FieldError, Invalid};
use crate::http::response::codes;
use crate::http::response::problem::Problem;

/// How many complaints of one kind an answer lists; a body of 64 KiB could earn thousands.
const MAX_COMPLAINTS: usize = 32;

/// How much of an unknown field's name an answer repeats, in characters.
const MAX_ECHO: usize = 64;

/// A JSON value. Texts are wiped when dropped, because one of them may be a password.
enum Value {
    Null,
    Bool(bool),
    /// `None` for anything but a whole number of 64 bits.
    Number(Option<i64>),
    Text(Zeroizing<String>),
    List(Vec<Value>),
    Object(BTreeMap<String, Value>),
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;

        impl<'de> Visitor<'de> for ValueVisitor {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Bool(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(Value::Number(i64::try_from(value).ok()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::Number(Some(value)))
            }

            #[expect(
                clippy::cast_possible_truncation,
                reason = "a whole number that a double has exactly"
            )]
            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                // 7.0 is a whole number (JSON Schema, 6.1.1).
                let is_whole = value.fract() == 0.0 && value.abs() <= EXACT_AT_MOST;
                Ok(Value::Number(is_whole.then_some(value as i64)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(Value::Text(Zeroizing::new(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Value::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = entries.next_entry::<String, Value>()? {
                    if members.insert(name, value).is_some() {
                        return Err(de::Error::custom("duplicate member"));
                    }
                }
                Ok(Value::Object(members))
            }
        }

        deserializer.deserialize_any(ValueVisitor)
    }
}

impl From<Value> for serde_json::Value {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => value.into(),
            Value::Number(number) => number.into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.into_iter().map(Self::from).collect(),
            Value::Object(members) => members
                .into_iter()
                .map(|(name, value)| (name, Self::from(value)))
                .collect(),
        }
    }
}

/// Every whole number up to it is a double.
const EXACT_AT_MOST: f64 = 9_007_199_254_740_992.0;

/// Where fields stand, which decides how they are read and what they are called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Body,
    Query,
    Form,
}

/// The fields of a request that are still to be asked for, and what was wrong with those already asked for.
pub struct Fields {
    source: Source,
    members: BTreeMap<String, Value>,
    complaints: Vec<FieldError>,
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names alone: one of the values may be a password.
        f.debug_set().entries(self.members.keys()).finish()
    }
}

impl Fields {
    /// No fields at all.
    pub(super) fn empty(source: Source) -> Self {
        Self {
            source,
            members: BTreeMap::new(),
            complaints: Vec::new(),
        }
    }

    /// Reads a JSON object (RFC 8259): UTF-8 without byte order mark, no member twice at any depth, at most 128
    /// levels, nothing behind it. Anything else is `malformed_json`; another JSON value than an object is an
    /// `invalid_type` of the field with the empty name.
    pub fn from_json(text: &[u8]) -> Result<Self, Problem> {
        let text = std::str::from_utf8(text)
            .map_err(|_| Problem::new(&codes::MALFORMED_JSON, "The body is not UTF-8."))?;
        if text.starts_with('\u{feff}') {
            return Err(Problem::new(
                &codes::MALFORMED_JSON,
                "The body starts with a byte order mark. Send plain UTF-8.",
            ));
        }
        let value: Value = serde_json::from_str(text).map_err(|error| {
            // The parser's own message may quote the text, which may be a password; the position is safe.
            let (line, column) = (error.line(), error.column());
            let what = match error.classify() {
                serde_json::error::Category::Data => "names a member twice",
                serde_json::error::Category::Eof => "breaks off",
                _ => "is not valid JSON",
            };
            Problem::new(
                &codes::MALFORMED_JSON,
                format!("The body {what} at line {line}, column {column}."),
            )
        })?;
        match value {
            Value::Object(members) => Ok(Self {
                members,
                ..Self::empty(Source::Body)
            }),
            _ => Err(Error::invalid(
                "",
                Invalid::new("invalid_type", "The body has to be a JSON object."),
            )
            .into()),
        }
    }

    /// Reads a query string (`application/x-www-form-urlencoded`): UTF-8 behind the percent-encoding, or `bad_request`;
    /// no parameter twice and no U+0000.
    pub fn from_query(query: &str) -> Result<Self, Problem> {
        let mut fields = Self::empty(Source::Query);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode_component(name)?, decode_component(value)?);
            let complaint = if value.contains('\0') || name.contains('\0') {
                Some(Invalid::new(
                    "invalid_characters",
                    "The character U+0000 is not allowed.",
                ))
            } else if fields.members.contains_key(name.as_ref()) {
                Some(Invalid::new("duplicate", "A parameter may be given once."))
            } else {
                None
            };
            if let Some(complaint) = complaint {
                fields.complain(&shorten(&name), complaint);
            }
            fields
                .members
                .insert(name.into_owned(), Value::Text(Zeroizing::new(value.into_owned())));
        }
        Ok(fields)
    }

    /// Reads a submitted form (`application/x-www-form-urlencoded`): as a query string, but a field that was left empty counts as absent,
    /// and an address is read without the spaces around it.
    pub fn from_form(form: &str) -> Result<Self, Problem> {
        let mut fields = Self::from_query(form)?;
        fields.source = Source::Form;
        fields
            .members
            .retain(|_, value| !matches!(value, Value::Text(text) if text.is_empty()));
        if let Some(Value::Text(email)) = fields.members.get_mut("email") {
            *email = Zeroizing::new(email.trim().to_owned());
        }
        Ok(fields)
    }

    /// The text of a field, which is still to be asked for.
    pub fn peek(&self, name: &str) -> Option<&str> {
        match self.members.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Takes a text out, as it is.
    pub fn take(&mut self, name: &str) -> Option<Secret> {
        match self.members.remove(name) {
            Some(Value::Text(text)) => Some(Secret::new(text.as_str())),
            _ => None,
        }
    }

    /// A text that has to be there. `None` means that the complaint is noted and [`finish`](Self::finish) will fail.
    pub fn required<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        match self.members.remove(name) {
            None | Some(Value::Null) => {
                self.complain(name, Invalid::new("required", "This field is required."));
                None
            }
            Some(value) => self.text(name, &value, parse),
        }
    }

    /// A text that may be absent or `null`.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        match self.members.remove(name) {
            None | Some(Value::Null) => None,
            Some(value) => self.text(name, &value, parse),
        }
    }

    /// A text that may be absent, but not `null`: what it says cannot be taken away.
    pub fn optional_text<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        let value = self.members.remove(name)?;
        self.text(name, &value, parse)
    }

    /// A text that a PATCH can leave, empty or set.
    pub fn optional_nullable<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Change<T> {
        match self.members.remove(name) {
            None => Change::Keep,
            Some(Value::Null) => Change::Clear,
            Some(value) => self.text(name, &value, parse).map_or(Change::Keep, Change::Set),
        }
    }

    /// A truth value that may be absent, but not `null`: `true` or `false`, in a query string as these words.
    pub fn bool(&mut self, name: &'static str) -> Option<bool> {
        match (self.source, self.members.remove(name)) {
            (_, None) => None,
            (_, Some(Value::Bool(value))) => Some(value),
            (Source::Query, Some(Value::Text(text))) if matches!(text.as_str(), "true" | "false") => {
                Some(text.as_str() == "true")
            }
            _ => {
                self.complain(
                    name,
                    Invalid::new("invalid_type", "This has to be true or false."),
                );
                None
            }
        }
    }

    /// The whole numbers of a list that has to be there; `None` for an item that is none.
    pub fn required_numbers<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(Vec<Option<i64>>) -> Result<T, Invalid>,
    ) -> Option<T> {
        let parsed = match self.members.remove(name) {
            None | Some(Value::Null) => Err(Invalid::new("required", "This field is required.")),
            Some(Value::List(items)) => {
                let number = |item: &Value| match item {
                    Value::Number(number) => *number,
                    _ => None,
                };
                parse(items.iter().map(number).collect())
            }
            Some(_) => Err(Invalid::new("invalid_type", "This has to be a list of numbers.")),
        };
        parsed.map_err(|reason| self.complain(name, reason)).ok()
    }

    /// A JSON value that has to be there, of which a part alone is read. In a form it is a text.
    pub fn required_json<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(serde_json::Value) -> Result<T, Invalid>,
    ) -> Option<T> {
        if matches!(self.members.get(name), None | Some(Value::Null)) {
            self.members.remove(name);
            self.complain(name, Invalid::new("required", "This field is required."));
            return None;
        }
        self.optional_json(name, parse)
    }

    /// The same, where it may be absent or `null`.
    pub fn optional_json<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(serde_json::Value) -> Result<T, Invalid>,
    ) -> Option<T> {
        let json = match self.members.remove(name) {
            None | Some(Value::Null) => return None,
            Some(Value::Text(text)) if self.source == Source::Form => serde_json::from_str(&text).ok(),
            Some(value @ Value::Object(_)) if self.source == Source::Body => Some(value.into()),
            Some(_) => None,
        };
        let parsed = json
            .ok_or_else(|| Invalid::new("invalid_type", "This has to be an object."))
            .and_then(parse);
        parsed.map_err(|reason| self.complain(name, reason)).ok()
    }

    /// The fields of an object that has to be there and not to be empty. What is wrong with them is reported as `name.field`.
    pub fn required_object<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T> {
        let members = match self.members.remove(name) {
            Some(Value::Object(members)) if !members.is_empty() => members,
            None | Some(Value::Null | Value::Object(_)) => {
                self.complain(name, Invalid::new("required", "This field is required."));
                return None;
            }
            Some(_) => {
                self.complain(name, Invalid::new("invalid_type", "This has to be an object."));
                return None;
            }
        };
        let mut inner = Self {
            members,
            ..Self::empty(self.source)
        };
        let value = read(&mut inner);
        for complaint in inner.complaints {
            let reason = Invalid::new(complaint.code, complaint.message);
            self.complain(&format!("{name}.{}", complaint.field), reason);
        }
        // What was not asked for is unknown here, too.
        for (member, value) in inner.members {
            self.members.insert(format!("{name}.{member}"), value);
        }
        value
    }

    /// Notes a complaint that concerns more than one field or is found later.
    pub fn complain(&mut self, name: &str, reason: Invalid) {
        if self.complaints.len() < MAX_COMPLAINTS {
            self.complaints.push(reason.in_field(name));
        }
    }

    fn text<T>(
        &mut self,
        name: &'static str,
        value: &Value,
        parse: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        let parsed = match value {
            Value::Text(text) => parse(text),
            _ => Err(Invalid::new("invalid_type", "This has to be a text.")),
        };
        match parsed {
            Ok(parsed) => Some(parsed),
            Err(reason) => {
                self.complain(name, reason);
                None
            }
        }
    }

    /// Rejects the request if it has fields that were not asked for ([`Error::UnknownFields`], with these first, because
    /// the other complaints may only come from a misspelt name) or if any field was unacceptable ([`Error::Invalid`]).
    pub fn finish(self) -> Result<(), Error> {
        if !self.members.is_empty() {
            let message = match self.source {
                Source::Body | Source::Form => "There is no such field here.",
                Source::Query => "There is no such parameter here.",
            };
            let unknown = self
                .members
                .keys()
                .take(MAX_COMPLAINTS)
                .map(|name| Invalid::new("unknown_field", message).in_field(shorten(name)))
                .chain(self.complaints)
                .take(MAX_COMPLAINTS)
                .collect();
            return Err(Error::UnknownFields(unknown));
        }
        if self.complaints.is_empty() {
            Ok(())
        } else {
            Err(Error::Invalid(self.complaints))
        }
    }

    /// [`finish`](Self::finish), then the values that are certain to be there:
    /// `let (email, password) = fields.finish_with(|| Some((email?, password?)))?;`
    pub fn finish_with<T>(self, values: impl FnOnce() -> Option<T>) -> Result<T, Error> {
        self.finish()?;
        values().ok_or_else(|| Error::internal(anyhow::anyhow!("a field is missing without a complaint")))
    }
}

/// The beginning of a name that a client chose, for an answer.
fn shorten(name: &str) -> String {
    name.chars().take(MAX_ECHO).collect()
}

/// Undoes percent-encoding and `+` (WHATWG URL, 5.1), but refuses what that section would guess at.
fn decode_component(text: &str) -> Result<Cow<'_, str>, Problem> {
    let refuse = || {
        Problem::new(
            &codes::BAD_REQUEST,
            "The query string or the form is not percent-encoded UTF-8.",
        )
    };
    let hex_follows = |(at, _): (usize, &str)| {
        text.as_bytes()
            .get(at + 1..at + 3)
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !text.match_indices('%').all(hex_follows) {
        return Err(refuse());
    }
    let spaced = if text.contains('+') {
        Cow::Owned(text.replace('+', " "))
    } else {
        Cow::Borrowed(text)
    };
    let decoded = percent_encoding::percent_decode_str(&spaced)
        .decode_utf8()
        .map_err(|_| refuse())?;
    Ok(Cow::Owned(decoded.into_owned()))
}

#[cfg(test)]
mod tests;
