//! Points in time.

use std::fmt;
use std::time::Duration;

use time::OffsetDateTime;

/// A point in time, in microseconds since 1970 (UTC): what both databases can keep without loss. Shown as RFC 3339
/// in UTC with `Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// Year 9999: the last moment that RFC 3339 can write, and before the ends of both databases' ranges.
const LAST: i64 = 253_402_300_799_999_999;

impl Timestamp {
    /// From microseconds since 1970, held within the years 1970 to 9999.
    pub const fn from_micros(micros: i64) -> Self {
        Self(if micros < 0 {
            0
        } else if micros > LAST {
            LAST
        } else {
            micros
        })
    }

    /// From whole seconds since 1970.
    pub const fn from_secs(secs: i64) -> Self {
        Self::from_micros(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since 1970.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down: what a JWT's numeric dates hold (RFC 7519, 2).
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This much later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self::from_micros(
            self.0
                .saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    /// This much earlier.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self::from_micros(
            self.0
                .saturating_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    /// How long after `earlier` this is; zero when it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// As the `time` crate has it.
    pub fn to_offset(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.to_offset();
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.microsecond()
        )
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl std::str::FromStr for Timestamp {
    type Err = time::error::Parse;

    /// Reads RFC 3339, with any offset.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let at = OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339)?;
        // The years that RFC 3339 can write fit many times over.
        Ok(Self::from_micros(
            i64::try_from(at.unix_timestamp_nanos() / 1000).unwrap_or(LAST),
        ))
    }
}

impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Timestamp;

    #[test]
    fn is_rfc_3339_in_utc_and_reads_back() {
        let at = Timestamp::from_micros(1_795_352_400_000_042);
        assert_eq!(at.to_string(), "2026-11-22T13:00:00.000042Z");
        let json = serde_json::to_string(&at).unwrap();
        assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), at);
    }

    #[test]
    fn stays_within_its_range() {
        let end = Timestamp::from_micros(i64::MAX);
        assert_eq!(end.to_string(), "9999-12-31T23:59:59.999999Z");
        assert_eq!(end.plus(Duration::MAX), end);
        assert_eq!(
            Timestamp::from_micros(5)
                .minus(Duration::from_secs(1))
                .as_micros(),
            0
        );
    }
}
