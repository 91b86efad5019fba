//! Reads the fields of one record.

use std::borrow::Cow;

use serde_json::{Map, Value};
use time::{Date, Month, PrimitiveDateTime, Time, UtcOffset};
use uuid::Uuid;

use super::hashes::any_hash;
use super::user::{Incoming, LARGEST_ID, Verified};
use crate::domain::{Email, FullName, Locale, PasswordHash, Timestamp, UserId};
use crate::error::{FieldError, Invalid};

/// The fields of a record by their names, as text or JSON.
pub(super) type Fields = Map<String, Value>;

pub(super) type Parsed<T> = Result<T, FieldError>;

/// Looks into the fields of a record. What is absent, null or a blank text is `None`.
pub(super) struct Get<'a>(pub(super) &'a Fields);

impl<'a> Get<'a> {
    pub(super) fn value(&self, name: &str) -> Option<&'a Value> {
        self.0
            .get(name)
            .filter(|value| !value.is_null() && value.as_str().is_none_or(|text| !text.trim().is_empty()))
    }

    pub(super) fn is_there(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    pub(super) fn wrong<T>(name: &str, code: &'static str, what: &str) -> Parsed<T> {
        Err(Invalid::new(code, what).in_field(name))
    }

    pub(super) fn text(&self, name: &str) -> Parsed<Option<&'a str>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Self::wrong(name, "wrong_type", "This has to be a text."),
        }
    }

    pub(super) fn email(&self, name: &str) -> Parsed<Email> {
        match self.text(name)? {
            Some(text) => Email::parse(text).map_err(|reason| reason.in_field(name)),
            None => Self::wrong(
                name,
                "email_missing",
                "There is no email address, and every account needs one.",
            ),
        }
    }

    pub(super) fn name(&self, name: &str) -> Parsed<SourceName> {
        SourceName::read(self.text(name)?.unwrap_or_default(), name)
    }

    /// Parts of a name, of which the first names the field.
    pub(super) fn name_of(&self, names: [&str; 2]) -> Parsed<SourceName> {
        let parts = [self.text(names[0])?, self.text(names[1])?];
        SourceName::read(
            &parts.into_iter().flatten().collect::<Vec<_>>().join(" "),
            names[0],
        )
    }

    pub(super) fn locale(&self, name: &str) -> Parsed<Option<Locale>> {
        let text = self.text(name)?;
        text.map(|text| text.parse::<Locale>().map_err(|reason| reason.in_field(name)))
            .transpose()
    }

    pub(super) fn id(&self, name: &str) -> Parsed<Option<UserId>> {
        let id = match self.value(name) {
            None => return Ok(None),
            Some(Value::Number(number)) => number.as_i64(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        match id {
            Some(id) if (1..=LARGEST_ID).contains(&id) => Ok(Some(UserId(id))),
            _ => Self::wrong(
                name,
                "invalid_id",
                "An id is a whole number from 1 to 9007199254740992.",
            ),
        }
    }

    pub(super) fn uid(&self, name: &str) -> Parsed<Option<Uuid>> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        match Uuid::try_parse(text.trim()) {
            Ok(uid) if !uid.is_nil() => Ok(Some(uid)),
            _ => Self::wrong(name, "invalid_uid", "A uid is a UUID that is not zero."),
        }
    }

    pub(super) fn flag(&self, name: &str) -> Parsed<Option<bool>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "t" | "1" | "yes" => Ok(Some(true)),
                "false" | "f" | "0" | "no" => Ok(Some(false)),
                _ => Self::wrong(name, "wrong_type", "This has to be true or false."),
            },
            Some(Value::Number(number)) if number.as_i64() == Some(1) => Ok(Some(true)),
            Some(Value::Number(number)) if number.as_i64() == Some(0) => Ok(Some(false)),
            Some(_) => Self::wrong(name, "wrong_type", "This has to be true or false."),
        }
    }

    pub(super) fn time(&self, name: &str) -> Parsed<Option<Timestamp>> {
        let text = match self.value(name) {
            None => return Ok(None),
            Some(Value::String(text)) => Some(text.as_str()),
            // As MongoDB's exports write times, of which Auth0's is one.
            Some(Value::Object(object)) => object.get("$date").and_then(Value::as_str),
            Some(_) => None,
        };
        match text.and_then(parse_time) {
            Some(at) => Ok(Some(at)),
            None => Self::wrong(
                name,
                "invalid_time",
                "A time is written like 2026-01-31T12:00:00Z and lies between the years 1970 and 9999.",
            ),
        }
    }

    /// PostgreSQL's `infinity` is a time to some: banned for ever.
    pub(super) fn time_or_infinity(&self, name: &str) -> Parsed<Option<Timestamp>> {
        if self.text(name)? == Some("infinity") {
            return Ok(Some(Timestamp::from_micros(i64::MAX)));
        }
        self.time(name)
    }

    /// Milliseconds since 1970.
    pub(super) fn millis(&self, name: &str) -> Parsed<Option<Timestamp>> {
        let millis = match self.value(name) {
            None => return Ok(None),
            Some(Value::Number(number)) => number.as_i64(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        let micros = millis.and_then(|millis: i64| millis.checked_mul(1000));
        match micros.filter(|micros| Timestamp::from_micros(*micros).as_micros() == *micros) {
            Some(micros) => Ok(Some(Timestamp::from_micros(micros))),
            None => Self::wrong(
                name,
                "invalid_time",
                "A time here is a number of milliseconds since 1970.",
            ),
        }
    }

    pub(super) fn hash(&self, name: &str) -> Parsed<Result<Option<PasswordHash>, Invalid>> {
        let text = self.text(name)?;
        Ok(text.map_or(Ok(None), any_hash))
    }

    /// The source's own id, as text.
    pub(super) fn source_id(&self, names: &[&str]) -> Option<String> {
        let value = names.iter().find_map(|name| self.value(name))?;
        let text = match value {
            Value::String(text) => text.trim(),
            Value::Number(number) => return Some(number.to_string()),
            // As MongoDB's exports write ids.
            Value::Object(object) => object.get("$oid")?.as_str()?,
            _ => return None,
        };
        Some(text.chars().take(128).collect())
    }

    /// An object, or a text that is one in JSON.
    pub(super) fn object(&self, name: &str) -> Parsed<Option<Cow<'a, Fields>>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(Cow::Borrowed(object))),
            Some(Value::String(text)) if text.trim() == "null" => Ok(None),
            Some(Value::String(text)) => match serde_json::from_str(text) {
                Ok(object) => Ok(Some(Cow::Owned(object))),
                Err(_) => Self::wrong(name, "wrong_type", "This has to be a JSON object."),
            },
            Some(_) => Self::wrong(name, "wrong_type", "This has to be a JSON object."),
        }
    }

    /// A list, or a text that is one in JSON.
    pub(super) fn list(&self, name: &str) -> Parsed<Cow<'a, [Value]>> {
        match self.value(name) {
            None => Ok(Cow::Borrowed(&[])),
            Some(Value::Array(values)) => Ok(Cow::Borrowed(values)),
            Some(Value::String(text)) => match serde_json::from_str(text) {
                Ok(values) => Ok(Cow::Owned(values)),
                Err(_) => Self::wrong(name, "wrong_type", "This has to be a JSON list."),
            },
            Some(_) => Self::wrong(name, "wrong_type", "This has to be a JSON list."),
        }
    }

    pub(super) fn array(&self, name: &str) -> Parsed<&'a [Value]> {
        match self.value(name) {
            None => Ok(&[]),
            Some(Value::Array(values)) => Ok(values),
            Some(_) => Self::wrong(name, "wrong_type", "This has to be a list."),
        }
    }
}

