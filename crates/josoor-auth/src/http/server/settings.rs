//! The settings of the HTTP layer, so that its files do not depend on the whole configuration.

use std::collections::HashSet;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use ipnet::IpNet;

use crate::config::{ForwardedHeader, loopback_alike};
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
    /// Origins whose pages may call: the service's own, and those of `server.cors_origins`.
    pub origins: Vec<String>,
    /// What the log has had a warning about.
    pub warned: Arc<Warned>,
    /// Longest request body, in bytes.
    pub body_limit: usize,
    /// How long a request's body may take to arrive.
    pub body_timeout: Duration,
    /// How long a request may take until its answer begins.
    pub request_timeout: Duration,
    /// The status for a request without an access token: 403, or 401 by setting.
    pub missing_token_status: StatusCode,
}

/// What may be a setting that an operator forgot: each is warned about once.
#[derive(Debug, Default)]
pub struct Warned {
    /// Peers that send forwarding headers without being trusted proxies.
    unlisted: Few<IpAddr>,
    /// Trusted proxies that name their clients in another header than the configured one.
    other_header: Few<IpAddr>,
    /// Origins that are not allowed to call.
    origins: Few<String>,
}

/// The first of many values. Every client can send them, and the log must not grow with them.
#[derive(Debug)]
struct Few<T>(Mutex<HashSet<T>>);

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Eq + Hash> Few<T> {
    /// The most values that are reported.
    const AT_MOST: usize = 16;

    /// Whether this is the first time for a value that is to be reported.
    fn add(&self, value: T) -> bool {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.len() < Self::AT_MOST && noted.insert(value)
    }
}

impl Warned {
    /// Warns about a peer that is no trusted proxy and sends this header.
    pub fn about_unlisted_proxy(&self, peer: IpAddr, header: &str) {
        if self.unlisted.add(peer) {
            tracing::warn!(
                code = codes::PROXY_NOT_TRUSTED,
                %peer,
                header,
                "a peer sends a forwarding header and is not in TRUSTED_PROXIES; if it is a proxy of yours, list it: until then \
                 all of its clients have its address"
            );
        }
    }

    /// Warns about a trusted proxy that sends `header` and not the configured one.
    pub fn about_other_header(&self, peer: IpAddr, header: &str, configured: &str) {
        if self.other_header.add(peer) {
            tracing::warn!(
                code = codes::PROXY_USES_OTHER_HEADER,
                %peer,
                header,
                configured,
                "a trusted proxy names its clients in another header than server.forwarded_header says; until they agree all of \
                 its clients have its address"
            );
        }
    }

    /// Warns about an origin whose pages call and may not.
    fn about_origin(&self, origin: &str) {
        if self.origins.add(origin.to_owned()) {
            tracing::warn!(
                code = codes::ORIGIN_NOT_LISTED,
                origin,
                "pages of an origin call this service that is neither PUBLIC_URL's nor in CORS_ORIGINS, and browsers keep the \
                 answers from them; if they are yours, list it"
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
            origins: Vec::new(),
            warned: Arc::default(),
            body_limit: 64 * 1024,
            body_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            missing_token_status: StatusCode::FORBIDDEN,
        }
    }
}

impl HttpSettings {
    /// The longest origin that is repeated in the log: a host name has 253 characters.
    const ORIGIN_AT_MOST: usize = 300;

    /// Warns, once for each, about a request from a page of an origin that may not call.
    pub fn note_origin(&self, headers: &HeaderMap) {
        let origin = headers
            .get(header::ORIGIN)
            .and_then(|origin| origin.to_str().ok());
        let Some(origin) = origin.filter(|origin| origin.len() <= Self::ORIGIN_AT_MOST) else {
            return;
        };
        let is_own = |allowed: &String| loopback_alike(allowed) == loopback_alike(origin);
        if !self.origins.iter().any(|allowed| allowed == origin) && !self.origins.first().is_some_and(is_own)
        {
            self.warned.about_origin(origin);
        }
    }
}
