//! Traces, sent to a receiver of OTLP over HTTP.
//!
//! Spans are made with the API of OpenTelemetry and not with those of `tracing`: see docs/adr/0030. Only what is sampled costs
//! anything, and only from the start of its trace on.

mod collector;
mod exporter;
pub(super) mod trace;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{Link, SpanBuilder, SpanKind, TraceId, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{Sampler, SamplingResult, SdkTracer, SdkTracerProvider, ShouldSample};
use tokio::sync::oneshot;

use self::collector::Collector;
use self::exporter::export_to;
use self::trace::Trace;
use super::metrics::Metrics;
use crate::config::TracingConfig;
use crate::crypto;

/// For what is left to send at the stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest `tracestate` that is taken over (W3C Trace Context, 3.3.1.5).
const LONGEST_STATE: usize = 512;

/// A request whose trace is about to begin.
#[derive(Clone, Copy, Debug)]
pub struct RequestStart<'a> {
    /// The method, out of a fixed set.
    pub method: &'static str,
    /// The pattern of its route; `None` where none matches.
    pub route: Option<&'a str>,
    /// Its id.
    pub id: &'a str,
    /// Whether it is `GET /auth/me` or `/auth/check`.
    pub is_check: bool,
    /// `traceparent` and `tracestate` (W3C Trace Context) of a peer that is trusted.
    pub parent: Option<(&'a str, Option<&'a str>)>,
}

/// Begins traces. Clones send to the same receiver.
#[derive(Clone)]
pub struct Traces(Arc<Parts>);

struct Parts {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    has_checks: bool,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces").finish_non_exhaustive()
    }
}

impl Traces {
    /// Starts a thread that sends spans; `None` where the settings name no receiver, or outside of a runtime. Nothing is connected
    /// yet, and a receiver that does not answer is no failure.
    pub fn start(config: &TracingConfig, metrics: &Metrics) -> Option<Self> {
        let collector = Collector::new(config.collector.as_ref()?);
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        let sampler = ByKind {
            usual: share(config.sample),
            checks: share(config.sample_checks),
        };
        let provider = SdkTracerProvider::builder()
            .with_span_processor(export_to(collector, runtime, metrics))
            .with_sampler(sampler)
            .with_resource(resource(config))
            .build();
        Some(Self(Arc::new(Parts {
            tracer: provider.tracer(env!("CARGO_PKG_NAME")),
            provider,
            has_checks: config.sample_checks > 0.0,
        })))
    }

    /// Whether `GET /auth/me` and `/auth/check` are traced at all.
    pub fn has_checks(&self) -> bool {
        self.0.has_checks
    }

    /// Begins the trace of a request, or goes on with the one that its parent belongs to. `None` when it is not sampled.
    pub fn begin_request(&self, start: RequestStart<'_>) -> Option<Trace> {
        let (name, method) = match start.method {
            "other" => ("HTTP", "_OTHER"),
            method => (method, method),
        };
        let mut attributes = vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("josoor_auth.request.id", start.id.to_owned()),
        ];
        let name = match start.route {
            None => name.to_owned(),
            Some(route) => {
                attributes.push(KeyValue::new("http.route", route.to_owned()));
                format!("{name} {route}")
            }
        };
        let builder = SpanBuilder::from_name(name)
            .with_kind(SpanKind::Server)
            .with_attributes(attributes);
        let context = match start.parent {
            Some((parent, state)) => remote(parent, state),
            None => Context::new(),
        };
        let context = if start.is_check {
            context.with_value(OfCheck)
        } else {
            context
        };
        Trace::of(
            &self.0.tracer,
            self.0.tracer.build_with_context(builder, &context),
        )
    }

    /// Begins the trace of a row of the outbox. `None` when it is not sampled.
    pub fn begin_outbox_row(&self, kind: &'static str) -> Option<Trace> {
        let builder = SpanBuilder::from_name("outbox row")
            .with_kind(SpanKind::Consumer)
            .with_attributes([KeyValue::new("josoor_auth.outbox.kind", kind)]);
        Trace::of(
            &self.0.tracer,
            self.0.tracer.build_with_context(builder, &Context::new()),
        )
    }

    /// Sends what is left, for three seconds at most, and ends the thread.
    pub async fn stop(&self) {
        let provider = self.0.provider.clone();
        let (stopped, wait) = oneshot::channel();
        // It blocks, and the threads of the runtime have to send meanwhile.
        let stopping = thread::Builder::new().name("traces-stop".to_owned());
        let stopping = stopping.spawn(move || {
            // What could not be sent has been counted and logged.
            let _ = provider.shutdown_with_timeout(STOP_TIMEOUT);
            let _ = stopped.send(());
        });
        if stopping.is_ok() {
            let _ = wait.await;
        }
    }
}

/// Whether the receiver of the settings takes spans, tried with none: `None` where there is no receiver.
///
/// # Errors
/// What is wrong, without the values of headers.
pub async fn try_collector(config: &TracingConfig) -> Option<Result<String, String>> {
    let config = config.collector.as_ref()?;
    let tried = Collector::new(config).probe().await;
    Some(match tried {
        Ok(()) => Ok(config.url.to_string()),
        Err(error) => Err(format!("{}: {error:#}", config.url)),
    })
}

/// The context of a caller, if it is well-formed.
fn remote(parent: &str, state: Option<&str>) -> Context {
    let state = state.filter(|state| state.len() <= LONGEST_STATE);
    let headers: HashMap<String, String> = [("traceparent", Some(parent)), ("tracestate", state)]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    TraceContextPropagator::new().extract_with_context(&Context::new(), &headers)
}

fn resource(config: &TracingConfig) -> Resource {
    let instance = uuid::Builder::from_random_bytes(crypto::random_bytes()).into_uuid();
    let given = config.attributes.iter().cloned();
    // Of two attributes with one name the later one counts.
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", instance.to_string()),
        ])
        .with_attributes(given.map(|(name, value)| KeyValue::new(name, value)))
        .with_service_name(config.service_name.clone())
        .build()
}

/// Goes by the parent, and samples a share of the traces that begin here.
fn share(share: f64) -> Sampler {
    Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share)))
}

/// Marks the context of `GET /auth/me` and `/auth/check`.
struct OfCheck;

/// Another share for the requests that come most often.
#[derive(Clone, Debug)]
struct ByKind {
    usual: Sampler,
    checks: Sampler,
}

impl ShouldSample for ByKind {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let is_check = parent.is_some_and(|context| context.get::<OfCheck>().is_some());
        let sampler = if is_check { &self.checks } else { &self.usual };
        sampler.should_sample(parent, trace, name, kind, attributes, links)
    }
}
