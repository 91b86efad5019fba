//! Connections to receivers, in the clear on this machine and else over TLS.

use std::sync::Arc;

use anyhow::Context as _;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::StreamTarget;

/// A connection of either kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Connects, and verifies the peer's certificate against those of the system, or of `SSL_CERT_FILE`.
pub(super) async fn connect(target: &StreamTarget) -> anyhow::Result<Box<dyn Stream>> {
    let place = || format!("{}:{}", target.host, target.port);
    let plain = TcpStream::connect((target.host.as_str(), target.port))
        .await
        .with_context(place)?;
    if !target.is_tls {
        return Ok(Box::new(plain));
    }
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(loaded.certs);
    if roots.is_empty() {
        anyhow::bail!("there are no CA certificates: install ca-certificates or set SSL_CERT_FILE");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(target.host.clone())?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, plain)
        .await
        .with_context(place)?;
    Ok(Box::new(stream))
}
