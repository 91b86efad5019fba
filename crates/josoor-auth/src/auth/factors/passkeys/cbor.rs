//! CBOR (RFC 8949), as far as authenticators write it.

use ciborium::Value;

use super::fault::Fault;

/// Values within values. CTAP2 has at most four.
const DEPTH: usize = 8;

/// Reads one value off the beginning of `bytes`, and moves behind it.
pub(super) fn read_first(bytes: &mut &[u8]) -> Result<Value, Fault> {
    ciborium::de::from_reader_with_recursion_limit(bytes, DEPTH).map_err(|_| Fault::Malformed)
}

/// Reads one value with nothing behind it.
pub(super) fn read(mut bytes: &[u8]) -> Result<Value, Fault> {
    let value = read_first(&mut bytes)?;
    if bytes.is_empty() {
        Ok(value)
    } else {
        Err(Fault::Malformed)
    }
}

/// The entries of a map in which no key stands twice.
pub(super) fn map(value: Value) -> Result<Vec<(Value, Value)>, Fault> {
    let Value::Map(entries) = value else {
        return Err(Fault::Malformed);
    };
    let is_double =
        |(at, (key, _)): (usize, &(Value, Value))| entries[..at].iter().any(|(other, _)| other == key);
    if entries.iter().enumerate().any(is_double) {
        return Err(Fault::Malformed);
    }
    Ok(entries)
}

/// The value of a key.
pub(super) fn get<'v>(entries: &'v [(Value, Value)], key: &Value) -> Option<&'v Value> {
    entries
        .iter()
        .find(|(other, _)| other == key)
        .map(|(_, value)| value)
}