/// A name from a source, cut where it is longer than one may be.
#[derive(Debug, Default)]
pub(super) struct SourceName {
    pub(super) value: Option<FullName>,
    /// That it was cut.
    pub(super) warning: Option<FieldError>,
}

impl SourceName {
    fn read(text: &str, field: &str) -> Parsed<Self> {
        let (value, was_cut) = FullName::parse_shortened(text).map_err(|reason| reason.in_field(field))?;
        let message = format!(
            "A name has at most {} characters; it was cut.",
            FullName::MAX_CHARACTERS
        );
        let warning = was_cut.then(|| Invalid::new("name_shortened", message).in_field(field));
        Ok(Self { value, warning })
    }

    /// This one, or the other where there is none.
    pub(super) fn or(self, other: Self) -> Self {
        if self.value.is_some() { self } else { other }
    }

    /// The same of a field inside another one.
    pub(super) fn inside(self, outer: &str) -> Self {
        let warning = self.warning.map(|mut warning| {
            warning.field.insert_str(0, outer);
            warning
        });
        Self { warning, ..self }
    }

    /// Into the user that it is of.
    pub(super) fn given_to(self, user: Incoming) -> Incoming {
        Incoming {
            full_name: self.value,
            warnings: self.warning.into_iter().collect(),
            ..user
        }
    }
}

/// A value that may be a number, a text with one, or a list of either, as Keycloak writes them.
pub(super) fn number(value: Option<&Value>) -> Option<u32> {
    match value? {
        Value::Number(number) => u32::try_from(number.as_u64()?).ok(),
        Value::String(text) => text.parse().ok(),
        Value::Array(values) => number(values.first()),
        _ => None,
    }
}

