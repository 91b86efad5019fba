//! The settings of the HTTP layer, so that its files do not depend on the whole configuration.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use ipnet::IpNet;

use crate::config::ForwardedHeader;
use crate::telemetry::codes;

/// Settings of the HTTP layer. The stack puts them into the context of every request; without a stack, readers get the
/// defaults.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Base of every link that the service gives out, without a slash at its end. Never taken from a request.
    pub public_url: String,
    /// Peers whose header with the client's address is used.
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which they name it.
    pub forwarded_header: ForwardedHeader,
    /// Peers that may be proxies and are not listed; the log has a warning for each.
    pub unlisted: Arc<Unlisted>,
    /// Longest request body, in bytes.
    pub body_limit: usize,
    /// How long a request's body may take to arrive.
    pub body_timeout: Duration,
    /// How long a request may take until its answer begins.
    pub request_timeout: Duration,
    /// The status for a request without an access token: 403, or 401 by setting.
    pub missing_token_status: StatusCode,
}

/// Peers that send forwarding headers without being trusted proxies: perhaps proxies that an operator forgot to list.
#[derive(Debug, Default)]
pub struct Unlisted(Mutex<HashSet<IpAddr>>);

impl Unlisted {
    /// The most peers that are reported. Every client can send such a header, and the log must not grow with them.
    const AT_MOST: usize = 16;

    /// Warns about a peer, once.
    pub fn note(&self, peer: IpAddr, header: &str) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() < Self::AT_MOST && noted.insert(peer) {
            tracing::warn!(
                code = codes::PROXY_NOT_TRUSTED,
                %peer,
                header,
                "a peer sends a forwarding header and is not in TRUSTED_PROXIES; if it is a proxy of yours, list it: until then \
                 all of its clients have its address"
            );
        }
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            public_url: "http://localhost:8000".to_owned(),
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            unlisted: Arc::default(),
            body_limit: 64 * 1024,
            body_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            missing_token_status: StatusCode::FORBIDDEN,
        }
    }
}

impl HttpSettings {
    /// Where the service is mounted on its host: empty, or a path without a slash at its end.
    pub fn base_path(&self) -> &str {
        let rest = self.public_url.split_once("://").map_or("", |(_, rest)| rest);
        rest.find('/').map_or("", |at| &rest[at..]).trim_end_matches('/')
    }
}
