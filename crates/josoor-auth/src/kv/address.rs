//! Reading the URL of the shared store.
//!
//! No message quotes any part of the URL: in a mistyped one, what looks like a port may be half a password.

use percent_encoding::percent_decode_str;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};

use super::{Kind, KvError};

/// What a URL says, before anything is connected.
pub(super) struct Address {
    pub(super) kind: Kind,
    pub(super) tls: bool,
    /// Servers, or the sentinels; never empty.
    pub(super) hosts: Vec<(String, u16)>,
    /// User, password and database of the Redis servers.
    pub(super) settings: RedisConnectionInfo,
    /// User and password of the sentinels.
    pub(super) sentinel_settings: RedisConnectionInfo,
    /// The service that the sentinels watch; empty for the other kinds.
    pub(super) service: String,
}

impl Address {
    /// Reads one of the forms that [`super::KvConfig`] lists.
    pub(super) fn parse(url: &str) -> Result<Self, KvError> {
        let (scheme, rest) = url.split_once("://").ok_or(refused("it has no scheme"))?;
        let (kind, tls) = match scheme {
            "redis" => (Kind::Single, false),
            "rediss" => (Kind::Single, true),
            "redis+cluster" => (Kind::Cluster, false),
            "rediss+cluster" => (Kind::Cluster, true),
            "redis+sentinel" => (Kind::Sentinel, false),
            "rediss+sentinel" => (Kind::Sentinel, true),
            _ => {
                return Err(refused(
                    "the scheme is not one of redis, rediss, redis+cluster, redis+sentinel",
                ));
            }
        };
        if rest.contains('#') {
            return Err(refused("it has a fragment; a `#` in a password is written %23"));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user_info, hosts) = match authority.rsplit_once('@') {
            Some((user_info, hosts)) => (Some(user_info), hosts),
            None => (None, authority),
        };

        let default_port = if kind == Kind::Sentinel { 26_379 } else { 6_379 };
        let hosts = hosts
            .split(',')
            .map(|host| parse_host(host, default_port))
            .collect::<Result<Vec<_>, _>>()?;
        if kind == Kind::Single && hosts.len() > 1 {
            return Err(refused("several hosts need redis+cluster or redis+sentinel"));
        }

        let mut settings = RedisConnectionInfo::default();
        if let Some(user_info) = user_info {
            let (user, password) = user_info
                .split_once(':')
                .ok_or(refused("a password without a user name is written `:password@`"))?;
            settings = with_credentials(settings, &decode(user)?, &decode(password)?);
        }
        let (service, database) = match kind {
            Kind::Single => (String::new(), path),
            Kind::Cluster if path.is_empty() => (String::new(), ""),
            Kind::Cluster => return Err(refused("a cluster has no path and no database number")),
            Kind::Sentinel => {
                let (service, database) = path.split_once('/').unwrap_or((path, ""));
                (decode(service)?, database)
            }
        };
        if kind == Kind::Sentinel && service.is_empty() {
            return Err(refused(
                "the name of the service that the sentinels watch is missing",
            ));
        }
        if !database.is_empty() {
            let number: u32 = database
                .parse()
                .map_err(|_| refused("the database is not a number"))?;
            settings = settings.set_db(number.into());
        }

        Ok(Self {
            kind,
            tls,
            hosts,
            settings,
            sentinel_settings: parse_query(query, kind)?,
            service,
        })
    }

    /// How to reach one host of this installation with the given credentials.
    pub(super) fn connection_info(
        &self,
        (host, port): (String, u16),
        settings: RedisConnectionInfo,
    ) -> Result<ConnectionInfo, KvError> {
        let address = if self.tls {
            ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        Ok(address
            .into_connection_info()
            .map_err(|_| refused("a host cannot be used"))?
            .set_redis_settings(settings))
    }
}

const fn refused(reason: &'static str) -> KvError {
    KvError::Configuration(reason)
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn parse_host(text: &str, default_port: u16) -> Result<(String, u16), KvError> {
    let (host, port) = if let Some(bracketed) = text.strip_prefix('[') {
        let (host, after) = bracketed
            .split_once(']')
            .ok_or(refused("a bracket is not closed"))?;
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err(refused("something other than a port follows a bracket")),
        }
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err(refused("a host name is missing"));
    }
    let port = match port {
        None => default_port,
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or(refused("a port is not a number from 1 to 65535"))?,
    };
    Ok((host.to_owned(), port))
}

fn parse_query(query: &str, kind: Kind) -> Result<RedisConnectionInfo, KvError> {
    let (mut user, mut password) = (String::new(), String::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "sentinel_username" if kind == Kind::Sentinel => user = decode(value)?,
            "sentinel_password" if kind == Kind::Sentinel => password = decode(value)?,
            _ => return Err(refused("it has a query parameter that is not known")),
        }
    }
    Ok(with_credentials(RedisConnectionInfo::default(), &user, &password))
}

/// An empty user name is Redis's default user.
fn with_credentials(settings: RedisConnectionInfo, user: &str, password: &str) -> RedisConnectionInfo {
    let settings = if user.is_empty() {
        settings
    } else {
        settings.set_username(user)
    };
    if password.is_empty() {
        settings
    } else {
        settings.set_password(password)
    }
}

fn decode(text: &str) -> Result<String, KvError> {
    percent_decode_str(text)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| refused("a percent-encoded part is not UTF-8"))
}
