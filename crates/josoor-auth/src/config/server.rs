//! `[server]`: the listener and what is in front of it.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::problem::Source;
use super::reader::Reader;
use super::urls::{self, Origin, PublicUrl};
use super::values::{self, MILLI, TEN_MINUTES, optional};

/// The port when neither `server.bind` nor `server.port` names one.
const DEFAULT_PORT: u16 = 8000;

/// `[server]`: the listener and what is in front of it.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The address to listen on; port 0 takes a free one.
    pub bind: SocketAddr,
    /// Where users reach the service.
    pub public_url: PublicUrl,
    /// Web origins besides that of `public_url` whose pages may call.
    pub cors_origins: Vec<Origin>,
    /// Request headers that they may send besides the usual ones; in lower case.
    pub cors_headers: Vec<String>,
    /// Proxies whose header with the client's address is trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which they name it.
    pub forwarded_header: ForwardedHeader,
    /// Peers whose idle connections are never closed for others, besides the trusted proxies.
    pub connection_exempt: Vec<IpNet>,
    /// Open connections at once.
    pub max_connections: usize,
    /// For a request's head.
    pub header_timeout: Duration,
    /// For a request's body.
    pub body_timeout: Duration,
    /// For one request in all.
    pub request_timeout: Duration,
    /// Between "not ready" and the end of accepting; may be zero.
    pub drain_delay: Duration,
    /// For the requests that are under way when the service is asked to stop; may be zero.
    pub drain_timeout: Duration,
}

/// The header in which the proxies in front name the client's address. The others are what a client sent, and are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`: a list of addresses.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Real-IP`: one address.
    XRealIp,
}

impl Reader<'_> {
    pub(super) fn server(&mut self) -> Option<ServerConfig> {
        let bind = self.read("server.bind", urls::bind);
        let port = self.read("server.port", |raw| {
            optional(raw, |raw| values::whole::<u16>(raw, 0..=65535))
        });
        let is_bind_later = self.source("server.bind").rank() > self.source("server.port").rank();
        let public_url = self.read("server.public_url", urls::public_url);
        let cors_origins = self.read("server.cors_origins", |raw| values::list(raw, urls::origin));
        let cors_headers = self.read("server.cors_headers", |raw| values::list(raw, urls::header_name));
        let trusted_proxies = self.read("server.trusted_proxies", |raw| values::list(raw, urls::network));
        let forwarded_header = self.read("server.forwarded_header", values::variant);
        let connection_exempt = self.read("server.connection_exempt", |raw| values::list(raw, urls::network));
        let max_connections = self.read("server.max_connections", |raw| values::whole(raw, 1..=1_000_000));
        let least = 100 * MILLI;
        let header_timeout = self.duration("server.header_timeout", least, TEN_MINUTES);
        let body_timeout = self.duration("server.body_timeout", least, TEN_MINUTES);
        let request_timeout = self.duration("server.request_timeout", least, TEN_MINUTES);
        let drain_delay = self.duration("server.drain_delay", Duration::ZERO, TEN_MINUTES);
        let drain_timeout = self.duration("server.drain_timeout", Duration::ZERO, TEN_MINUTES);
        if trusted_proxies
            .as_deref()
            .is_some_and(urls::hold_most_of_the_internet)
        {
            self.problem(
                "server.trusted_proxies",
                "these networks hold most of the internet: every client could claim any address in sessions, limits and the \
                 audit trail",
                "name the proxies alone, such as 10.0.0.7 or 10.0.0.0/24",
            );
        }
        let (address, bind_port) = bind?;
        let port = match (bind_port, port?) {
            (Some(bind_port), Some(_)) if is_bind_later => bind_port,
            (bind_port, port) => port.or(bind_port).unwrap_or(DEFAULT_PORT),
        };
        let mut public_url = public_url?;
        if self.source("server.public_url") == Source::Default {
            public_url = urls::default_public_url(address, port).unwrap_or(public_url);
        }
        if !public_url.is_https() && !public_url.is_loopback() {
            self.warn(
                "server.public_url",
                "without https, passwords and tokens can be read on the way; give the https URL of the proxy in front",
            );
        }
        Some(ServerConfig {
            bind: SocketAddr::new(address, port),
            public_url,
            cors_origins: cors_origins?,
            cors_headers: cors_headers?,
            trusted_proxies: trusted_proxies?,
            forwarded_header: forwarded_header?,
            connection_exempt: connection_exempt?,
            max_connections: max_connections?,
            header_timeout: header_timeout?,
            body_timeout: body_timeout?,
            request_timeout: request_timeout?,
            drain_delay: drain_delay?,
            drain_timeout: drain_timeout?,
        })
    }
}
