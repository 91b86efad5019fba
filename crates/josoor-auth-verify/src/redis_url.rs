//! Reading the URL of Redis, for the service and for [`RedisCheck`](crate::RedisCheck) alike.
//!
//! No message quotes any part of the URL: in a mistyped one, what looks like a port may be half a password.

use std::fmt;

use percent_encoding::percent_decode_str;
use redis::{
    Client, ConnectionAddr, ErrorKind, IntoConnectionInfo, RedisConnectionInfo, RedisError, RedisResult,
};

/// The shape of the Redis installation that a URL names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisKind {
    /// One server: `redis://` or `rediss://`.
    Single,
    /// A Cluster: `redis+cluster://` or `rediss+cluster://`, with one or more of its nodes.
    Cluster,
    /// The master that Sentinels name: `redis+sentinel://` or `rediss+sentinel://`, with one or more of the Sentinels.
    Sentinel,
}

impl RedisKind {
    /// The name that states and metrics carry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Cluster => "cluster",
            Self::Sentinel => "sentinel",
        }
    }
}

/// What is wrong with a URL of Redis. Quotes nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RedisUrlError(pub &'static str);

/// A server's host and port.
pub type RedisNode = (String, u16);

/// What a URL of Redis says, before anything is connected.
///
/// * `redis://[user:password@]host[:port][/db]`
/// * `redis+cluster://[user:password@]host[:port][,host[:port]…]`
/// * `redis+sentinel://[user:password@]host[:port][,host[:port]…]/service[/db]`, where `/service` may be `?service=name`
///   instead; the hosts are the Sentinels' (port 26379 unless given), user and password are those of the Redis servers.
///   Sentinels with a password of their own take it from `?sentinel_username=…&sentinel_password=…`.
///
/// `rediss…` is the same over TLS, with the certificate always verified. User name, password and service are
/// percent-encoded (RFC 3986, 3.2.1); without a user name write `:password@`.
#[derive(Clone)]
pub struct RedisUrl {
    kind: RedisKind,
    tls: bool,
    /// Servers, or the Sentinels; never empty.
    hosts: Vec<RedisNode>,
    /// User, password and database of the Redis servers.
    settings: RedisConnectionInfo,
    /// User and password of the Sentinels.
    sentinel_settings: RedisConnectionInfo,
    /// The service that the Sentinels watch; empty for the other kinds.
    service: String,
}

