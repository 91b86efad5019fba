//! `[database]`

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::postgres::{self, PostgresOptions};
use super::raw::{Parsed, Raw, refused, shown};
use super::reader::Reader;
use super::urls::{is_this_machine, without_userinfo};
use super::values::{self, MILLI, SECOND, text};
use crate::domain::Secret;

/// `[database]`
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// Where the data is.
    pub url: Database,
    /// The schema of the tables; PostgreSQL only. Needs no quoting in SQL.
    pub schema: String,
    /// Connections at most.
    pub max_connections: u32,
    /// How long to wait for a free one.
    pub acquire_timeout: Duration,
    /// How long a start waits for a database that cannot be reached yet.
    pub start_timeout: Duration,
}

/// Where the data is.
#[derive(Clone, Debug)]
pub enum Database {
    /// A file of this machine.
    Sqlite {
        /// The file; a relative path starts at the working directory.
        path: PathBuf,
    },
    /// A PostgreSQL server, or what speaks its protocol.
    Postgres {
        /// `postgres://…` or `postgresql://…`, with the parameters that the driver knows.
        url: Secret,
        /// What the other parameters of the URL ask for.
        options: PostgresOptions,
    },
}

impl Database {
    /// Whether it is a file of this machine.
    pub const fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite { .. })
    }
}

impl Reader<'_> {
    pub(super) fn database(&mut self) -> Option<DatabaseConfig> {
        let url = self.read("database.url", database);
        let schema = self.read("database.schema", schema);
        let max_connections = self.read("database.max_connections", |raw| values::whole(raw, 1..=1000));
        let acquire_timeout = self.duration("database.acquire_timeout", 10 * MILLI, 60 * SECOND);
        let start_timeout = self.duration("database.start_timeout", Duration::ZERO, 3600 * SECOND);
        if url.as_ref().is_some_and(is_unencrypted) {
            self.warn(
                "database.url",
                "addresses, password hashes and sessions cross the network unencrypted; add ?sslmode=verify-full (or require, which \
                 does not check the server's name)",
            );
        }
        Some(DatabaseConfig {
            url: url?,
            schema: schema?,
            max_connections: max_connections?,
            acquire_timeout: acquire_timeout?,
            start_timeout: start_timeout?,
        })
    }
}

fn database(raw: &Raw) -> Parsed<Database> {
    const SUPPORTED: &str =
        "write sqlite://path, sqlite:///absolute/path or postgres://user:password@host:port/name";
    let given = text(raw)?;
    let Some((scheme, rest)) = given.split_once(':') else {
        return refused("this is not a database URL", SUPPORTED);
    };
    match scheme {
        "sqlite" => sqlite(rest),
        "postgres" | "postgresql" => {
            let (url, options) = postgres::read(given)?;
            Ok(Database::Postgres { url, options })
        }
        _ => match scheme.split_once('+') {
            // The forms of SQLAlchemy name a Python driver.
            Some(("postgres" | "postgresql", driver)) if rest.starts_with("//") => refused(
                format!("\"+{}\" names a driver of another program", shown(driver)),
                format!("write {}", without_userinfo(&format!("postgresql:{rest}"))),
            ),
            Some(("sqlite", driver)) => refused(
                format!("\"+{}\" names a driver of another program", shown(driver)),
                // There, three slashes begin a relative path and four an absolute one.
                format!(
                    "write sqlite://{}",
                    shown(rest.strip_prefix("///").unwrap_or("path"))
                ),
            ),
            _ => refused("only SQLite and PostgreSQL are supported", SUPPORTED),
        },
    }
}

fn sqlite(rest: &str) -> Parsed<Database> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.contains(":memory:") || path.contains("mode=memory") {
        return refused(
            "a database in memory would lose every account when the process ends, and each connection would see its own",
            "write sqlite://path/to/file.db",
        );
    }
    if path.contains('?') {
        return refused(
            "parameters are not supported",
            "leave out what follows the question mark; the file is created when it is missing",
        );
    }
    let Ok(path) = percent_encoding::percent_decode_str(path).decode_utf8() else {
        return refused("the path is not UTF-8", "write sqlite://path/to/file.db");
    };
    if path.is_empty() || path.ends_with('/') || path.contains('\0') || path == "." || path == ".." {
        return refused("the path names no file", "write sqlite://path/to/file.db");
    }
    Ok(Database::Sqlite {
        path: PathBuf::from(path.as_ref()),
    })
}

/// Whether the connection may cross the network unencrypted: another machine, and TLS is not required.
fn is_unencrypted(database: &Database) -> bool {
    let Database::Postgres { url, .. } = database else {
        return false;
    };
    let Ok(url) = Url::parse(url.expose()) else {
        return false;
    };
    let parameter = |names: &[&str]| {
        url.query_pairs()
            .filter(|(name, _)| names.contains(&name.as_ref()))
            .last()
            .map(|(_, value)| value.into_owned())
    };
    let host =
        parameter(&["host", "hostaddr"]).unwrap_or_else(|| url.host_str().unwrap_or_default().to_owned());
    let mode = parameter(&["sslmode", "ssl-mode"]).unwrap_or_default();
    !is_this_machine(&host) && !matches!(mode.as_str(), "require" | "verify-ca" | "verify-full")
}

/// A schema's name that needs no quoting in SQL and is not PostgreSQL's own.
fn schema(raw: &Raw) -> Parsed<String> {
    let given = text(raw)?;
    let mut bytes = given.bytes();
    let is_good = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && given.len() <= 63;
    if !is_good {
        return refused(
            format!("{:?} is not a schema's name", shown(given)),
            "use lower-case letters, digits and _, at most 63, not beginning with a digit",
        );
    }
    if given.starts_with("pg_") || given == "information_schema" {
        return refused(
            format!("{given} belongs to PostgreSQL itself"),
            "choose another schema",
        );
    }
    Ok(given.to_owned())
}
