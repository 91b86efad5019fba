//! Errors of Redis in words that hold no key and no value.

use redis::{ErrorKind, RedisError as DriverError, ServerErrorKind};

use super::types::RedisError;

/// Whether the server is well and only this command was wrong.
pub(super) fn is_plain_refusal(error: &DriverError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Extension
            | ErrorKind::UnexpectedReturnType
            | ErrorKind::Server(ServerErrorKind::ResponseError)
    )
}

/// What a caller may know of an error. Details are left out: they may quote keys and arguments.
pub(super) fn explain(error: &DriverError) -> RedisError {
    use ServerErrorKind::{Ask, BusyLoading, ClusterDown, MasterDown, Moved, ReadOnly, TryAgain};
    match error.kind() {
        ErrorKind::UnexpectedReturnType | ErrorKind::Parse => RedisError::Garbage,
        ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | ReadOnly | TryAgain | Moved | Ask) => {
            RedisError::Unavailable(code(error))
        }
        ErrorKind::Server(_) | ErrorKind::Extension => match code(error) {
            code if code == "WRONGTYPE" => RedisError::WrongType,
            code => RedisError::Refused(code),
        },
        _ => RedisError::Unavailable(reason(error)),
    }
}

/// The server's error code, or as much of it as looks like one.
pub(super) fn code(error: &DriverError) -> String {
    let in_pipeline = || {
        let errors = error.clone().into_server_errors()?;
        errors.first().map(|(_, error)| error.code().to_owned())
    };
    let code = error
        .code()
        .map(str::to_owned)
        .or_else(in_pipeline)
        .unwrap_or_default();
    let code: String = code
        .chars()
        .take_while(char::is_ascii_uppercase)
        .take(32)
        .collect();
    if code.is_empty() { "ERR".to_owned() } else { code }
}

/// What the server says of a connection that it refuses, in fixed words: its own may quote a password.
fn known_detail(detail: &str) -> &'static str {
    const KNOWN: [(&str, &str); 4] = [
        ("has no permissions", "the user may not do this (NOPERM)"),
        (
            "DB index is out of range",
            "it has no database with the number at the end of the URL",
        ),
        (
            "cluster support disabled",
            "it is no Cluster, for which redis+cluster:// is",
        ),
        (
            "unknown command 'SENTINEL'",
            "it is no Sentinel, for which redis+sentinel:// is",
        ),
    ];
    let found = KNOWN.iter().find(|(said, _)| detail.contains(said));
    found.map_or("it refuses the connection (ERR)", |(_, meaning)| meaning)
}

/// Why there is no connection, or no answer on it. A failure of the connection itself holds no key and no value.
pub(super) fn reason(error: &DriverError) -> String {
    const CERTIFICATE: &str = "invalid peer certificate: ";
    if error.kind() == ErrorKind::AuthenticationFailed {
        return "wrong user or password (WRONGPASS)".to_owned();
    }
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    if error.is_connection_refusal() {
        return "the connection was refused".to_owned();
    }
    if error.code().is_some() {
        return match code(error).as_str() {
            "WRONGPASS" => "wrong user or password (WRONGPASS)".to_owned(),
            "NOAUTH" => "the server wants a password (NOAUTH)".to_owned(),
            "NOPERM" => "the user may not do this (NOPERM)".to_owned(),
            "ERR" => known_detail(error.detail().unwrap_or_default()).to_owned(),
            code => code.to_owned(),
        };
    }
    let text: String = error.to_string().chars().take(200).collect();
    match text.find(CERTIFICATE) {
        Some(at) => format!(
            "the server's certificate is not accepted: {}",
            &text[at + CERTIFICATE.len()..]
        ),
        None if error.is_connection_dropped() => "not connected".to_owned(),
        None if error.is_io_error() => text,
        // Fixed texts of the client library, which hold nothing of the configuration.
        None => error.category().to_owned(),
    }
}
