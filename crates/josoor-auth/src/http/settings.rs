//! What the HTTP rooms need to know of the configuration, so that none of them depends on the wiring.

use std::sync::Arc;
use std::time::Duration;

use http::{Extensions, StatusCode};
use ipnet::IpNet;

use super::passage::Passage;

/// Settings of the HTTP layer. The router's stack puts them into every request; whoever reads them in one that did not
/// pass it gets the defaults.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Base of every link that the service gives out, without a slash at its end. Never taken from a request.
    pub public_url: String,
    /// Peers whose `Forwarded` and `X-Forwarded-For` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Longest request body, in bytes.
    pub body_limit: usize,
    /// How long a request's body may take to arrive.
    pub body_timeout: Duration,
    /// How long a request may take until its answer begins.
    pub request_timeout: Duration,
    /// The status for a request without an access token: 403, or 401 by setting.
    pub missing_token_status: StatusCode,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            public_url: "http://localhost:8000".to_owned(),
            trusted_proxies: Vec::new(),
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

    /// The settings that the stack put into the request.
    pub fn of(extensions: &Extensions) -> Arc<Self> {
        let passage = extensions.get::<Arc<Passage>>();
        passage
            .map(|passage| Arc::clone(&passage.settings))
            .unwrap_or_default()
    }
}
