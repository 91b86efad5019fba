//! Requests to a receiver of traces (OTLP over HTTP, binary protobuf).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message as _;
use url::Url;

use crate::config::CollectorConfig;

/// For one request, connecting included.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long an idle connection is kept.
const KEPT_FOR: Duration = Duration::from_secs(30);

/// More than a receiver needs to say what it has rejected.
const LARGEST_ANSWER: usize = 64 * 1024;

/// A receiver of traces, with the connection to it.
#[derive(Clone)]
pub(super) struct Collector {
    url: Url,
    headers: HeaderMap,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Whether no certificate of the receiver could be verified.
    lacks_authorities: bool,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector")
            .field("url", &self.url.as_str())
            .finish_non_exhaustive()
    }
}

impl Collector {
    /// Connects to nothing yet. Its certificate is verified with those of the settings, else with those of the system, or of
    /// `SSL_CERT_FILE`.
    pub(super) fn new(config: &CollectorConfig) -> Self {
        let is_tls = config.url.scheme() == "https";
        let mut authorities = rustls::RootCertStore::empty();
        match &config.authorities {
            _ if !is_tls => {}
            Some(given) => {
                authorities.add_parsable_certificates(given.iter().cloned());
            }
            None => {
                authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let lacks_authorities = is_tls && authorities.is_empty();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions of TLS")
            .with_root_certificates(authorities)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        let given = config.headers.iter().filter_map(|(name, value)| {
            let mut value = HeaderValue::from_str(value.expose()).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
        });
        let mut headers: HeaderMap = given.collect();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-protobuf"),
        );
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("josoor-auth/", env!("CARGO_PKG_VERSION"))),
        );
        Self {
            url: config.url.clone(),
            headers,
            client: Client::builder(TokioExecutor::new())
                .pool_idle_timeout(KEPT_FOR)
                .pool_max_idle_per_host(1)
                .build(connector),
            lacks_authorities,
        }
    }

    /// What spans are posted to.
    pub(super) fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Posts a request without spans.
    pub(super) async fn probe(&self) -> anyhow::Result<()> {
        // Not an empty body: it has no Content-Length, and some receivers reject that.
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans::default()],
        };
        self.send(request.encode_to_vec()).await.map(drop)
    }

    /// Posts an `ExportTraceServiceRequest`; how many of its spans the receiver has rejected. Redirects are not followed.
    pub(super) async fn send(&self, body: Vec<u8>) -> anyhow::Result<usize> {
        if self.lacks_authorities {
            bail!(
                "there are no CA certificates: install ca-certificates, or let OTEL_EXPORTER_OTLP_CERTIFICATE name a file \
                 of them"
            );
        }
        tokio::time::timeout(PATIENCE, self.post(body))
            .await
            .unwrap_or_else(|_| bail!("it did not answer within {} s", PATIENCE.as_secs()))
    }

    async fn post(&self, body: Vec<u8>) -> anyhow::Result<usize> {
        let mut request = Request::post(self.url.as_str()).body(Full::new(Bytes::from(body)))?;
        *request.headers_mut() = self.headers.clone();
        let response = self.client.request(request).await.map_err(explain)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST_ANSWER);
        let body = body.collect().await;
        if !status.is_success() {
            bail!("it answers {status}");
        }
        let body = body
            .map_err(|error| anyhow::anyhow!("its answer cannot be read: {error}"))?
            .to_bytes();
        // A receiver that answers in another form has taken the spans as well.
        let answer = ExportTraceServiceResponse::decode(body).unwrap_or_default();
        let rejected = answer.partial_success.map_or(0, |part| part.rejected_spans);
        usize::try_from(rejected).context("it has rejected less than nothing")
    }
}

/// With the remedy where the receiver's certificate is the fault.
fn explain(error: hyper_util::client::legacy::Error) -> anyhow::Error {
    let error = anyhow::Error::from(error);
    let reason = format!("{error:#}");
    if reason.contains("certificate") {
        anyhow::anyhow!(
            "{reason}; let OTEL_EXPORTER_OTLP_CERTIFICATE name the file of the authority that signed it, and \
             OTEL_EXPORTER_OTLP_ENDPOINT the name in it"
        )
    } else {
        error
    }
}
