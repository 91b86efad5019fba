//! What the drivers' failures mean to the service.

use std::fmt;

use sqlx::postgres::PgDatabaseError;

use crate::error::Error;

/// A driver's failure in one sentence, the cause first: without its repetitions, and without the places of the server's own
/// source that the driver adds.
pub(super) struct Failure {
    error: sqlx::Error,
    text: String,
}

impl Failure {
    /// The failure with what it is about behind its cause; may be empty.
    pub(super) fn new(error: sqlx::Error, about: &str) -> Self {
        let mut text = explain(&error);
        if !about.is_empty() {
            text = format!("{text}: {about}");
        }
        Self { error, text }
    }

    /// The same with what it is about behind its cause.
    pub(super) fn about(self, what: &str) -> Self {
        Self {
            text: format!("{}: {what}", self.text),
            ..self
        }
    }

    /// The server's or the library's own code.
    pub(super) fn code(&self) -> Option<String> {
        database_code(&self.error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

// The driver's `Debug` quotes details, in which values stand.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// No source: the driver's error says the same once more.
impl std::error::Error for Failure {}

/// The code of the server or the library, if the failure is one of theirs.
pub(super) fn database_code(error: &sqlx::Error) -> Option<String> {
    match error {
        sqlx::Error::Database(error) => error.code().map(std::borrow::Cow::into_owned),
        _ => None,
    }
}

/// The cause in words.
pub(super) fn explain(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => match error.try_downcast_ref::<PgDatabaseError>() {
            Some(error) => {
                let hint = error.hint().map_or_else(String::new, |hint| format!("; {hint}"));
                format!("{} (SQLSTATE {}){hint}", error.message(), error.code())
            }
            None => match error.code() {
                Some(code) => format!("{} (SQLite code {code})", error.message()),
                None => error.message().to_owned(),
            },
        },
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Tls(error) => format!("TLS: {error}"),
        sqlx::Error::Configuration(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// What a failed statement says about its connection, and about the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was about the statement; the connection is as good as before.
    Statement,
    /// Another program has locked the SQLite file.
    Locked,
    /// The connection is not used again.
    Connection,
    /// Nor are the others that were open: the server ends them, or does not answer.
    Server,
    /// Nor are the others: the server takes only reads.
    ReadOnly,
    /// The disk is full or broken; the connection is not used again.
    Disk,
}

impl Verdict {
    /// Only what is known to concern the statement alone leaves the connection in use.
    pub(super) fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => {
                error.code().map_or(Self::Connection, |code| Self::of_code(&code))
            }
            sqlx::Error::RowNotFound
            | sqlx::Error::TypeNotFound { .. }
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Encode(_)
            | sqlx::Error::Decode(_) => Self::Statement,
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => Self::Server,
            _ => Self::Connection,
        }
    }

    fn of_code(code: &str) -> Self {
        if code.len() == 5 {
            return match code {
                "25006" => Self::ReadOnly,
                // Shutting down, crashed, starting up, database dropped; connection exceptions.
                "57P01" | "57P02" | "57P03" | "57P04" => Self::Server,
                // Disk full; an error of its I/O.
                "53100" | "58030" => Self::Disk,
                // Lock not available, cancelled.
                "55P03" | "57014" => Self::Statement,
                // A prepared statement that another client of a pooler has made.
                "42P05" => Self::Connection,
                _ => match &code[..2] {
                    "08" => Self::Server,
                    // Data, constraints, serialisation and deadlock, names and rights.
                    "22" | "23" | "40" | "42" => Self::Statement,
                    _ => Self::Connection,
                },
            };
        }
        match code.parse::<u32>().map(|code| code & 0xff) {
            // Error in the statement, constraint, mismatch, too big.
            Ok(1 | 18 | 19 | 20) => Self::Statement,
            // Busy, locked.
            Ok(5 | 6) => Self::Locked,
            // Read-only, I/O, corrupt, full, cannot open, no database.
            Ok(8 | 10 | 11 | 13 | 14 | 26) => Self::Disk,
            _ => Self::Connection,
        }
    }

    /// Whether the connection may be used again.
    pub(super) const fn keeps_connection(self) -> bool {
        matches!(self, Self::Statement | Self::Locked)
    }
}

/// Sorts the driver's failures into "unavailable, try again" and faults of the service.
pub(super) fn store_error(error: sqlx::Error) -> Error {
    let is_unavailable = match &error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        // What is not an answer of PostgreSQL: the connection was closed while it was opened, as by a proxy without a server.
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| is_transient(&code)),
        _ => false,
    };
    let failure = Failure::new(error, "");
    if is_unavailable {
        Error::unavailable(failure)
    } else {
        Error::internal(failure)
    }
}

/// The code of the database's own failure that is behind this one.
pub(super) fn code_of(error: &Error) -> Option<String> {
    failure_of(error).and_then(Failure::code)
}