/// Reads RFC 3339, and what PostgreSQL, SQLite and Python make of times: a space for the `T`, a short or no offset (then it
/// is UTC), no seconds, a date alone. Outside of the years 1970 to 9999 there is nothing.
fn parse_time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if !text.is_ascii() || text.len() < 10 {
        return None;
    }
    let digits = |text: &str| -> Option<u32> {
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.parse().ok())
            .flatten()
    };
    let (date, rest) = text.split_at(10);
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if (year.len(), month.len(), day.len()) != (4, 2, 2) {
        return None;
    }
    let small = |text: &str| digits(text).and_then(|number| u8::try_from(number).ok());
    let month = Month::try_from(small(month)?).ok()?;
    let date = Date::from_calendar_date(i32::try_from(digits(year)?).ok()?, month, small(day)?).ok()?;
    let (time, offset) = if rest.is_empty() {
        (Time::MIDNIGHT, UtcOffset::UTC)
    } else {
        let rest = rest.strip_prefix(['T', 't', ' '])?;
        let at = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
        let (clock, offset) = rest.split_at(at);
        let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
        let mut parts = clock.trim().split(':');
        let (hour, minute) = (small(parts.next()?)?, small(parts.next()?)?);
        let second = parts.next().map_or(Some(0), small)?;
        if parts.next().is_some() || fraction.len() > 9 {
            return None;
        }
        digits(fraction)?;
        let micros = digits(format!("{fraction:0<6}").get(..6)?)?;
        let time = Time::from_hms_micro(hour, minute, second, micros).ok()?;
        let offset = match offset {
            "" | "Z" | "z" => UtcOffset::UTC,
            signed => {
                let sign = if signed.starts_with('-') { -1 } else { 1 };
                let digits_only = signed[1..].replace(':', "");
                if !matches!(digits_only.len(), 2 | 4) {
                    return None;
                }
                let hours = i8::try_from(small(&digits_only[..2])?).ok()?;
                let minutes = if digits_only.len() == 4 {
                    i8::try_from(small(&digits_only[2..])?).ok()?
                } else {
                    0
                };
                UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()?
            }
        };
        (time, offset)
    };
    let at = PrimitiveDateTime::new(date, time).assume_offset(offset);
    let micros = i64::try_from(at.unix_timestamp_nanos() / 1000).ok()?;
    let at = Timestamp::from_micros(micros);
    (at.as_micros() == micros).then_some(at)
}

/// A name from a file, short and quoted, for a message.
pub(super) fn shown(name: &str) -> String {
    format!("{:?}", name.chars().take(40).collect::<String>())
}

pub(super) fn verified(flag: Option<bool>) -> Verified {
    match flag {
        Some(true) => Verified::Yes,
        Some(false) => Verified::No,
        None => Verified::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn time(text: &str) -> Option<String> {
        parse_time(text).map(|at| at.to_string())
    }

    #[test]
    fn times_are_read_as_other_programs_write_them() {
        for (text, expected) in [
            ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05.000000Z"),
            ("2024-01-02t03:04:05.123456789z", "2024-01-02T03:04:05.123456Z"),
            ("2024-01-02 03:04:05.1+00", "2024-01-02T03:04:05.100000Z"),
            ("2024-01-02 03:04:05-0330", "2024-01-02T06:34:05.000000Z"),
            ("2024-01-02 03:04:05+03:00", "2024-01-02T00:04:05.000000Z"),
            ("2024-01-02 03:04", "2024-01-02T03:04:00.000000Z"),
            (" 2024-02-29 ", "2024-02-29T00:00:00.000000Z"),
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(time(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            "2024",
            "2023-02-29",
            "2024-1-2 03:04:05",
            "2024-01-02X03:04:05",
            "2024-01-02 25:00:00",
            "2024-01-02 03:04:05 UTC",
            "2024-01-02 03:04:05+3",
            "2024-01-02 03:04:05+99:00",
            "2024-01-02 03:04:05:06",
            "2024-01-02 03:04:05.",
            "2024-01-02 +3:04:05",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "٢٠٢٤-٠١-٠٢",
            "infinity",
            "1704164645",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn values_are_read_in_each_form_and_no_other() {
        let fields = json!({ "a": "TRUE", "b": 0, "c": "maybe", "d": 2, "e": "", "f": null, "id": " 7 ", "big": 1.5, "role": "ADMIN",
            "at": 1_700_000_000_123_i64, "end": "9223372036854775807", "json": "{\"x\":1}", "list": "[1]" });
        let fields = fields.as_object().unwrap();
        let get = Get(fields);
        assert_eq!((get.flag("a"), get.flag("b")), (Ok(Some(true)), Ok(Some(false))));
        assert!(get.flag("c").is_err() && get.flag("d").is_err());
        assert_eq!(
            (get.flag("e"), get.flag("f"), get.flag("g")),
            (Ok(None), Ok(None), Ok(None))
        );
        assert_eq!(get.id("id").unwrap().unwrap().0, 7);
        assert_eq!(get.id("big").unwrap_err().code, "invalid_id");
        assert_eq!(get.source_id(&["none", "id"]).as_deref(), Some("7"));
        assert_eq!(
            get.millis("at").unwrap().unwrap(),
            Timestamp::from_micros(1_700_000_000_123_000)
        );
        assert_eq!(get.millis("end").unwrap_err().code, "invalid_time");
        assert_eq!(get.object("json").unwrap().unwrap()["x"], 1);
        assert_eq!(get.object("list").unwrap_err().code, "wrong_type");
        assert_eq!(*get.list("list").unwrap(), [json!(1)]);
        assert_eq!(get.list("json").unwrap_err().code, "wrong_type");
        assert!(get.list("f").unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_a_time_or_none(text in "\\PC{0,40}|[0-9TZ: +.-]{8,32}") {
            if let Some(at) = parse_time(&text) {
                prop_assert_eq!(parse_time(&at.to_string()), Some(at));
            }
        }
    }
}
