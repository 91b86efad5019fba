//! One sampled trace: its first span, and the steps below it.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _, TraceId, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, Span};

/// Steps of one trace, at most: one long request must not take the places of all others in the queue.
const STEPS_AT_MOST: u32 = 256;

/// A trace that is sampled. Clones are the same trace.
#[derive(Clone, Debug)]
pub struct Trace(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    id: TraceId,
    tracer: SdkTracer,
    first: Mutex<Span>,
    /// What the steps are below.
    context: Context,
    steps: AtomicU32,
}

impl Trace {
    /// A trace that begins with this span here; `None` where the span is not recorded.
    pub(super) fn of(tracer: &SdkTracer, first: Span) -> Option<Self> {
        first.is_recording().then(|| {
            let context = first.span_context().clone();
            Self(Arc::new(Parts {
                id: context.trace_id(),
                tracer: tracer.clone(),
                context: Context::new().with_remote_span_context(context),
                first: Mutex::new(first),
                steps: AtomicU32::new(0),
            }))
        })
    }

    /// 32 hexadecimal digits.
    pub(crate) fn id(&self) -> TraceId {
        self.0.id
    }

    /// Ends the first span with these attributes. `failed` says whether what it stands for failed by a fault of the service.
    pub(crate) fn end(&self, attributes: impl IntoIterator<Item = KeyValue>, failed: bool) {
        let mut first = self.0.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.set_attributes(attributes);
        if failed {
            first.set_status(Status::error(""));
        }
        first.end();
    }

    /// Begins a step.
    pub(crate) fn step(
        &self,
        kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
        attributes: Vec<KeyValue>,
    ) -> Step {
        if self.0.steps.fetch_add(1, Ordering::Relaxed) >= STEPS_AT_MOST {
            return Step::default();
        }
        let builder = SpanBuilder::from_name(name)
            .with_kind(kind)
            .with_attributes(attributes);
        let span = self.0.tracer.build_with_context(builder, &self.0.context);
        Step(Some(Box::new((span, self.clone()))))
    }
}

/// A step of a trace, which ends when it is dropped. Nothing where nothing is traced.
#[derive(Debug, Default)]
#[must_use = "the step ends when this is dropped"]
pub struct Step(Option<Box<(Span, Trace)>>);

impl Step {
    /// Notes that the step has failed. `kind` comes from a small set.
    pub fn fail(&mut self, kind: impl Into<Cow<'static, str>>) {
        if let Some(step) = &mut self.0 {
            step.0.set_attribute(KeyValue::new("error.type", kind.into()));
            step.0.set_status(Status::error(""));
        }
    }

    /// Ends this step and begins the one after it.
    pub fn then(self, name: &'static str) -> Self {
        match self.0 {
            None => Self(None),
            Some(step) => {
                let (before, trace) = *step;
                drop(before);
                trace.step(SpanKind::Internal, name, Vec::new())
            }
        }
    }
}
