//! How our values stand in the two databases.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo, PgValueRef};
use sqlx::sqlite::{SqliteArgumentsBuffer, SqliteTypeInfo, SqliteValueRef};
use sqlx::{Decode, Encode, Postgres, Sqlite, Type};
use time::OffsetDateTime;

use crate::domain::Timestamp;

impl Type<Postgres> for Timestamp {
    fn type_info() -> PgTypeInfo {
        <OffsetDateTime as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Timestamp {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <OffsetDateTime as Encode<'_, Postgres>>::encode_by_ref(&self.to_offset(), buffer)
    }
}

impl Decode<'_, Postgres> for Timestamp {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        let at = <OffsetDateTime as Decode<'_, Postgres>>::decode(value)?;
        Ok(Self::from_micros(i64::try_from(
            at.unix_timestamp_nanos() / 1000,
        )?))
    }
}

impl Type<Sqlite> for Timestamp {
    fn type_info() -> SqliteTypeInfo {
        <i64 as Type<Sqlite>>::type_info()
    }

    fn compatible(info: &SqliteTypeInfo) -> bool {
        <i64 as Type<Sqlite>>::compatible(info)
    }
}

impl Encode<'_, Sqlite> for Timestamp {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        <i64 as Encode<'_, Sqlite>>::encode_by_ref(&self.as_micros(), buffer)
    }
}

impl Decode<'_, Sqlite> for Timestamp {
    fn decode(value: SqliteValueRef<'_>) -> Result<Self, BoxDynError> {
        Ok(Self::from_micros(<i64 as Decode<'_, Sqlite>>::decode(value)?))
    }
}

/// A column that holds text which one of our types parses.
macro_rules! text_column {
    ($($type:ty),+) => { $(
        impl Type<Postgres> for $type {
            fn type_info() -> PgTypeInfo {
                <str as Type<Postgres>>::type_info()
            }

            fn compatible(info: &PgTypeInfo) -> bool {
                <str as Type<Postgres>>::compatible(info)
            }
        }

        impl Decode<'_, Postgres> for $type {
            fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
                parse_column(<&str as Decode<'_, Postgres>>::decode(value)?)
            }
        }

        impl Type<Sqlite> for $type {
            fn type_info() -> SqliteTypeInfo {
                <str as Type<Sqlite>>::type_info()
            }
        }

        impl Decode<'_, Sqlite> for $type {
            fn decode(value: SqliteValueRef<'_>) -> Result<Self, BoxDynError> {
                parse_column(<&str as Decode<'_, Sqlite>>::decode(value)?)
            }
        }
    )+ };
}

fn parse_column<T: std::str::FromStr>(text: &str) -> Result<T, BoxDynError> {
    text.parse()
        .map_err(|_| format!("unexpected value {text:?} in a column").into())
}

/// A [`Role`](crate::domain::Role) column. The type is another crate's, so the traits need a type of ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoleColumn(pub(super) crate::domain::Role);

impl std::str::FromStr for RoleColumn {
    type Err = josoor_auth_verify::UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl From<RoleColumn> for crate::domain::Role {
    fn from(column: RoleColumn) -> Self {
        column.0
    }
}

/// A column that holds one of our types under another of sqlx's.
macro_rules! column_as {
    ($type:ty, $inner:ty, $from:expr) => {
        column_as!(@for Postgres, PgTypeInfo, PgValueRef, $type, $inner, $from);
        column_as!(@for Sqlite, SqliteTypeInfo, SqliteValueRef, $type, $inner, $from);
    };
    (@for $engine:ty, $info:ty, $value:ident, $type:ty, $inner:ty, $from:expr) => {
        impl Type<$engine> for $type {
            fn type_info() -> $info {
                <$inner as Type<$engine>>::type_info()
            }

            fn compatible(info: &$info) -> bool {
                <$inner as Type<$engine>>::compatible(info)
            }
        }

        impl<'r> Decode<'r, $engine> for $type {
            fn decode(value: $value<'r>) -> Result<Self, BoxDynError> {
                <$inner as Decode<'r, $engine>>::decode(value).map($from)
            }
        }
    };
}

column_as!(crate::domain::UserId, i64, crate::domain::UserId);
column_as!(
    crate::domain::PasswordHash,
    String,
    crate::domain::PasswordHash::from_stored
);

text_column!(
    RoleColumn,
    crate::domain::Locale,
    crate::domain::RevokeReason,
    super::sessions::session::Transport
);
