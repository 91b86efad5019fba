//! One parser for each kind of value. None of them repeats a value that could be, or could hold, a secret.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use strum::VariantArray;

use super::raw::{Parsed, Raw, refused, shown};

/// Text as it stands, also the empty one.
pub(super) fn any_text(raw: &Raw) -> Parsed<&str> {
    match raw {
        Raw::Text(text) => Ok(text),
        Raw::Number(_) | Raw::Fraction(_) | Raw::Boolean(_) => {
            refused("this takes a text", "put the value in quotes")
        }
        Raw::List(_) => refused("this takes one text, not a list", "give one text in quotes"),
        Raw::Other(kind) => refused(format!("this takes a text, not {kind}"), "give a text in quotes"),
    }
}

/// Text that is not blank.
pub(super) fn text(raw: &Raw) -> Parsed<&str> {
    match any_text(raw)?.trim() {
        "" => refused("this cannot be left empty", "give a value, or leave the key out"),
        text => Ok(text),
    }
}

/// Nothing when the value is `""`.
pub(super) fn optional<T>(raw: &Raw, parse: impl FnOnce(&Raw) -> Parsed<T>) -> Parsed<Option<T>> {
    if raw.is_unset() {
        Ok(None)
    } else {
        parse(raw).map(Some)
    }
}

/// Each item of a list; in one text they are separated by commas or white space.
pub(super) fn list<T>(raw: &Raw, parse: impl Fn(&str) -> Parsed<T>) -> Parsed<Vec<T>> {
    match raw {
        Raw::List(items) => items.iter().map(|item| parse(item.trim())).collect(),
        Raw::Text(text) => text
            .split(|char: char| char == ',' || char.is_whitespace())
            .filter(|item| !item.is_empty())
            .map(parse)
            .collect(),
        _ => refused("this takes a list of texts", "write [\"one\", \"two\"]"),
    }
}

/// A path of a file.
pub(super) fn path(raw: &Raw) -> Parsed<PathBuf> {
    Ok(PathBuf::from(text(raw)?))
}

pub(super) fn truth(raw: &Raw) -> Parsed<bool> {
    match raw {
        Raw::Boolean(truth) => Ok(*truth),
        Raw::Text(text) if text.trim() == "true" => Ok(true),
        Raw::Text(text) if text.trim() == "false" => Ok(false),
        _ => refused("this is neither true nor false", "write true or false"),
    }
}

/// One of a few words.
pub(super) fn choice<T: Copy>(raw: &Raw, words: &[(&str, T)]) -> Parsed<T> {
    let given = match raw {
        Raw::Number(digits) => digits.as_str(),
        _ => text(raw)?,
    };
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == given) {
        return Ok(*value);
    }
    let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    refused(
        format!("{:?} is not one of the possible values", shown(given)),
        format!("write one of {}", words.join(", ")),
    )
}

/// A variant by its name.
pub(super) fn variant<T: Copy + VariantArray + Into<&'static str>>(raw: &Raw) -> Parsed<T> {
    let words: Vec<_> = T::VARIANTS.iter().map(|one| ((*one).into(), *one)).collect();
    choice(raw, &words)
}

/// A whole number within `range`.
pub(super) fn whole<T: TryFrom<u64>>(raw: &Raw, range: RangeInclusive<u64>) -> Parsed<T> {
    let digits = match raw {
        Raw::Number(digits) => digits.as_str(),
        Raw::Text(text) => text.trim(),
        _ => "",
    };
    digits
        .parse::<u64>()
        .ok()
        .filter(|number| range.contains(number))
        .and_then(|number| T::try_from(number).ok())
        .map_or_else(
            || {
                refused(
                    format!(
                        "this is not a whole number from {} to {}",
                        range.start(),
                        range.end()
                    ),
                    "write a number within that range",
                )
            },
            Ok,
        )
}

/// A number from 0 to 1.
pub(super) fn ratio(raw: &Raw) -> Parsed<f64> {
    let given = match raw {
        Raw::Number(digits) | Raw::Fraction(digits) => digits.as_str(),
        Raw::Text(text) => text.trim(),
        _ => "",
    };
    match given.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => refused(
            "this is not a number from 0 to 1",
            "write 1 for all, 0.1 for one in ten, or 0 for none",
        ),
    }
}

