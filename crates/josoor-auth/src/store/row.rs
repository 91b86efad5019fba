//! Rows: one list of fields gives the reader for both engines and the columns.

/// Implements `FromRow` for both engines from the one list of fields, each named like its column, and lists the columns:
/// `from_row!(Row as columns { field, … })` makes `columns!()` of them. `field: Type` is a field that is made of a column of
/// another type; `=> function` completes a row that was read.
macro_rules! from_row {
    ($row:ident as $columns:ident $(=> $complete:path)? { $first:ident $(, $field:ident $(: $type:ty)?)* $(,)? }) => {
        crate::store::row::from_row!($row $(=> $complete)? { $first $(, $field $(: $type)?)* });
        macro_rules! $columns {
            () => { concat!(stringify!($first) $(, ", ", stringify!($field))*) };
        }
    };
    ($row:ident $(=> $complete:path)? { $($field:ident $(: $type:ty)?),+ $(,)? }) => {
        crate::store::row::from_row!(@for sqlx::postgres::PgRow, $row, [$($complete)?] { $($field $(: $type)?),+ });
        crate::store::row::from_row!(@for sqlx::sqlite::SqliteRow, $row, [$($complete)?] { $($field $(: $type)?),+ });
    };
    (@for $engine:ty, $row:ident, [$($complete:path)?] { $($field:ident $(: $type:ty)?),+ }) => {
        impl<'r> sqlx::FromRow<'r, $engine> for $row {
            fn from_row(row: &'r $engine) -> sqlx::Result<Self> {
                let row = Self { $($field: crate::store::row::from_row!(@get row $field $($type)?)),+ };
                $(let row = $complete(row);)?
                Ok(row)
            }
        }
    };
    (@get $from:ident $field:ident) => { sqlx::Row::try_get($from, stringify!($field))? };
    (@get $from:ident $field:ident $type:ty) => {
        sqlx::Row::try_get::<$type, _>($from, stringify!($field))?.into()
    };
}
pub(super) use from_row;
