//! The queue of ended spans, and the thread that sends them.
//!
//! What waits and what is being sent is bounded together: spans beyond that are dropped and counted, so that a receiver that does not
//! answer costs a fixed amount of memory and no request waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor,
};
use prost::Message as _;
use tokio::runtime::Handle;

use super::collector::Collector;
use crate::telemetry::codes;
use crate::telemetry::metrics::{Metrics, SpanOutcome};

/// Spans that wait or are being sent, at most.
const QUEUE: usize = 4096;

/// Spans of one request to the receiver, at most.
const BATCH: usize = 512;

/// How long a span waits for others, at most.
const EVERY: Duration = Duration::from_secs(2);

/// What sends ended spans to a receiver, on a thread of its own whose requests run on `runtime`.
pub(super) fn export_to(
    collector: Collector,
    runtime: Handle,
    metrics: &Metrics,
) -> impl SpanProcessor + use<> {
    let held = Arc::new(AtomicUsize::new(0));
    let exporter = Exporter {
        collector,
        runtime,
        resource: ResourceAttributesWithSchema::default(),
        held: Arc::clone(&held),
        is_failing: AtomicBool::new(false),
        metrics: metrics.clone(),
    };
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(EVERY)
        .build();
    Bounded {
        batches: BatchSpanProcessor::builder(exporter)
            .with_batch_config(config)
            .build(),
        held,
        metrics: metrics.clone(),
    }
}

/// Drops and counts spans where there is no place left for them.
#[derive(Debug)]
struct Bounded {
    batches: BatchSpanProcessor,
    held: Arc<AtomicUsize>,
    metrics: Metrics,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.held.fetch_add(1, Ordering::AcqRel) >= QUEUE {
            self.held.fetch_sub(1, Ordering::AcqRel);
            self.metrics.spans(SpanOutcome::Dropped, 1);
            return;
        }
        self.batches.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// Sends batches, one after the other. What cannot be sent is lost and counted, and logged once until something is sent again.
#[derive(Debug)]
struct Exporter {
    collector: Collector,
    runtime: Handle,
    resource: ResourceAttributesWithSchema,
    held: Arc<AtomicUsize>,
    is_failing: AtomicBool,
    metrics: Metrics,
}

impl Exporter {
    async fn send(&self, batch: Vec<SpanData>) -> anyhow::Result<usize> {
        let request = ExportTraceServiceRequest {
            resource_spans: group_spans_by_resource_and_scope(batch, &self.resource),
        };
        let collector = self.collector.clone();
        let body = request.encode_to_vec();
        // This thread has no runtime; that of the service has the connection.
        self.runtime
            .spawn(async move { collector.send(body).await })
            .await?
    }

    fn note_success(&self, count: usize, rejected: usize) {
        let rejected = rejected.min(count);
        self.metrics.spans(SpanOutcome::Sent, count - rejected);
        self.metrics.spans(SpanOutcome::Failed, rejected);
        if self.is_failing.swap(false, Ordering::AcqRel) {
            tracing::info!("traces are sent again");
        }
    }

    fn note_failure(&self, count: usize, error: &anyhow::Error) {
        self.metrics.spans(SpanOutcome::Failed, count);
        if !self.is_failing.swap(true, Ordering::AcqRel) {
            tracing::warn!(
                code = codes::TRACES_NOT_SENT,
                url = self.collector.url(),
                error = format!("{error:#}"),
                "traces cannot be sent, and are lost until they can; requests are not concerned"
            );
        }
    }
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let sent = self.send(batch).await;
        self.held.fetch_sub(count, Ordering::AcqRel);
        match sent {
            Ok(rejected) => {
                self.note_success(count, rejected);
                Ok(())
            }
            Err(error) => {
                self.note_failure(count, &error);
                Err(OTelSdkError::InternalFailure(
                    "the spans were not sent".to_owned(),
                ))
            }
        }
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Instant;

    use super::*;
    use crate::config::{CollectorConfig, TracingConfig};
    use crate::telemetry::Sample;
    use crate::telemetry::traces::{STOP_TIMEOUT, Traces};

    /// A receiver that takes connections and never answers.
    #[tokio::test]
    async fn what_cannot_be_sent_is_bounded_counted_and_does_not_hold_the_stop_up() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address");
        let config = TracingConfig {
            collector: Some(CollectorConfig {
                url: format!("http://{address}/v1/traces").parse().expect("a URL"),
                headers: Vec::new(),
                authorities: None,
            }),
            sample: 1.0,
            sample_checks: 0.0,
            service_name: "test".to_owned(),
            attributes: Vec::new(),
        };
        let metrics = Metrics::new();
        let traces = Traces::start(&config, &metrics).expect("traces");
        for _ in 0..QUEUE + 10 {
            drop(traces.begin_outbox_row("a kind"));
        }
        let dropped = "josoor_auth_spans_total{outcome=\"dropped\"} 10\n";
        let shown = metrics.encode(&Sample::default());
        assert!(shown.contains(dropped), "{shown}");
        let begun = Instant::now();
        traces.stop().await;
        let took = begun.elapsed();
        assert!(took < STOP_TIMEOUT + Duration::from_secs(1), "{took:?}");
    }
}