const UNITS: [(&str, u64); 6] = [
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// A duration within `range`; numbers without a unit are refused, because `30` has meant seconds, minutes and
/// milliseconds to different programs.
pub(super) fn duration(raw: &Raw, range: RangeInclusive<Duration>) -> Parsed<Duration> {
    let given = match raw {
        Raw::Number(digits) => digits.as_str(),
        _ => text(raw)?,
    };
    let duration = duration_of(given)?;
    if range.contains(&duration) {
        return Ok(duration);
    }
    refused(
        format!("{} is out of range", spoken(duration)),
        format!(
            "write a duration from {} to {}",
            spoken(*range.start()),
            spoken(*range.end())
        ),
    )
}

/// A duration within `range`, or `never`.
pub(super) fn duration_or_never(raw: &Raw, range: RangeInclusive<Duration>) -> Parsed<Option<Duration>> {
    match raw {
        Raw::Text(text) if text.trim() == "never" => Ok(None),
        _ => duration(raw, range).map(Some),
    }
}

pub(super) fn duration_of(given: &str) -> Parsed<Duration> {
    let digits_end = given
        .find(|char: char| !char.is_ascii_digit())
        .unwrap_or(given.len());
    let (digits, unit) = given.split_at(digits_end);
    if !digits.is_empty() && unit.is_empty() {
        return refused(
            format!("{} has no unit", shown(digits)),
            format!("write {}s if seconds are meant", shown(digits)),
        );
    }
    let unit = unit.trim();
    let millis = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .and_then(|(_, millis)| Some((digits.parse::<u64>().ok()?, millis)));
    match millis.map(|(count, unit)| count.checked_mul(*unit)) {
        Some(Some(millis)) => Ok(Duration::from_millis(millis)),
        Some(None) => refused("this duration is too long", "write a shorter one"),
        None => refused(
            format!("{:?} is not a duration", shown(given)),
            "write a whole number and one of ms, s, m, h, d, w, such as 30s",
        ),
    }
}

/// A duration in the largest unit that holds it whole.
pub(super) fn spoken(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    let days = |unit: &&(&str, u64)| unit.0 != "w";
    UNITS
        .iter()
        .filter(days)
        .find(|(_, unit)| millis.is_multiple_of(*unit))
        .map_or_else(
            || format!("{millis}ms"),
            |(name, unit)| format!("{}{name}", millis / unit),
        )
}

/// A number of bytes: an integer, or one with KiB, MiB or GiB.
pub(super) fn size(raw: &Raw, range: RangeInclusive<u64>) -> Parsed<u64> {
    let given = match raw {
        Raw::Number(digits) => digits.as_str(),
        _ => text(raw)?,
    };
    let digits_end = given
        .find(|char: char| !char.is_ascii_digit())
        .unwrap_or(given.len());
    let (digits, unit) = given.split_at(digits_end);
    let unit: Option<u64> = match unit.trim() {
        "" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    let bytes = unit.and_then(|unit| digits.parse::<u64>().ok()?.checked_mul(unit));
    match bytes {
        Some(bytes) if range.contains(&bytes) => Ok(bytes),
        Some(_) => refused(
            "this size is out of range",
            format!("write a size from {} to {} bytes", range.start(), range.end()),
        ),
        None => refused(
            format!("{:?} is not a size", shown(given)),
            "write a number of bytes, or one with KiB, MiB or GiB, such as 64MiB",
        ),
    }
}

pub(super) const MILLI: Duration = Duration::from_millis(1);
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const DAY: Duration = Duration::from_hours(24);
pub(super) const TEN_MINUTES: Duration = Duration::from_mins(10);
pub(super) const DELETION_GRACE_AT_MOST: Duration = Duration::from_hours(90 * 24);
/// Ten years: beyond this a duration is a typing error.
pub(super) const TEN_YEARS: Duration = Duration::from_hours(3650 * 24);