impl RedisUrl {
    /// Reads one of the forms above.
    ///
    /// # Errors
    ///
    /// What is wrong, in words that fit behind the name of the setting.
    pub fn parse(url: &str) -> Result<Self, RedisUrlError> {
        let (scheme, rest) = url.split_once("://").ok_or(RedisUrlError(SCHEMES))?;
        let (scheme, tls) = match scheme.strip_prefix("rediss") {
            Some(more) => (more, true),
            None => (scheme.strip_prefix("redis").ok_or(RedisUrlError(SCHEMES))?, false),
        };
        let kind = match scheme {
            "" => RedisKind::Single,
            "+cluster" => RedisKind::Cluster,
            "+sentinel" => RedisKind::Sentinel,
            _ => return Err(RedisUrlError(SCHEMES)),
        };
        if rest.contains('#') {
            return refused("it has a fragment; a `#` in a password is written %23");
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.matches('@').count() > 1 || path.contains('@') || query.contains('@') {
            return refused("it can be read in two ways; an `@` in a password is written %40, a `/` %2F");
        }
        let (user_info, hosts) = match authority.rsplit_once('@') {
            Some((user_info, hosts)) => (Some(user_info), hosts),
            None => (None, authority),
        };

        let default_port = if kind == RedisKind::Sentinel {
            26_379
        } else {
            6_379
        };
        let hosts = hosts
            .split(',')
            .map(|host| parse_host(host, default_port))
            .collect::<Result<Vec<_>, _>>()?;
        if kind == RedisKind::Single && hosts.len() > 1 {
            return refused("several hosts need redis+cluster:// or redis+sentinel://");
        }

        let mut settings = RedisConnectionInfo::default();
        if let Some(user_info) = user_info {
            let Some((user, password)) = user_info.split_once(':') else {
                return refused("a password without a user name is written `:password@`");
            };
            settings = with_credentials(settings, &decode(user)?, &decode(password)?);
        }
        let query = Query::parse(query, kind)?;
        let (service, database) = match kind {
            RedisKind::Single => (String::new(), path),
            RedisKind::Cluster if matches!(path, "" | "0") => (String::new(), ""),
            RedisKind::Cluster => return refused("a Cluster has one database only; leave the path out"),
            RedisKind::Sentinel if query.service.is_empty() => {
                let (service, database) = path.split_once('/').unwrap_or((path, ""));
                (decode(service)?, database)
            }
            RedisKind::Sentinel => (query.service, path),
        };
        if kind == RedisKind::Sentinel && service.is_empty() {
            return refused(
                "the service that the Sentinels watch is missing; write redis+sentinel://host:26379,host:26379/service/0",
            );
        }
        if !database.is_empty() {
            let Ok(number) = database.parse::<u16>() else {
                return refused("the database, at the end of the path, is not a number");
            };
            settings = settings.set_db(number.into());
        }

        Ok(Self {
            kind,
            tls,
            hosts,
            settings,
            sentinel_settings: with_credentials(RedisConnectionInfo::default(), &query.user, &query.password),
            service,
        })
    }

    /// What it leads to.
    pub fn kind(&self) -> RedisKind {
        self.kind
    }

    /// Whether connections use TLS, for which the program has to have chosen a provider of rustls.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The servers that the URL names, or the Sentinels; never empty.
    pub fn hosts(&self) -> &[RedisNode] {
        &self.hosts
    }

    /// The service that the Sentinels watch; empty for the other kinds.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// A client for a data server of this installation. Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// When the host cannot be used in an address.
    pub fn client(&self, node: RedisNode) -> RedisResult<Client> {
        self.client_as(node, self.settings.clone())
    }

    /// Clients for the hosts that the URL names: data servers, or the Sentinels.
    ///
    /// # Errors
    ///
    /// When a host cannot be used in an address.
    pub fn clients(&self) -> RedisResult<Vec<Client>> {
        let settings = match self.kind {
            RedisKind::Sentinel => &self.sentinel_settings,
            RedisKind::Single | RedisKind::Cluster => &self.settings,
        };
        let hosts = self.hosts.iter().cloned();
        hosts.map(|host| self.client_as(host, settings.clone())).collect()
    }

    fn client_as(&self, (host, port): RedisNode, settings: RedisConnectionInfo) -> RedisResult<Client> {
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
        let info = address
            .into_connection_info()
            .map_err(|_| RedisError::from((ErrorKind::InvalidClientConfig, "an address cannot be used")))?;
        Client::open(info.set_redis_settings(settings))
    }
}

impl fmt::Debug for RedisUrl {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisUrl")
            .field("kind", &self.kind)
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

const SCHEMES: &str = "it begins with none of redis://, rediss://, redis+cluster://, rediss+cluster://, redis+sentinel:// and rediss+sentinel://";

const fn refused<T>(reason: &'static str) -> Result<T, RedisUrlError> {
    Err(RedisUrlError(reason))
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn parse_host(text: &str, default_port: u16) -> Result<RedisNode, RedisUrlError> {
    let (host, port) = if let Some(bracketed) = text.strip_prefix('[') {
        let (host, after) = bracketed
            .split_once(']')
            .ok_or(RedisUrlError("a bracket is not closed"))?;
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return refused("something other than a port follows a bracket"),
        }
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if host.is_empty() || host.contains(char::is_whitespace) {
        return refused("a host name is missing");
    }
    let port = match port {
        None => default_port,
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or(RedisUrlError("a port is not a number from 1 to 65535"))?,
    };
    Ok((host.to_owned(), port))
}

#[derive(Default)]
struct Query {
    service: String,
    /// Those of the Sentinels.
    user: String,
    password: String,
}

impl Query {
    fn parse(query: &str, kind: RedisKind) -> Result<Self, RedisUrlError> {
        let mut parsed = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let place = match name {
                "service" => &mut parsed.service,
                "sentinel_username" => &mut parsed.user,
                "sentinel_password" => &mut parsed.password,
                _ => return refused("it has a parameter behind `?` that is not known"),
            };
            if kind != RedisKind::Sentinel {
                return refused("it has a parameter behind `?` that is for Sentinels only");
            }
            *place = decode(value)?;
        }
        Ok(parsed)
    }
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

fn decode(text: &str) -> Result<String, RedisUrlError> {
    percent_decode_str(text)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| RedisUrlError("a percent-encoded part is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_form_is_read() {
        for (url, kind) in [
            ("redis://localhost", RedisKind::Single),
            ("redis://localhost:6380/3", RedisKind::Single),
            ("rediss://user:p%40ss@[::1]:6380/0", RedisKind::Single),
            ("redis+cluster://:secret@one:1,two,[fe80::1]", RedisKind::Cluster),
            ("rediss+cluster://one:1", RedisKind::Cluster),
            ("redis+cluster://one/0", RedisKind::Cluster),
            (
                "redis+sentinel://user:secret@one:1,two/main/2?sentinel_password=other",
                RedisKind::Sentinel,
            ),
            ("redis+sentinel://one:26379/1?service=main", RedisKind::Sentinel),
            ("rediss+sentinel://one/main", RedisKind::Sentinel),
        ] {
            let read = RedisUrl::parse(url).unwrap();
            assert_eq!(read.kind(), kind, "{url}");
            assert_eq!(read.is_tls(), url.starts_with("rediss"), "{url}");
            assert_eq!(read.clients().unwrap().len(), read.hosts().len(), "{url}");
            let shown = format!("{read:?}");
            assert!(!shown.contains("secret") && !shown.contains("other"), "{shown}");
        }
    }

    #[test]
    fn parts_are_decoded() {
        let url = RedisUrl::parse(
            "redis+sentinel://us%40er:p%2Fa%3Ass@one:1,two/my%20main/2?sentinel_username=watch&sentinel_password=%25",
        )
        .unwrap();
        assert_eq!(url.hosts(), [("one".to_owned(), 1), ("two".to_owned(), 26_379)]);
        assert_eq!(url.settings.username(), Some("us@er"));
        assert_eq!(url.settings.password(), Some("p/a:ss"));
        assert_eq!(url.settings.db(), 2);
        assert_eq!(url.service(), "my main");
        assert_eq!(url.sentinel_settings.username(), Some("watch"));
        assert_eq!(url.sentinel_settings.password(), Some("%"));
        let url = RedisUrl::parse("redis+sentinel://one/3?service=main").unwrap();
        assert_eq!((url.service(), url.settings.db()), ("main", 3));
    }
}