fn failure_of(error: &Error) -> Option<&Failure> {
    match error {
        Error::StoreUnavailable(cause) => cause.downcast_ref::<Failure>(),
        Error::Internal(cause) => cause.downcast_ref::<Failure>(),
        _ => None,
    }
}

/// Whether TLS to the server cannot be had as the settings want it.
pub(super) fn is_tls(error: &Error) -> bool {
    matches!(
        failure_of(error),
        Some(Failure {
            error: sqlx::Error::Tls(_),
            ..
        })
    )
}

/// What an operator does about a database that cannot be used, where the failure tells.
pub fn remedy(error: &Error) -> Option<&'static str> {
    if is_tls(error) {
        return Some(
            "let the server offer TLS, or correct sslmode in DATABASE_URL: disable is for this machine and for private networks",
        );
    }
    let code = code_of(error)?;
    match code.as_str() {
        "3D000" => Some("create it (`create database`), or correct the name at the end of DATABASE_URL"),
        "53300" => Some(
            "raise max_connections of the server, or lower JOSOOR_AUTH__DATABASE__MAX_CONNECTIONS, which is for each node",
        ),
        code if code.len() == 5 && code.starts_with("28") => Some(
            "correct the user and the password in DATABASE_URL (# % : / @ in them are percent-encoded), or what pg_hba.conf of the server \
             allows",
        ),
        "26" => Some(
            "let DATABASE_URL name another file: this one is no database of SQLite, or is encrypted or damaged",
        ),
        "11" => Some(
            "the file is damaged: restore a backup (`josoor-auth restore`), or correct the path in DATABASE_URL",
        ),
        _ => None,
    }
}

/// Whether a value that must be unique exists already.
pub(super) fn is_unique_violation(cause: &anyhow::Error) -> bool {
    matches!(
        cause.downcast_ref::<Failure>(),
        Some(Failure { error: sqlx::Error::Database(error), .. }) if error.is_unique_violation()
    )
}

/// Error codes of failures that pass. PostgreSQL: connection (08), log-in refused (28), serialisation
/// and deadlock (40), resources (53), cancelled or shutting down (57), input and output (58), read-only standby (25006), idle
/// transaction ended (25P03), database missing (3D000), lock not available (55P03). SQLite, by primary code: busy, locked,
/// I/O, full, read-only, cannot open.
fn is_transient(code: &str) -> bool {
    if code.len() == 5 {
        return ["08", "28", "40", "53", "57", "58"]
            .iter()
            .any(|class| code.starts_with(class))
            || matches!(code, "25006" | "25P03" | "3D000" | "55P03");
    }
    code.parse::<u32>()
        .is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 8 | 10 | 13 | 14))
}

#[cfg(test)]
mod tests {
    use super::{Verdict, store_error};
    use crate::error::Error;

    #[test]
    fn a_connection_that_breaks_while_it_is_opened_is_tried_again() {
        for error in [
            sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()),
            sqlx::Error::Protocol("unexpected response from SSLRequest: 0x00".to_owned()),
        ] {
            let said = error.to_string();
            assert!(matches!(store_error(error), Error::StoreUnavailable(_)), "{said}");
        }
        assert!(matches!(
            store_error(sqlx::Error::RowNotFound),
            Error::Internal(_)
        ));
    }

    #[test]
    fn d1_d4_only_what_concerns_a_statement_alone_leaves_its_connection_in_use() {
        for (codes, verdict) in [
            (
                &[
                    "23505", "22P02", "40001", "40P01", "55P03", "57014", "42501", "42P01",
                ][..],
                Verdict::Statement,
            ),
            (&["25006"], Verdict::ReadOnly),
            (&["57P01", "57P02", "57P03", "08006", "08P01"], Verdict::Server),
            (&["53100", "58030"], Verdict::Disk),
            // Prepared by another client, aborted, out of memory, plans that changed, internal.
            (
                &[
                    "42P05", "26000", "25P02", "25P03", "53200", "0A000", "XX000", "P0001",
                ],
                Verdict::Connection,
            ),
            // SQLite, also in its extended forms: constraint and error; busy and locked; full, I/O, read-only, no database.
            (&["1", "19", "2067", "787"], Verdict::Statement),
            (&["5", "6", "261", "517"], Verdict::Locked),
            (
                &["8", "10", "13", "14", "11", "26", "778", "4874", "1032"],
                Verdict::Disk,
            ),
            (&["7", "21", "9"], Verdict::Connection),
        ] {
            for code in codes {
                assert_eq!(Verdict::of_code(code), verdict, "{code}");
            }
            let keeps = matches!(verdict, Verdict::Statement | Verdict::Locked);
            assert_eq!(verdict.keeps_connection(), keeps);
        }
    }
}
