//! What the drivers' failures mean to the service.

use crate::error::Error;

/// Sorts the driver's failures into "unavailable, try again" and faults of the service.
pub(super) fn store_error(error: sqlx::Error) -> Error {
    let is_unavailable = match &error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| is_transient(&code)),
        _ => false,
    };
    let cause = anyhow::Error::new(error);
    if is_unavailable {
        Error::StoreUnavailable(cause)
    } else {
        Error::Internal(cause)
    }
}

/// Whether a value that must be unique exists already.
pub(super) fn is_unique_violation(cause: &anyhow::Error) -> bool {
    matches!(
        cause.downcast_ref::<sqlx::Error>(),
        Some(sqlx::Error::Database(error)) if error.is_unique_violation()
    )
}

/// Error codes of failures that pass. PostgreSQL: connection (08), log-in refused (28), serialisation
/// and deadlock (40), resources (53), cancelled or shutting down (57), read-only standby (25006), idle transaction ended
/// (25P03), database missing (3D000), lock not available (55P03). SQLite, by primary code: busy, locked,
/// I/O, full, read-only, cannot open.
fn is_transient(code: &str) -> bool {
    if code.len() == 5 {
        return ["08", "28", "40", "53", "57"]
            .iter()
            .any(|class| code.starts_with(class))
            || matches!(code, "25006" | "25P03" | "3D000" | "55P03");
    }
    code.parse::<u32>()
        .is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 8 | 10 | 13 | 14))
}
