//! How connections are treated.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

/// How the loop treats connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeOptions {
    /// Connections at the same time. When they are all taken, a newcomer closes the one that was idle for longest of the
    /// network that has the most. Where none is idle, newcomers wait in the kernel's queue.
    pub max_connections: usize,
    /// Peers whose connections are not closed for others: proxies, which have many for many clients.
    pub exempt: Arc<[IpNet]>,
    /// How long a new connection may take to send its first request's headers.
    pub header_timeout: Duration,
    /// How long a connection may stay without a request. Longer than the idle time of the usual proxies (60 s), so
    /// that they are the ones to close and no request meets a connection that is just being closed.
    pub idle_timeout: Duration,
    /// Between "not ready" and the end of accepting, so that a load balancer can notice.
    pub drain_delay: Duration,
    /// How long requests in flight may go on after that.
    pub drain_timeout: Duration,
}

const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            exempt: LOOPBACK.into_iter().filter_map(|net| net.parse().ok()).collect(),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(30),
        }
    }
}
