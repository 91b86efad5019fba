//! The URL of PostgreSQL: which of its parameters are understood. None is ignored.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::raw::{Parsed, refused, shown};
use super::urls::check_server_url;
use crate::domain::Secret;

/// What a URL asks for beyond what the driver understands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PostgresOptions {
    /// `connect_timeout`: how long the first connection may take.
    pub connect_timeout: Option<Duration>,
    /// `pgbouncer=true`: a pooler is in between, which is otherwise found out.
    pub is_pooled: bool,
    /// `sslrootcert`.
    pub root_certificates: Option<RootCertificates>,
}

/// What the server's certificate is verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCertificates {
    /// Those that the system trusts.
    System,
    /// A file in PEM.
    File(PathBuf),
}

/// Reads a URL: the one for the driver, and what else it asks for.
pub(super) fn read(given: &str) -> Parsed<(Secret, PostgresOptions)> {
    const ONE_HOST: &str = "name one address that follows the primary: that of a proxy (HAProxy, PgBouncer), a virtual address, or a \
                            name that is changed; connections that became read-only are replaced by themselves";
    let url = with_host(given);
    if authority(&url).is_some_and(|hosts| hosts.contains(',')) {
        return refused("several hosts in one URL are not supported", ONE_HOST);
    }
    check_server_url(&url)?;
    let Ok(mut parsed) = Url::parse(&url) else {
        return refused(
            "this is not a URL",
            "write postgres://user:password@host:port/name",
        );
    };
    let mut options = PostgresOptions::default();
    let mut kept: Vec<(String, String)> = Vec::new();
    for (name, value) in parsed.query_pairs() {
        match &*name {
            "host" | "hostaddr" if value.contains(',') => {
                return refused("several hosts in one URL are not supported", ONE_HOST);
            }
            "sslmode" | "ssl-mode" => {
                check_mode(&value)?;
                kept.push(("sslmode".to_owned(), value.into_owned()));
            }
            "sslrootcert" | "ssl-root-cert" | "ssl-ca" => {
                options.root_certificates = Some(match &*value {
                    "system" => RootCertificates::System,
                    path => RootCertificates::File(PathBuf::from(path)),
                });
            }
            "host"
            | "hostaddr"
            | "port"
            | "dbname"
            | "user"
            | "password"
            | "sslcert"
            | "ssl-cert"
            | "sslkey"
            | "ssl-key"
            | "options"
            | "statement-cache-capacity" => kept.push((name.into_owned(), value.into_owned())),
            _ if name.starts_with("options[") => kept.push((name.into_owned(), value.into_owned())),
            _ => read_other(&name, &value, &mut options)?,
        }
    }
    if options.root_certificates == Some(RootCertificates::System) {
        // As in PostgreSQL's own library: anyone can get a certificate of these for another name.
        match kept.iter().find(|(name, _)| name == "sslmode") {
            None => kept.push(("sslmode".to_owned(), "verify-full".to_owned())),
            Some((_, mode)) if mode == "verify-full" => {}
            Some((_, mode)) => {
                return refused(
                    format!(
                        "sslrootcert=system is of use with sslmode=verify-full only, and this says {}",
                        shown(mode)
                    ),
                    "write sslmode=verify-full",
                );
            }
        }
    }
    let is_unchanged = url == given
        && kept.iter().eq(parsed
            .query_pairs()
            .map(|(a, b)| (a.into_owned(), b.into_owned()))
            .collect::<Vec<_>>()
            .iter());
    if is_unchanged {
        return Ok((Secret::new(given), options));
    }
    parsed.set_query(None);
    if !kept.is_empty() {
        parsed.query_pairs_mut().extend_pairs(kept);
    }
    Ok((Secret::new(parsed.as_str()), options))
}

/// The parameters whose only value that is supported needs nothing, or something that is not the driver's.
fn read_other(name: &str, value: &str, options: &mut PostgresOptions) -> Parsed<()> {
    let one_of = |good: &[&str], reason: &str, remedy: &str| {
        if good.contains(&value) {
            Ok(())
        } else {
            refused(format!("{name}={}: {reason}", shown(value)), remedy)
        }
    };
    match name {
        "connect_timeout" => match value.parse::<u32>() {
            Ok(0) => Ok(()),
            Ok(seconds) => {
                options.connect_timeout = Some(Duration::from_secs(seconds.into()));
                Ok(())
            }
            Err(_) => refused(
                "connect_timeout is not a number of seconds",
                "write connect_timeout=5",
            ),
        },
        "pgbouncer" => {
            options.is_pooled = value == "true";
            one_of(
                &["true", "false"],
                "this is neither true nor false",
                "write pgbouncer=true, or leave it out: a pooler is found out",
            )
        }
        "target_session_attrs" => one_of(
            &["any", "read-write", "primary"],
            "the service writes, so it needs the primary",
            "write read-write, or leave it out: connections that only read are replaced by themselves",
        ),
        "channel_binding" => one_of(
            &["disable", "prefer"],
            "channel binding is not supported",
            "leave it out; sslmode=verify-full makes sure of the server",
        ),
        "gssencmode" => one_of(
            &["disable", "prefer"],
            "GSSAPI is not supported",
            "leave it out; use sslmode=verify-full",
        ),
        "sslnegotiation" => one_of(
            &["postgres"],
            "TLS without PostgreSQL's own request is not supported",
            "leave it out",
        ),
        "load_balance_hosts" => one_of(&["disable"], "there is one host only", "leave it out"),
        "ssl" => refused(
            "the parameter ssl is of another driver",
            "write sslmode=require, or better sslmode=verify-full",
        ),
        "schema" | "currentSchema" | "search_path" => refused(
            format!("the schema is not given in the URL, so {name} would have no effect"),
            format!(
                "leave it out and set JOSOOR_AUTH__DATABASE__SCHEMA={}",
                shown(value)
            ),
        ),
        "application_name" | "fallback_application_name" => refused(
            "connections always have the name of this program, by which nodes know each other",
            format!("leave {name} out"),
        ),
        _ => refused(
            format!("the parameter {} is not supported", shown(name)),
            "leave it out; supported are sslmode, sslrootcert, sslcert, sslkey, host, hostaddr, port, dbname, user, password, options, \
             connect_timeout, target_session_attrs, channel_binding, gssencmode and pgbouncer",
        ),
    }
}

fn check_mode(mode: &str) -> Parsed<()> {
    match mode {
        "disable" | "prefer" | "require" | "verify-ca" | "verify-full" => Ok(()),
        "allow" => refused(
            "sslmode=allow is not supported",
            "write sslmode=prefer, or better sslmode=verify-full",
        ),
        other => refused(
            format!("sslmode={} is unknown", shown(other)),
            "write disable, prefer, require, verify-ca or verify-full",
        ),
    }
}

/// The hosts and ports of a URL, without user and password.
fn authority(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    Some(authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts))
}

/// `postgres://user@/name?host=/folder` names its host in a parameter. A URL cannot have a user and no host, so it gets one, which
/// the parameter replaces.
fn with_host(given: &str) -> String {
    let Some((scheme, rest)) = given.split_once("://") else {
        return given.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    let names_host = after.split_once('?').is_some_and(|(_, query)| {
        query
            .split('&')
            .any(|pair| pair.starts_with("host=") || pair.starts_with("hostaddr="))
    });
    match authority.rsplit_once('@') {
        Some((user, "")) if names_host => format!("{scheme}://{user}@localhost{after}"),
        Some((user, port)) if names_host && port.starts_with(':') => {
            format!("{scheme}://{user}@localhost{port}{after}")
        }
        _ => given.to_owned(),
    }
}
